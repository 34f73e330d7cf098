"""Health: who is to be left alone for now, and what is told of it."""

from __future__ import annotations

import math

import msgspec
import pytest

from headrace.policy.breaker import BreakerState
from headrace.policy.faults import Fault
from headrace.policy.health import LIMITED_S, MAX_KNOWN, MAX_LIMITED_S, Health, HealthSettings, Standing, TargetHealth
from headrace.policy.samples import Percentiles

SETTINGS = HealthSettings(failures=3, min_requests=4, slow_first_token_s=2.0, slow_gap_s=1.0)


def failed(health: TargetHealth, now_s: float = 0.0) -> TargetHealth:
    """Let it fail until it rests."""
    for _ in range(SETTINGS.failures):
        health.failed(now_s, health.began(now_s))
    return health


def test_is_ready_until_it_has_failed_often_enough_then_rests_then_is_probed() -> None:
    health = TargetHealth(SETTINGS)
    assert health.standing(0.0) is Standing.READY
    failed(health)
    assert health.standing(4.9) is Standing.RESTING
    assert health.rests(4.9)
    assert health.ready_in_s(4.0) == 1.0
    assert health.standing(5.0) is Standing.PROBING
    probe = health.began(5.0)
    assert health.standing(5.0) is Standing.RESTING
    health.first_content(0.5, 5.5, probe)
    assert health.standing(5.5) is Standing.READY


@pytest.mark.parametrize(
    ("retry_after_s", "rest_s"),
    [(None, LIMITED_S), (math.nan, LIMITED_S), (3.0, 3.0), (0.0, 0.0), (math.inf, MAX_LIMITED_S)],
)
def test_rests_after_a_429_as_long_as_it_said(retry_after_s: float | None, rest_s: float) -> None:
    health = TargetHealth(SETTINGS)
    health.limited(retry_after_s, 10.0, health.began(10.0))
    assert health.ready_in_s(10.0) == rest_s
    assert health.rests(10.0) == (rest_s > 0)
    assert health.standing(10.0 + rest_s) is Standing.READY


def test_a_shorter_429_does_not_end_a_longer_rest() -> None:
    health = TargetHealth(SETTINGS)
    health.limited(10.0, 0.0, health.began(0.0))
    health.limited(1.0, 0.0, health.began(0.0))
    assert health.ready_in_s(0.0) == 10


def test_many_429s_do_not_open_the_breaker() -> None:
    health = TargetHealth(SETTINGS)
    for _ in range(100):
        health.limited(1.0, 0.0, health.began(0.0))
    assert health.standing(1.0) is Standing.READY


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_says_of_the_engine_what_it_can(fault: Fault) -> None:
    health = TargetHealth(SETTINGS)
    for _ in range(SETTINGS.failures):
        health.faulted(fault, 2.0, 0.0, health.began(0.0))
    report = health.report(0.0)
    if fault in (Fault.REJECTED, Fault.CONTEXT_TOO_LONG, Fault.POLICY_REFUSAL):
        assert (report.standing, report.failed, report.limited) == (Standing.READY, 0, 0)
    elif fault is Fault.RATE_LIMITED:
        assert (report.standing, report.failed, report.limited, report.ready_in_s) == (Standing.RESTING, 0, 3, 2.0)
    else:
        assert (report.standing, report.failed, report.limited, report.ready_in_s) == (Standing.RESTING, 3, 0, 5.0)


def test_comes_after_the_others_while_one_in_ten_answers_begins_late() -> None:
    health = TargetHealth(SETTINGS)
    for _ in range(SETTINGS.min_requests - 1):
        health.first_content(9.0, 0.0, health.began(0.0))
    assert health.standing(0.0) is Standing.READY
    health.first_content(9.0, 0.0, health.began(0.0))
    assert health.standing(1.0) is Standing.RESTING
    assert health.ready_in_s(1.0) == 0
    report = health.report(1.0)
    assert (report.is_slow, report.breaker, report.failures_in_a_row) == (True, BreakerState.CLOSED, 0)
    assert health.standing(61.0) is Standing.READY


def test_comes_after_the_others_while_one_in_ten_answers_stalls() -> None:
    health = TargetHealth(SETTINGS)
    for gap_s in (0.1, 0.1, 0.1, 5.0):
        health.succeeded(gap_s, 0.0, health.began(0.0))
    assert health.standing(1.0) is Standing.RESTING


