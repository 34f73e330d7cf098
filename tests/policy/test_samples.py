"""Percentiles of the last while."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.samples import LOOK_AGAIN_S, MAX_SAMPLES, Percentiles, Samples


def test_has_nothing_to_tell_without_samples() -> None:
    assert Samples().percentiles(60.0, 0.0) is None


def test_percentiles_are_values_that_were_measured() -> None:
    samples = Samples()
    for value in range(100, 0, -1):
        samples.add(value, 0.0)
    assert samples.percentiles(60.0, 0.0) == Percentiles(100, 50, 90, 99)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=200))
def test_as_many_as_it_says_are_no_larger(values: list[float]) -> None:
    samples = Samples()
    for value in values:
        samples.add(value, 0.0)
    spread = samples.percentiles(60.0, 0.0)
    assert spread is not None
    assert spread.p50_s == statistics.median_low(values)
    for percent, bound_s in ((50, spread.p50_s), (90, spread.p90_s), (99, spread.p99_s)):
        assert bound_s in values
        assert sum(value <= bound_s for value in values) * 100 >= percent * len(values)
        assert sum(value < bound_s for value in values) * 100 < percent * len(values)


def test_keeps_the_newest_and_no_more_than_it_may() -> None:
    samples = Samples()
    for number in range(MAX_SAMPLES * 2):
        samples.add(number, 0.0)
    spread = samples.percentiles(60.0, 0.0)
    assert spread is not None
    assert spread.count == MAX_SAMPLES
    assert spread.p50_s >= MAX_SAMPLES


def test_forgets_what_is_older_than_the_window() -> None:
    samples = Samples()
    samples.add(1.0, 0.0)
    samples.add(2.0, 30.0)
    assert samples.percentiles(60.0, 60.0) == Percentiles(1, 2.0, 2.0, 2.0)


@pytest.mark.parametrize(("later_s", "count"), [(LOOK_AGAIN_S / 2, 1), (LOOK_AGAIN_S, 2)])
def test_a_glance_sorts_no_more_than_once_in_a_while(later_s: float, count: int) -> None:
    samples = Samples()
    samples.add(1.0, 0.0)
    assert samples.glance(60.0, 0.0) == Percentiles(1, 1.0, 1.0, 1.0)
    samples.add(2.0, 0.0)
    spread = samples.glance(60.0, later_s)
    assert spread is not None
    assert spread.count == count
