"""Slots: what a request takes, and what it gives back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.scopes import Scope, ScopeKind
from headrace.policy.slots import LOOK_S, Slot
from headrace.types.access import Allowance

PLENTY = 10**9
FEW = 9_000
"""So few tokens that every one is seen at once."""


class Ends:
    """Counts ends."""

    def __init__(self) -> None:
        self.seen: list[Slot] = []

    def __call__(self, slot: Slot) -> None:
        assert all(scope.running == 0 for scope in slot.scopes)
        self.seen.append(slot)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def scopes() -> list[Scope]:
    made = [Scope(ScopeKind.KEY, "k"), Scope(ScopeKind.MODEL, "m"), Scope(ScopeKind.ENGINE, "e")]
    made[0].adopt(Allowance(requests_per_minute=PLENTY, tokens_per_minute=PLENTY, max_output_tokens=7), 0.0)
    made[1].adopt(Allowance(tokens_per_minute=PLENTY), 0.0)
    return made


def spent(scopes: list[Scope]) -> list[float]:
    """What is missing from the buckets of requests, then of tokens."""
    buckets = [scope.requests for scope in scopes] + [scope.tokens for scope in scopes]
    return [bucket.per_minute - bucket.level(0.0) for bucket in buckets if bucket is not None]


def begin(scopes: list[Scope], ends: Ends, prompt: int = 100) -> Slot:
    return Slot(scopes, prompt, lambda: 0.0, ends)


def test_takes_a_place_a_request_and_the_prompt_of_every_scope(scopes: list[Scope], ends: Ends) -> None:
    slot = begin(scopes, ends)
    assert [scope.running for scope in scopes] == [1, 1, 1]
    assert spent(scopes) == [1, 100, 100]
    assert slot.max_output_tokens == 7
    assert dict(slot.quota_headers(0.0))["x-ratelimit-remaining-requests"] == str(PLENTY - 1)


@pytest.mark.parametrize(("reported", "left"), [(130, 130), (20, 20), (500, 500)])
def test_settling_takes_or_gives_back_what_differs(scopes: list[Scope], ends: Ends, reported: int, left: int) -> None:
    slot = begin(scopes, ends)
    slot.take(30, 0.0)
    assert spent(scopes) == [1, 130, 130]
    slot.settle(reported, 0.0)
    assert spent(scopes) == [1, left, left]
    assert ends.seen == [slot]


def test_nothing_generated_costs_a_request_and_no_tokens(scopes: list[Scope], ends: Ends) -> None:
    begin(scopes, ends).release()
    assert spent(scopes) == [1, 0, 0]


def test_undone_costs_nothing(scopes: list[Scope], ends: Ends) -> None:
    begin(scopes, ends).undo()
    assert spent(scopes) == [0, 0, 0]


@given(calls=st.lists(st.sampled_from(["take", "settle", "release", "undo"]), min_size=1, max_size=8))
def test_ends_once_whatever_is_called_and_in_any_order(calls: list[str]) -> None:
    ends = Ends()
    scopes = [Scope(ScopeKind.KEY, "k")]
    scopes[0].adopt(Allowance(requests_per_minute=PLENTY, tokens_per_minute=FEW), 0.0)
    slot = begin(scopes, ends)
    for call in calls:
        {
            "take": lambda: slot.take(5, 0.0),
            "settle": lambda: slot.settle(50, 0.0),
            "release": slot.release,
            "undo": slot.undo,
        }[call]()
    first_end = next((call for call in calls if call != "take"), None)
    expected = {None: [1, 100 + 5 * len(calls)], "settle": [1, 50], "release": [1, 0], "undo": [0, 0]}[first_end]
    assert spent(scopes) == expected
    assert scopes[0].running == (first_end is None)
    assert len(ends.seen) == (first_end is not None)
    assert slot.is_over == (first_end is not None)


def test_has_as_much_left_as_its_scarcest_bucket_of_tokens(ends: Ends) -> None:
    scopes = [Scope(ScopeKind.KEY, "k"), Scope(ScopeKind.MODEL, "m")]
    scopes[0].adopt(Allowance(requests_per_minute=1), 0.0)
    scopes[1].adopt(Allowance(tokens_per_minute=60), 0.0)
    slot = begin(scopes, ends, prompt=60)
    assert slot.tokens_left(0.0) >= 0
    slot.take(3, 0.0)
    assert slot.tokens_left(2.5) < 0
    assert slot.tokens_left(3.0) >= 0


def test_a_limit_that_comes_later_is_paid_from_then_on(ends: Ends) -> None:
    scope = Scope(ScopeKind.KEY, "k")
    slot = begin([scope], ends)
    slot.take(500, 0.0)
    scope.adopt(Allowance(requests_per_minute=10, tokens_per_minute=60), 0.0)
    slot.take(100, LOOK_S)
    assert slot.tokens_left(LOOK_S) < 0
    slot.undo()
    assert scope.is_as_new(LOOK_S)


def test_buckets_that_hold_plenty_are_looked_at_now_and_then(ends: Ends) -> None:
    scope = Scope(ScopeKind.KEY, "k")
    scope.adopt(Allowance(tokens_per_minute=100_000), 0.0)
    slot = begin([scope], ends, prompt=0)
    assert scope.tokens is not None
    slot.take(1, 0.0)
    slot.take(50, 0.0)
    assert scope.tokens.level(0.0) == 99_999
    # More than a thousandth is not owed.
    slot.take(50, 0.0)
    assert scope.tokens.level(0.0) == 99_899
    slot.take(7, 0.0)
    assert slot.tokens_left(LOOK_S / 2) == 99_899
    # What flowed in meanwhile has filled it.
    assert slot.tokens_left(LOOK_S) > 99_899
    slot.take(60_000, LOOK_S)
    slot.take(39_999, LOOK_S)
    assert slot.tokens_left(LOOK_S) < 1000
    # Little is left: from here on every token is seen at once.
    left = slot.tokens_left(LOOK_S)
    slot.take(3, LOOK_S)
    assert slot.tokens_left(LOOK_S) == left - 3
    slot.settle(0, LOOK_S)
    assert scope.tokens.level(LOOK_S) == 100_000