def test_is_never_slow_when_nothing_says_what_that_is() -> None:
    health = TargetHealth(HealthSettings())
    for _ in range(100):
        health.first_content(1e6, 0.0, health.began(0.0))
        health.succeeded(1e6, 0.0)
    assert health.standing(1.0) is Standing.READY


def test_reports_what_it_knows_as_json() -> None:
    health = TargetHealth(SETTINGS, engine="claude", model="claude-sonnet-4-5")
    for ttft_s in (0.1, 0.2, 0.3, 0.4):
        turn = health.began(0.0)
        health.first_content(ttft_s, 0.0, turn)
        health.succeeded(0.05, 0.0, turn)
    health.succeeded(None, 0.0, health.began(0.0))
    health.failed(0.0, health.began(0.0))
    health.limited(2.0, 0.0, health.began(0.0))
    assert msgspec.to_builtins(health.report(0.5)) == {
        "engine": "claude",
        "model": "claude-sonnet-4-5",
        "standing": "resting",
        "breaker": "closed",
        "ready_in_s": 1.5,
        "is_slow": False,
        "failures_in_a_row": 1,
        "requests": 7,
        "failed": 1,
        "limited": 1,
        "first_token": {"count": 4, "p50_s": 0.2, "p90_s": 0.4, "p99_s": 0.4},
        "longest_gap": {"count": 4, "p50_s": 0.05, "p90_s": 0.05, "p99_s": 0.05},
    }


def test_forgets_what_is_older_than_the_window() -> None:
    health = TargetHealth(SETTINGS)
    turn = health.began(0.0)
    health.first_content(0.1, 0.0, turn)
    health.succeeded(0.1, 0.0, turn)
    assert health.report(30.0).first_token == Percentiles(1, 0.1, 0.1, 0.1)
    report = health.report(120.0)
    assert (report.requests, report.first_token, report.longest_gap) == (0, None, None)


def test_knows_each_model_of_each_engine_by_itself() -> None:
    health = Health(SETTINGS)
    failed(health.of("a", "m"))
    assert health.of("a", "m").rests(0.0)
    assert not health.of("a", "n").rests(0.0)
    assert not health.of("b", "m").rests(0.0)
    assert [(report.engine, report.model) for report in health.reports(0.0)] == [("a", "m"), ("a", "n"), ("b", "m")]


def test_is_bounded_and_forgets_the_idle_ones_first() -> None:
    health = Health(SETTINGS)
    failed(health.of("a", "ill"))
    kept = health.of("a", "used")
    for number in range(MAX_KNOWN):
        health.of("a", f"model {number}")
        health.of("a", "used")
    assert len(health) == MAX_KNOWN
    assert health.of("a", "used") is kept
    assert health.of("a", "ill").rests(0.0)
    assert health.of("a", "model 0").report(0.0).requests == 0


def test_forgets_even_the_ill_ones_when_there_is_nobody_else() -> None:
    health = Health(SETTINGS)
    for number in range(MAX_KNOWN + 10):
        failed(health.of("a", f"model {number}"), float(number))
    assert len(health) == MAX_KNOWN
    assert not health.of("a", "model 0").rests(0.0)


def test_new_settings_hold_for_all_at_once() -> None:
    health = Health(SETTINGS)
    known = health.of("a", "m")
    for _ in range(2):
        known.failed(0.0, known.began(0.0))
    health.adopt(HealthSettings(failures=2, window_s=10, rest_s=1))
    assert not known.rests(0.0)
    known.failed(0.0, known.began(0.0))
    assert known.ready_in_s(0.0) == 1
    assert failed(health.of("a", "n")).ready_in_s(0.0) == 1


def test_settings_are_bounded() -> None:
    for bad in ({"failure_rate": 0}, {"failure_rate": 1.1}, {"failures": 0}, {"window": 0}, {"unknown": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, HealthSettings)
    read = msgspec.convert({"slow_first_token": 2, "rest_max": 5}, HealthSettings)
    assert (read.slow_first_token_s, read.rest_max_s, read.slow_gap_s) == (2, 5, None)
