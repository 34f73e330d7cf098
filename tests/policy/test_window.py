"""Counts over a sliding window, held against a list of everything that was counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.window import PARTS, Window


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=60), st.integers(0, 100))
def test_counts_what_is_no_older_than_the_window_and_forgets_the_rest(
    counted: list[tuple[int, int]], later_s: int
) -> None:
    window = Window(60.0, 3)
    now_s, times = 0, []
    for kind, after_s in counted:
        now_s += after_s
        window.add(kind, now_s)
        times.append((kind, now_s))
    now_s += later_s
    totals = window.totals(now_s)
    for kind in range(3):
        ages = [now_s - at_s for one, at_s in times if one == kind]
        assert sum(age < 60 - 60 / PARTS for age in ages) <= totals[kind] <= sum(age < 60 for age in ages)


def test_a_clock_that_goes_back_stands_still() -> None:
    window = Window(60.0, 1)
    window.add(0, 100.0)
    window.add(0, 10.0)
    assert window.totals(100.0) == [2]


def test_is_bounded_in_memory() -> None:
    window = Window(0.001, 1)
    for second in range(1000):
        window.add(0, second)
    assert len(window._parts) <= PARTS
