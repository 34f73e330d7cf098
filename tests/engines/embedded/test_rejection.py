from __future__ import annotations

from typing import Any

import pytest

from headrace.engines.embedded.rejection import MAX_MESSAGE, refusal, rejection_of
from headrace.types.outcome import Cause


@pytest.mark.parametrize(
    ("code", "status"), [(400, 400), (422, 422), (501, 400), (500, 502), (503, 502), (None, 502), ("x", 502), ([], 502)]
)
def test_statuses_say_whose_fault_it_is(code: Any, status: int) -> None:
    end = rejection_of({"code": code, "message": "no"})
    assert (end.cause, end.status, end.message) == (Cause.UPSTREAM_REJECTED, status, "no")
    assert end.error_type == ("invalid_request_error" if status < 500 else None)


@pytest.mark.parametrize(
    ("code", "upstream_status"),
    [(400, 400), (501, 501), (503, 503), (None, None), ("x", None), (5, None), (10**9, None)],
)
def test_the_engines_own_status_is_kept(code: Any, upstream_status: int | None) -> None:
    assert rejection_of({"code": code}).upstream_status == upstream_status


def test_a_prompt_that_is_too_long_bears_openais_code() -> None:
    assert rejection_of({"code": 400, "type": "exceed_context_size_error"}).error_code == "context_length_exceeded"


@pytest.mark.parametrize("error", ["text", 5, [], {}, {"message": None, "type": {}}])
def test_any_error_object_has_a_message(error: Any) -> None:
    assert rejection_of(error).message


def test_messages_are_bounded() -> None:
    for end in (rejection_of({"message": "x" * 10_000}), refusal(ValueError("x" * 10_000))):
        assert end.message is not None
        assert len(end.message) == MAX_MESSAGE


def test_an_exception_before_the_first_chunk_is_the_requests_fault() -> None:
    end = refusal(ValueError("'messages' is required"))
    assert (end.cause, end.status, end.message) == (Cause.UPSTREAM_REJECTED, 400, "'messages' is required")
    assert end.upstream_status == 400
