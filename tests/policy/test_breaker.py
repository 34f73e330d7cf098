"""The breaker: nothing passes while it is open, one at a time while it is half open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.breaker import NEXT_STATES, NO_TURN, Breaker, BreakerEvent, BreakerState
from headrace.policy.health_settings import HealthSettings

SETTINGS = HealthSettings(window_s=60, failures=3, failure_rate=0.5, min_requests=10, rest_s=5, rest_max_s=40)


def opened(at_s: float = 0.0) -> Breaker:
    breaker = Breaker(SETTINGS)
    for _ in range(SETTINGS.failures):
        breaker.failed(at_s, breaker.began(at_s))
    assert breaker.state(at_s) is BreakerState.OPEN
    return breaker


def fail_again(breaker: Breaker, now_s: float) -> float:
    """Let a probe fail, and return how long the next rest is."""
    breaker.failed(now_s, breaker.began(now_s))
    return breaker.rests_for_s(now_s)


def test_every_state_can_be_left_and_every_event_leads_somewhere() -> None:
    assert set(NEXT_STATES) == set(BreakerState)
    assert {event for events in NEXT_STATES.values() for event in events} == set(BreakerEvent)


def test_opens_after_so_many_failures_in_a_row() -> None:
    breaker = Breaker(SETTINGS)
    for outcome in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed):
        outcome(0.0, breaker.began(0.0))
    assert breaker.state(0.0) is BreakerState.CLOSED
    assert breaker.failures_in_a_row == 2
    breaker.failed(0.0, breaker.began(0.0))
    assert breaker.state(0.0) is BreakerState.OPEN


def test_opens_when_half_of_enough_requests_have_failed() -> None:
    breaker = Breaker(SETTINGS)
    for second in range(4):
        breaker.succeeded(second, breaker.began(second))
        breaker.failed(second, breaker.began(second))
    breaker.succeeded(5.0, breaker.began(5.0))
    assert breaker.state(5.0) is BreakerState.CLOSED
    breaker.failed(5.0, breaker.began(5.0))
    assert breaker.state(5.0) is BreakerState.OPEN


def test_failures_from_before_its_rest_do_not_open_it_again() -> None:
    breaker = Breaker(HealthSettings(failures=100, failure_rate=0.5, min_requests=10, rest_s=5))
    for _ in range(10):
        breaker.failed(0.0, breaker.began(0.0))
    assert breaker.state(0.0) is BreakerState.OPEN
    breaker.succeeded(5.0, breaker.began(5.0))
    breaker.failed(5.0, breaker.began(5.0))
    assert breaker.state(5.0) is BreakerState.CLOSED


def test_failures_that_are_long_past_do_not_open_it() -> None:
    breaker = Breaker(SETTINGS)
    for second in range(4):
        breaker.succeeded(second, breaker.began(second))
        breaker.failed(second, breaker.began(second))
    for outcome in (breaker.succeeded, breaker.failed):
        outcome(70.0, breaker.began(70.0))
    assert breaker.state(70.0) is BreakerState.CLOSED


def test_rests_and_then_lets_one_request_find_out() -> None:
    breaker = opened()
    assert not breaker.allows(4.99)
    assert breaker.rests_for_s(2.0) == 3.0
    assert breaker.state(5.0) is BreakerState.HALF_OPEN
    probe = breaker.began(5.0)
    assert not breaker.allows(5.0)
    breaker.succeeded(6.0, probe)
    assert breaker.state(6.0) is BreakerState.CLOSED


def test_first_content_of_the_probe_is_enough_but_its_later_failure_counts() -> None:
    breaker = opened()
    probe = breaker.began(5.0)
    breaker.came_alive(6.0, probe)
    assert breaker.state(6.0) is BreakerState.CLOSED
    breaker.failed(7.0, probe)
    assert breaker.failures_in_a_row == 1


def test_first_content_is_no_success() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(SETTINGS.failures):
        turn = breaker.began(0.0)
        breaker.came_alive(0.0, turn)
        breaker.failed(0.0, turn)
    assert breaker.state(0.0) is BreakerState.OPEN


def test_a_probe_that_says_nothing_gives_its_place_to_the_next() -> None:
    breaker = opened()
    breaker.neutral(6.0, breaker.began(5.0))
    assert breaker.allows(6.0)
    assert breaker.state(6.0) is BreakerState.HALF_OPEN


def test_what_began_before_it_opened_is_not_taken_for_the_probe() -> None:
    breaker = Breaker(SETTINGS)
    early = [breaker.began(0.0) for _ in range(4)]
    for _ in range(SETTINGS.failures):
        breaker.failed(0.0, breaker.began(0.0))
    breaker.began(5.0)
    breaker.neutral(5.0, early[0])
    assert not breaker.allows(5.0)
    breaker.succeeded(5.0, early[1])
    breaker.came_alive(5.0, early[2])
    breaker.failed(5.0, early[3])
    assert breaker.state(5.0) is BreakerState.HALF_OPEN
    assert not breaker.allows(5.0)


def test_what_begins_against_its_advice_says_nothing() -> None:
    breaker = opened()
    assert breaker.began(1.0) == NO_TURN
    breaker.began(5.0)
    turn = breaker.began(5.0)
    assert turn == NO_TURN
    breaker.succeeded(5.0, turn)
    breaker.neutral(5.0, turn)
    assert breaker.state(5.0) is BreakerState.HALF_OPEN
    assert not breaker.allows(5.0)


def test_an_outcome_without_a_turn_counts_as_one_of_the_present() -> None:
    breaker = opened()
    breaker.began(5.0)
    breaker.succeeded(5.0)
    assert breaker.state(5.0) is BreakerState.CLOSED


def test_rests_twice_as_long_each_time_up_to_the_longest() -> None:
    breaker = opened()
    now_s, rests = 0.0, []
    for _ in range(5):
        now_s += breaker.rests_for_s(now_s)
        rests.append(fail_again(breaker, now_s))
    assert rests == [10, 20, 40, 40, 40]


@pytest.mark.parametrize(("quiet_s", "rest_s"), [(0.0, 10.0), (59.0, 10.0), (60.0, 5.0)])
def test_the_rest_is_short_again_after_a_quiet_window(quiet_s: float, rest_s: float) -> None:
    breaker = opened()
    breaker.succeeded(5.0, breaker.began(5.0))
    for _ in range(SETTINGS.failures):
        breaker.failed(5.0 + quiet_s, breaker.began(5.0 + quiet_s))
    assert breaker.rests_for_s(5.0 + quiet_s) == rest_s


def test_rests_no_longer_than_new_settings_say() -> None:
    breaker = opened()
    fail_again(breaker, 5.0)
    assert breaker.rests_for_s(5.0) == 10
    breaker.adopt(HealthSettings(rest_s=1, rest_max_s=4))
    assert breaker.rests_for_s(5.0) == 4


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "came_alive", "succeeded", "failed", "failed", "neutral"]),
        st.integers(0, 10),
        st.integers(0, 40),
    ),
    max_size=80,
)
"""What to do, with which of the requests that run, after how many quarters of a second."""


@given(ACTIONS)
def test_from_any_history_nothing_passes_while_it_rests_and_one_at_a_time_afterwards(
    actions: list[tuple[str, int, int]],
) -> None:
    breaker = Breaker(SETTINGS)
    now_s = 0.0
    closed_until_s = 0.0
    running: list[int] = []
    probes: list[int] = []
    for action, which, quarters in actions:
        now_s += quarters / 4
        before = breaker.state(now_s)
        if now_s < closed_until_s:
            assert before is BreakerState.OPEN
            assert not breaker.allows(now_s)
        if action == "begin":
            running.append(breaker.began(now_s))
            if before is BreakerState.HALF_OPEN and running[-1] != NO_TURN:
                probes.append(running[-1])
        elif running:
            turn = running.pop(which % len(running)) if action != "came_alive" else running[which % len(running)]
            getattr(breaker, action)(now_s, turn)
            if turn in probes:
                probes.remove(turn)
        after = breaker.state(now_s)
        if after is BreakerState.OPEN and before is not BreakerState.OPEN:
            closed_until_s = now_s + SETTINGS.rest_s
            assert SETTINGS.rest_s <= breaker.rests_for_s(now_s) <= SETTINGS.rest_max_s
        if after is not BreakerState.HALF_OPEN:
            probes.clear()
        assert len(probes) <= 1
        assert breaker.allows(now_s) == (
            after is BreakerState.CLOSED or (after is BreakerState.HALF_OPEN and not probes)
        )
