from __future__ import annotations

from headrace.cli.columns import aligned


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [("NAME", "N", "X"), ("水車", "12345", ""), ("a", "7", "y")]
    assert aligned(rows, right={1}) == ["NAME      N  X", "水車  12345", "a         7  y"]


def test_a_row_alone_is_as_it_is() -> None:
    assert aligned([("a", "b")]) == ["a  b"]
