from __future__ import annotations

import pytest

from headrace.cli.chat.rows import rows_of


@pytest.mark.parametrize(
    ("line", "width", "rows"),
    [
        ("", 10, 1),
        ("x" * 10, 10, 1),
        ("x" * 11, 10, 2),
        ("x" * 30, 10, 3),
        ("水" * 5, 10, 1),
        # The last column stays empty when a wide character does not fit into it.
        ("é" + "水" * 5, 10, 2),
        ("é" + "水" * 10, 10, 3),
        ("e\u0301" * 10, 10, 1),
        ("⚠️ is one row whatever its width", 40, 1),
        ("👩\u200d👩\u200d👧", 10, 1),
    ],
)
def test_rows_are_counted_as_terminals_wrap(line: str, width: int, rows: int) -> None:
    assert rows_of(line, width) == rows


@pytest.mark.parametrize("line", ["123456789⚠️", "12345👩\u200d👩\u200d👧", "1234567🇨🇭", "12345678👍🏽", "1234567891️⃣"])
def test_where_terminals_disagree_there_is_no_answer(line: str) -> None:
    assert rows_of(line, 10) is None
