"""Buckets: never more than the rate, post-paid, with takes that return."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.rates import SLACK, Bucket

RATES = st.sampled_from([1, 7, 60, 90, 1000, 10**6])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "give_back", "resize"]),
        st.integers(0, 2000),
        st.integers(0, 400),
    ),
    max_size=40,
)
"""What to do, with how much, after how many quarters of a second."""


def test_a_new_bucket_is_full() -> None:
    bucket = Bucket(60, 5.0)
    assert bucket.level(5.0) == 60
    assert bucket.is_full(5.0)
    assert bucket.full_in_s(5.0) == 0


def test_refills_evenly_and_no_further_than_full() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(60, 0.0)
    assert [bucket.level(now_s) for now_s in (0.0, 0.5, 30.0, 60.0, 3600.0)] == [0, 0.5, 30, 60, 60]


def test_takes_more_than_it_holds_and_says_so_until_it_has_refilled() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(70, 0.0)
    assert bucket.level(0.0) == -10
    assert bucket.full_in_s(0.0) == 70
    assert bucket.level(9.75) < 0
    assert bucket.level(10.0) == 0


def test_returned_tokens_that_do_not_fit_are_lost() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(10, 0.0)
    bucket.give_back(25)
    assert bucket.level(0.0) == 60
    assert bucket.level(100.0) == 60


def test_says_how_long_to_wait() -> None:
    bucket = Bucket(120, 0.0)
    bucket.take(120, 0.0)
    assert bucket.wait_s(0, 0.0) == 0
    assert bucket.wait_s(3, 0.0) == 1.5
    assert bucket.wait_s(120, 0.0) == 60
    assert bucket.wait_s(121, 0.0) == math.inf


def test_even_nothing_waits_while_the_bucket_is_overdrawn() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(61, 0.0)
    assert bucket.wait_s(0, 0.0) == 1


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    bucket = Bucket(60, 100.0)
    bucket.take(30, 100.0)
    assert bucket.level(50.0) == 30
    assert bucket.level(100.0) == 30
    assert bucket.level(101.0) == 31


@pytest.mark.parametrize(("before", "after"), [(20, 200), (0, 0), (-60, -60)])
def test_a_larger_size_changes_what_is_held_in_proportion_and_not_what_is_owed(before: int, after: int) -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(60 - before, 0.0)
    bucket.resize(600, 0.0)
    assert bucket.level(0.0) == after
    assert bucket.level(1.0) == after + 10
    assert bucket.wait_s(601, 0.0) == math.inf


def test_a_smaller_size_makes_nobody_wait_longer() -> None:
    bucket = Bucket(600, 0.0)
    bucket.take(660, 0.0)
    before_s = bucket.wait_s(0, 0.0)
    bucket.resize(60, 0.0)
    assert bucket.wait_s(0, 0.0) == pytest.approx(before_s)


def test_what_came_in_before_a_new_size_came_at_the_old_rate() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(60, 0.0)
    bucket.resize(6000, 30.0)
    assert bucket.level(30.0) == 3000


@given(rate=RATES, steps=STEPS)
def test_equals_exact_arithmetic(rate: int, steps: list[tuple[str, int, int]]) -> None:
    bucket, now_s = Bucket(rate, 0.0), 0.0
    exact = Fraction(rate)
    for step, amount, quarters in steps:
        now_s += quarters / 4
        exact = min(Fraction(rate), exact + Fraction(quarters, 4) * Fraction(rate, 60))
        if step == "take":
            bucket.take(amount, now_s)
            exact -= amount
        elif step == "give_back":
            # Without the time: the bucket must not need to know how late it is.
            bucket.give_back(amount)
            exact = min(Fraction(rate), exact + amount)
        else:
            share = Fraction(amount + 1, rate)
            exact *= share if exact > 0 else min(Fraction(1), share)
            rate = amount + 1
            bucket.resize(rate, now_s)
        assert bucket.level(now_s) == pytest.approx(float(exact), rel=1e-9, abs=1e-6)
        assert bucket.level(now_s) <= rate


@given(
    rate=RATES,
    asks=st.lists(st.tuples(st.floats(0, 20), st.integers(0, 100)), max_size=60),
    began_s=st.sampled_from([0.0, 1e7]),
)
def test_who_looks_first_never_takes_beyond_the_rate(rate: int, asks: list[tuple[float, int]], began_s: float) -> None:
    bucket, now_s, taken = Bucket(rate, began_s), began_s, 0
    for pause_s, amount in asks:
        now_s += pause_s
        if bucket.wait_s(amount, now_s) == 0:
            bucket.take(amount, now_s)
            taken += amount
        assert taken <= rate * (1 + (now_s - began_s) / 60) + len(asks) * SLACK


@given(rate=RATES, debt=st.integers(0, 10**7), share=st.floats(0, 1), began_s=st.sampled_from([0.0, 1e7]))
def test_waiting_as_long_as_it_says_is_enough(rate: int, debt: int, share: float, began_s: float) -> None:
    bucket = Bucket(rate, began_s)
    bucket.take(debt, began_s)
    amount = int(rate * share)
    wait_s, full_in_s = bucket.wait_s(amount, began_s), bucket.full_in_s(began_s)
    if wait_s > 0.01:
        assert bucket.wait_s(amount, began_s + wait_s - 0.01) > 0
    # Floating point keeps fewer digits of late clocks.
    assert bucket.wait_s(amount, began_s + wait_s) < 1e-6
    assert bucket.full_in_s(began_s + full_in_s) < 1e-6
