"""Scopes: limits that change under running requests, and names that are forgotten."""

from __future__ import annotations

import math

import pytest

from headrace.policy.scopes import MAX_SWEPT, Scope, ScopeKind, Scopes, max_output_tokens
from headrace.types.access import Allowance

FREE = Allowance()


def scope(allowance: Allowance) -> Scope:
    made = Scope(ScopeKind.KEY, "k")
    made.adopt(allowance, 0.0)
    return made


def test_without_limits_nobody_waits() -> None:
    free = scope(FREE)
    for _ in range(1000):
        free.enter(10**9, 0.0)
    assert free.wait_s(10**9, 0.0) == 0
    assert free.running == 1000


@pytest.mark.parametrize(
    ("allowance", "wait_s"),
    [
        (Allowance(concurrent_streams=2), math.inf),
        (Allowance(requests_per_minute=2), 30.0),
        (Allowance(tokens_per_minute=20), 30.0),
        (Allowance(requests_per_minute=2, tokens_per_minute=25), 30.0),
        (Allowance(requests_per_minute=3, tokens_per_minute=20), 30.0),
    ],
)
def test_waits_for_the_limit_that_takes_longest(allowance: Allowance, wait_s: float) -> None:
    bounded = scope(allowance)
    for _ in range(2):
        assert bounded.wait_s(10, 0.0) == 0
        bounded.enter(10, 0.0)
    assert bounded.wait_s(10, 0.0) == wait_s


def test_new_limits_hold_at_once_and_count_those_who_run() -> None:
    changing = scope(FREE)
    for _ in range(3):
        changing.enter(0, 0.0)
    changing.adopt(Allowance(concurrent_streams=2), 0.0)
    assert changing.wait_s(0, 0.0) == math.inf
    changing.adopt(Allowance(concurrent_streams=4), 0.0)
    assert changing.wait_s(0, 0.0) == 0


def test_a_rate_that_changes_keeps_its_share() -> None:
    changing = scope(Allowance(requests_per_minute=60, tokens_per_minute=1000))
    for _ in range(30):
        changing.enter(25, 0.0)
    changing.adopt(Allowance(requests_per_minute=600, tokens_per_minute=100), 0.0)
    assert changing.requests is not None
    assert changing.tokens is not None
    assert changing.requests.level(0.0) == 300
    assert changing.tokens.level(0.0) == 25
    changing.adopt(FREE, 0.0)
    assert changing.requests is None
    assert changing.tokens is None


def test_the_same_limits_again_change_nothing() -> None:
    same = scope(Allowance(requests_per_minute=60))
    bucket = same.requests
    same.adopt(Allowance(requests_per_minute=60), 100.0)
    assert same.requests is bucket


def test_the_least_of_several_output_limits_counts() -> None:
    limits = [None, 300, 200, None]
    assert max_output_tokens([scope(Allowance(max_output_tokens=limit)) for limit in limits]) == 200
    assert max_output_tokens([scope(FREE)]) is None


def test_one_scope_for_a_name_of_a_kind() -> None:
    scopes = Scopes()
    key = scopes.find(ScopeKind.KEY, "x", FREE, 0.0)
    assert scopes.find(ScopeKind.KEY, "x", Allowance(concurrent_streams=1), 0.0) is key
    assert key.allowance.concurrent_streams == 1
    assert scopes.find(ScopeKind.MODEL, "x", FREE, 0.0) is not key


def test_what_is_as_new_is_forgotten_at_once_and_the_rest_when_it_has_refilled() -> None:
    scopes = Scopes()
    free = scopes.find(ScopeKind.MODEL, "free", FREE, 0.0)
    rated = scopes.find(ScopeKind.MODEL, "rated", Allowance(requests_per_minute=60), 0.0)
    for one in (free, rated):
        one.enter(0, 0.0)
    scopes.let_go([free, rated], 0.0)
    assert len(scopes) == 2
    free.running = rated.running = 0
    scopes.let_go([free, rated], 0.0)
    assert len(scopes) == 1
    scopes.sweep(0.5)
    assert scopes.find(ScopeKind.MODEL, "rated", rated.allowance, 0.5) is rated
    scopes.sweep(1.0)
    assert len(scopes) == 0


def test_who_waits_keeps_a_scope_known() -> None:
    scopes = Scopes()
    one = scopes.find(ScopeKind.KEY, "x", FREE, 0.0)
    one.queued = 1
    scopes.sweep(0.0)
    assert len(scopes) == 1


def test_a_scope_that_was_forgotten_while_somebody_held_it_comes_back() -> None:
    scopes = Scopes()
    held = scopes.find(ScopeKind.KEY, "x", FREE, 0.0)
    scopes.sweep(0.0)
    assert len(scopes) == 0
    assert scopes.known([held]) == (held,)
    assert len(scopes) == 1


def test_a_scope_that_was_replaced_while_somebody_held_it_stays_replaced() -> None:
    scopes = Scopes()
    held = scopes.find(ScopeKind.KEY, "x", FREE, 0.0)
    scopes.sweep(0.0)
    new = scopes.find(ScopeKind.KEY, "x", FREE, 0.0)
    assert new is not held
    assert scopes.known([held]) == (new,)


def test_a_sweep_looks_at_a_few_and_the_next_one_at_others() -> None:
    scopes = Scopes()
    rated = Allowance(requests_per_minute=1)
    for number in range(3 * MAX_SWEPT):
        one = scopes.find(ScopeKind.MODEL, str(number), rated, 0.0)
        one.enter(0, 0.0)
        one.running = 0
        scopes.let_go([one], 0.0)
    counts = []
    for now_s in (1.0, 60.0, 60.0, 60.0):
        scopes.sweep(now_s)
        counts.append(len(scopes))
    assert counts == [3 * MAX_SWEPT, 2 * MAX_SWEPT, MAX_SWEPT, 0]
