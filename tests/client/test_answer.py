"""Answers that are no stream: what a refusal says is kept, also for users of the stock SDK."""

from __future__ import annotations

import httpx2
import msgspec
import openai
import pytest

from headrace.client.answer import Answer
from headrace.client.sdk_errors import sdk_error
from headrace.errors import BudgetExhausted, Forbidden, RateLimited, RelayError, Unauthorized

LIMITS = {
    "X-RateLimit-Limit-Tokens": "1000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "6m0s",
    "Retry-After": "7",
    "Server": "somebody",
}


def refused(status: int, code: str, kind: str, headers: dict[str, str] | None = None) -> RelayError:
    body = msgspec.json.encode({"error": {"message": "it is so", "type": kind, "param": None, "code": code}})
    error = Answer(status, httpx2.Headers(headers or {}), body).error
    assert error is not None
    return error


def test_a_success_is_no_error() -> None:
    assert Answer(200, {}, b"{}").error is None


def test_what_a_refusal_says_of_limits_is_kept() -> None:
    error = refused(429, "rate_limit_exceeded", "rate_limit_error", LIMITS)
    assert type(error) is RateLimited
    assert error.retry_after_s == 7
    assert dict(error.headers) == {
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
    }


@pytest.mark.parametrize(
    ("status", "code", "kind", "ours", "theirs"),
    [
        (401, "invalid_api_key", "invalid_request_error", Unauthorized, openai.AuthenticationError),
        (403, "admin_required", "invalid_request_error", Forbidden, openai.PermissionDeniedError),
        (429, "rate_limit_exceeded", "rate_limit_error", RateLimited, openai.RateLimitError),
        (429, "insufficient_quota", "insufficient_quota", BudgetExhausted, openai.RateLimitError),
    ],
)
def test_users_of_the_stock_sdk_get_its_errors(
    *, status: int, code: str, kind: str, ours: type[RelayError], theirs: type[openai.APIStatusError]
) -> None:
    error = refused(status, code, kind, LIMITS)
    assert type(error) is ours
    raised = sdk_error(error, httpx2.Request("POST", "http://relay"), is_mid_stream=False)
    assert isinstance(raised, theirs)
    assert (raised.status_code, raised.code, raised.type) == (status, code, kind)
    assert raised.response.headers["x-ratelimit-reset-tokens"] == "6m0s"
    assert raised.response.headers["retry-after"] == "7"
    assert "server" not in raised.response.headers
