from __future__ import annotations

import json

import pytest

from headrace.client.blame import error_object, error_of_answer, error_of_end
from headrace.client.ending import Ending
from headrace.errors import (
    BudgetExhausted,
    ClientRequestError,
    Forbidden,
    Overloaded,
    RateLimited,
    RelayError,
    StoreError,
    StreamCancelled,
    StreamExists,
    StreamGone,
    StreamNotFound,
    Unauthorized,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
)
from headrace.types.outcome import Cause, State

COMPLETED = {Cause.STOP, Cause.LENGTH, Cause.TOOL_CALLS, Cause.CONTENT_FILTER}


@pytest.mark.parametrize("cause", sorted(set(Cause) - COMPLETED))
def test_every_end_that_is_no_whole_answer_is_an_error_that_names_its_cause(cause: Cause) -> None:
    error = error_of_end(Ending(state=State.TRUNCATED, cause=cause, message="after 7 chunks"))
    assert error is not None
    assert error.code == cause
    assert str(error).startswith("The stream was truncated: ")
    assert str(error).endswith(": after 7 chunks")


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ("client_gone", StreamCancelled),
        ("budget", StreamCancelled),
        ("upstream_rejected", UpstreamRejected),
        ("upstream_closed", UpstreamError),
        ("first_token_timeout", UpstreamTimeout),
        ("upstream_stalled", UpstreamTimeout),
        ("event_too_large", UpstreamProtocolError),
        ("node_lost", RelayError),
        ("shutdown", RelayError),
        ("deadline", RelayError),
        ("cause_of_a_newer_relay", RelayError),
    ],
)
def test_causes_have_their_class(cause: str, expected: type[RelayError]) -> None:
    assert type(error_of_end(Ending(state=State.TRUNCATED, cause=cause))) is expected


def test_whole_answer_is_no_error() -> None:
    assert error_of_end(Ending(state=State.COMPLETED, cause="stop")) is None


def test_words_of_the_engine_survive() -> None:
    ending = Ending(
        state=State.FAILED,
        cause="upstream_rejected",
        status=429,
        retry_after_s=7.0,
        error_code="rate_limit_exceeded",
        error_param="model",
    )
    error = error_of_end(ending)
    assert error is not None
    assert (error.status, error.retry_after_s, error.code, error.param) == (429, 7.0, "rate_limit_exceeded", "model")


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (401, {"code": "invalid_api_key"}, Unauthorized),
        (401, {"code": "ticket_invalid"}, ClientRequestError),
        (403, {"code": "admin_required"}, Forbidden),
        (403, {"code": "foreign_origin"}, ClientRequestError),
        (404, {"code": "stream_not_found"}, StreamNotFound),
        (409, {"code": "stream_exists"}, StreamExists),
        (410, {"code": "stream_gone"}, StreamGone),
        (503, {"code": "store_error"}, StoreError),
        (503, {"code": "shutting_down", "type": "rate_limit_error"}, Overloaded),
        (429, {"code": "whatever"}, Overloaded),
        (429, {"code": "rate_limit_exceeded", "type": "rate_limit_error"}, RateLimited),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, BudgetExhausted),
        (404, {"code": "model_not_found"}, ClientRequestError),
        (401, {}, ClientRequestError),
        (500, {}, RelayError),
        (429, {"cause": "upstream_rejected", "state": "failed"}, UpstreamRejected),
        (None, {"code": "oom"}, UpstreamError),
    ],
)
def test_error_answers_have_their_class(status: int | None, fields: dict[str, str], expected: type[RelayError]) -> None:
    body = json.dumps({"error": {"message": "it is so", **fields}}).encode()
    error = error_of_answer(body, status=status, retry_after_s=3.0)
    assert type(error) is expected
    assert (str(error), error.retry_after_s) == ("it is so", 3.0)
    assert error.status == (status or UpstreamError.status)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "text"}', b'{"detail": "x"}', b"\xff"])
def test_bodies_that_no_relay_wrote_have_no_error_object(body: bytes) -> None:
    assert error_object(body) is None
    assert type(error_of_answer(body, status=502)) is RelayError
