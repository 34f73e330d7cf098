from __future__ import annotations

import pytest

from headrace.client.failure import NEXT, Failure, Next, Phase, failure_of_answer


def test_every_failure_has_a_next_step_in_every_phase() -> None:
    assert set(NEXT) == set(Phase)
    assert all(set(row) == set(Failure) for row in NEXT.values())


def test_request_is_sent_again_only_where_that_is_harmless() -> None:
    starts = {(phase, failure) for phase, row in NEXT.items() for failure, step in row.items() if step is Next.START}
    assert {phase for phase, _ in starts} == {Phase.ASKING, Phase.UNSURE, Phase.ASKING_AGAIN}
    nothing_begun = {Failure.UNREACHED, Failure.BUSY}
    assert {failure for phase, failure in starts if phase is not Phase.UNSURE} == nothing_begun
    assert {failure for phase, failure in starts if phase is Phase.UNSURE} == {Failure.NOT_FOUND, Failure.NO_ROUTE}


@pytest.mark.parametrize(
    ("status", "has_error", "failure"),
    [
        (200, False, Failure.ODD),
        (204, False, Failure.ODD),
        (301, False, Failure.REFUSED),
        (400, True, Failure.REFUSED),
        (401, False, Failure.REFUSED),
        (404, True, Failure.NOT_FOUND),
        (404, False, Failure.NO_ROUTE),
        (408, True, Failure.BUSY),
        (409, True, Failure.TAKEN),
        (410, True, Failure.REFUSED),
        (429, True, Failure.FAULT),
        (429, False, Failure.STRANGER),
        (500, True, Failure.FAULT),
        (502, True, Failure.FAULT),
        (502, False, Failure.STRANGER),
        (503, True, Failure.BUSY),
        (504, False, Failure.STRANGER),
        (599, False, Failure.STRANGER),
    ],
)
def test_answers_are_told_apart_by_status_and_author(status: int, has_error: bool, failure: Failure) -> None:
    assert failure_of_answer(status, has_error=has_error, had_stream=False) is failure


@pytest.mark.parametrize("status", [429, 499, 502, 503, 504])
def test_error_of_a_stream_that_ended_is_final(status: int) -> None:
    assert failure_of_answer(status, has_error=True, had_stream=True) is Failure.REFUSED
