from __future__ import annotations

import pytest

from headrace.cli.streams.table import details, table

STREAM = {
    "id": "a\x1b[31mb",
    "object": "stream",
    "state": "completed",
    "cause": "stop",
    "model": "水車\x07",
    "created_at": 1000.0,
    "usage": {"completion_tokens": 12},
}


def test_columns_are_aligned_and_free_of_control_characters() -> None:
    running = {"id": "c" * 10, "state": "in_progress", "cause": None, "model": "m", "created_at": 940, "usage": None}
    assert table([STREAM, running], now=1030.0) == [
        "ID          STATE           MODEL  AGE    TOKENS",
        "ab          completed/stop  水車   30 s       12",
        "cccccccccc  in_progress     m      1 min",
    ]


def test_no_streams_are_headings_alone() -> None:
    assert table([], now=0) == ["ID  STATE  MODEL  AGE  TOKENS"]


def test_what_a_newer_relay_leaves_out_stays_empty() -> None:
    assert len(table([{}, {"usage": "odd", "created_at": "now"}], now=0)) == 3


@pytest.mark.parametrize(
    ("age_s", "text"),
    [(-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_ages_are_in_their_largest_unit(age_s: float, text: str) -> None:
    [_, line] = table([{"created_at": 1000.0}], now=1000.0 + age_s)
    assert line.strip() == text


def test_details_leave_out_what_is_not_known() -> None:
    lines = details({**STREAM, "ended_at": None, "message": "two\nlines"})
    assert lines[0] == "id          ab"
    assert "usage       completion_tokens 12" in lines
    assert "message     two lines" in lines
    assert not [line for line in lines if line.startswith(("object", "ended_at"))]
