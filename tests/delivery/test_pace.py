"""The pace of an answer that comes again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.delivery.pace import BEYOND, MAX_GAP_S, Pace
from headrace.stream.segment import Flush
from headrace.types.ids import Offset

START_S = 1000.0
AT = 1_700_000_000.0
"""Unix seconds of the first time."""

GAPS_S = st.floats(0, 5, allow_nan=False)
FLUSHES = st.lists(st.tuples(GAPS_S, st.integers(1, 9)), min_size=1, max_size=30)


def flushes_of(parts: list[tuple[float, int]]) -> list[Flush]:
    """Return flushes, each so many seconds behind the one before and of so many entries."""
    found, at, offset = [], AT, 0
    for gap_s, entries in parts:
        at += gap_s
        found.append(Flush(offset=Offset(offset), entries=entries, bytes=10 * entries, at=at))
        offset += entries
    return found


def replayed(pace: Pace) -> list[tuple[float, Offset]]:
    """Follow it as a consumer does: return when which offset is reached, seconds from the start."""
    now_s, found = START_S, [(0.0, pace.reached(START_S))]
    while (next_s := pace.next_s(now_s)) is not None:
        assert next_s > now_s
        assert pace.reached(next_s) > pace.reached(now_s)
        now_s = next_s
        found.append((now_s - START_S, pace.reached(now_s)))
    return found


@given(FLUSHES)
def test_each_part_comes_as_long_after_the_one_before_as_the_first_time(parts: list[tuple[float, int]]) -> None:
    flushes = flushes_of(parts)
    pace = Pace(flushes, START_S)
    due_s = 0.0
    for before, flush in pairwise(flushes):
        assert before.at is not None
        assert flush.at is not None
        due_s += min(flush.at - before.at, MAX_GAP_S)
        assert pace.reached(START_S + due_s + 1e-4) >= flush.offset + flush.entries
        if flush.at - before.at > 1e-2:
            assert pace.reached(START_S + due_s - 5e-3) <= flush.offset


@given(FLUSHES)
def test_all_of_it_comes_in_order_and_in_the_end(parts: list[tuple[float, int]]) -> None:
    steps = replayed(Pace(flushes_of(parts), START_S))
    assert steps == sorted(steps)
    assert steps[0][1] >= parts[0][1], "the first part waits for nothing"
    # Also what is behind the last part that is known of.
    assert steps[-1][1] == BEYOND
    assert steps[-1][0] <= MAX_GAP_S * len(parts)


@given(FLUSHES, st.floats(-10, 200, allow_nan=False))
def test_nothing_goes_back_and_nothing_comes_before_its_time(parts: list[tuple[float, int]], after_s: float) -> None:
    pace, now_s = Pace(flushes_of(parts), START_S), START_S + after_s
    next_s = pace.next_s(now_s)
    assert pace.reached(now_s) <= pace.reached(now_s + 1)
    if now_s < START_S:
        assert pace.reached(now_s) == 0
    if next_s is not None:
        assert pace.reached((now_s + next_s) / 2) == pace.reached(now_s)


def test_long_waits_of_the_first_time_are_cut_short() -> None:
    assert [at for at, _ in replayed(Pace(flushes_of([(0, 1), (3600, 1), (0.5, 1)]), START_S))] == [0, 2, 2.5]


def test_a_clock_that_was_set_back_and_times_that_are_not_known_hold_nothing_up() -> None:
    one, two, three, four = flushes_of([(0, 1), (1, 1), (1, 1), (1, 1)])
    back = Flush(offset=two.offset, entries=1, bytes=10, at=AT - 60)
    unknown = Flush(offset=three.offset, entries=1, bytes=10, at=None)
    last = Flush(offset=four.offset, entries=1, bytes=10, at=AT - 59)
    assert replayed(Pace([one, back, unknown, last], START_S)) == [(0, 3), (1, BEYOND)]


@pytest.mark.parametrize("now_s", [0.0, START_S, 2 * START_S])
def test_a_log_without_parts_waits_for_nothing(now_s: float) -> None:
    pace = Pace([], START_S)
    assert pace.reached(now_s) == BEYOND
    assert pace.next_s(now_s) is None
