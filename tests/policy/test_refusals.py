"""What a client is told when it does not get in."""

from __future__ import annotations

import pytest

from headrace.errors import ClientRequestError
from headrace.policy.refusals import BUSY_RETRY_S, check_possible, refusal
from headrace.policy.scopes import Scope, ScopeKind
from headrace.types.access import Allowance


def scope(kind: ScopeKind, allowance: Allowance) -> Scope:
    made = Scope(kind, "secret name")
    made.adopt(allowance, 0.0)
    return made


@pytest.mark.parametrize("limit", ["max_prompt_tokens", "tokens_per_minute"])
def test_a_prompt_that_can_never_pass_is_the_clients_fault(limit: str) -> None:
    bounded = scope(ScopeKind.OWNER, Allowance(**{limit: 100}))
    check_possible([bounded], 100)
    with pytest.raises(ClientRequestError) as caught:
        check_possible([scope(ScopeKind.KEY, Allowance()), bounded], 101)
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "prompt_too_long", "messages")
    assert str(error) == f"the prompt has about 101 tokens; the owner allows {limit} = 100. Shorten it."


def test_the_length_of_prompts_is_looked_at_before_rates() -> None:
    rated = scope(ScopeKind.KEY, Allowance(tokens_per_minute=10))
    bounded = scope(ScopeKind.MODEL, Allowance(max_prompt_tokens=20))
    with pytest.raises(ClientRequestError, match="the model allows max_prompt_tokens = 20"):
        check_possible([rated, bounded], 30)


def test_names_the_limit_that_takes_longest_and_says_when_to_come_back() -> None:
    key = scope(ScopeKind.KEY, Allowance(requests_per_minute=60))
    model = scope(ScopeKind.MODEL, Allowance(tokens_per_minute=600))
    for _ in range(60):
        key.enter(0, 0.0)
    model.enter(600, 0.0)
    error = refusal([key, model], [key, model], 25, ", and that is that", 0.0)
    assert (
        str(error)
        == "rate limit reached: the model is at tokens_per_minute = 600, and that is that. Try again in 2.5s."
    )
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert error.retry_after_s == 2.5
    assert ("x-ratelimit-remaining-requests", "0") in error.headers
    assert ("x-ratelimit-reset-tokens", "1m0s") in error.headers


def test_nobody_knows_when_a_stream_ends() -> None:
    key = scope(ScopeKind.KEY, Allowance(concurrent_streams=1))
    key.enter(0, 0.0)
    error = refusal([key], [key], 0, "", 0.0)
    assert str(error) == "rate limit reached: the key has concurrent_streams = 1 running. Try again in 1s."
    assert error.retry_after_s == BUSY_RETRY_S
    assert error.headers == ()


def test_a_rate_that_takes_longer_than_a_slot_says_when_to_come_back() -> None:
    key = scope(ScopeKind.KEY, Allowance(concurrent_streams=1))
    owner = scope(ScopeKind.OWNER, Allowance(requests_per_minute=1))
    for one in (key, owner):
        one.enter(0, 0.0)
    assert refusal([key, owner], [key, owner], 0, "", 0.0).retry_after_s == 60


def test_room_that_others_wait_for_is_no_room() -> None:
    model = scope(ScopeKind.MODEL, Allowance(tokens_per_minute=60))
    error = refusal([model], [model], 1, "", 0.0)
    assert "other requests wait for the model." in str(error)
    assert error.retry_after_s == BUSY_RETRY_S


def test_no_name_of_a_scope_is_told() -> None:
    key = scope(ScopeKind.KEY, Allowance(concurrent_streams=1))
    key.enter(0, 0.0)
    assert "secret name" not in str(refusal([key], [key], 0, "", 0.0))
