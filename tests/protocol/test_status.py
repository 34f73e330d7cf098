"""Every cause has its status, type and words."""

from __future__ import annotations

import pytest

from headrace.protocol.status import FAILURES, http_status_of
from headrace.stream.state import CAUSES
from headrace.types.outcome import Cause, End, State


def test_every_cause_but_those_of_completed_is_in_the_table() -> None:
    assert set(FAILURES) == set(Cause) - CAUSES[State.COMPLETED]


@pytest.mark.parametrize(
    ("state", "cause", "status"),
    [
        (State.COMPLETED, Cause.LENGTH, 200),
        (State.CANCELLED, Cause.CLIENT_STOP, 499),
        (State.CANCELLED, Cause.BUDGET, 429),
        (State.FAILED, Cause.UPSTREAM_REJECTED, 502),
        (State.FAILED, Cause.FIRST_TOKEN_TIMEOUT, 504),
        (State.TRUNCATED, Cause.UPSTREAM_CLOSED, 502),
        (State.TRUNCATED, Cause.UPSTREAM_STALLED, 502),
        (State.TRUNCATED, Cause.SHUTDOWN, 502),
    ],
)
def test_status_follows_the_cause(state: State, cause: Cause, status: int) -> None:
    assert http_status_of(End(state=state, cause=cause)) == status


def test_own_status_of_an_end_wins() -> None:
    assert http_status_of(End(state=State.FAILED, cause=Cause.UPSTREAM_REJECTED, status=400)) == 400


def test_a_truncated_answer_is_502_whatever_the_engine_s_error_event_said() -> None:
    assert http_status_of(End(state=State.TRUNCATED, cause=Cause.UPSTREAM_CLOSED, status=429)) == 502
