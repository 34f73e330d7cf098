"""Why a request does not get in: the errors that its client sees."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headrace.errors import ClientRequestError, RateLimited
from headrace.policy.quota import go_duration, quota_headers
from headrace.policy.scopes import Scope

BUSY_RETRY_S = 1.0
"""When to come back for a slot: nobody knows when a running stream ends."""


def check_possible(scopes: Sequence[Scope], prompt_tokens: int) -> None:
    """Make sure that the request could get in if it were alone.

    Raises:
        ClientRequestError: The prompt is longer than a scope's ``max_prompt_tokens``, or than its bucket of
            ``tokens_per_minute`` can ever hold (400).
    """
    for scope in scopes:
        _check_prompt(scope, "max_prompt_tokens", scope.allowance.max_prompt_tokens, prompt_tokens)
    for scope in scopes:
        _check_prompt(scope, "tokens_per_minute", scope.allowance.tokens_per_minute, prompt_tokens)


def refusal(
    scopes: Sequence[Scope], blockers: Sequence[Scope], prompt_tokens: int, why: str, now_s: float
) -> RateLimited:
    """Return the error for a request that may not wait, or not any longer.

    Args:
        scopes: All that it needs.
        blockers: Those that it would wait for; at least one.
        prompt_tokens: Estimate.
        why: Why it does not wait; ends the first sentence.
        now_s: Monotonic seconds.
    """
    waits = [scope.wait_s(prompt_tokens, now_s) for scope in blockers]
    slowest = blockers[waits.index(max(waits))]
    finite = [wait_s for wait_s in waits if 0 < wait_s < math.inf]
    retry_after_s = max(finite) if len(finite) == len(waits) else max([BUSY_RETRY_S, *finite])
    return RateLimited(
        f"rate limit reached: {slowest.shortage(prompt_tokens, now_s)}{why}. "
        f"Try again in {go_duration(retry_after_s)}.",
        retry_after_s=retry_after_s,
        headers=quota_headers(scopes, now_s),
    )


def _check_prompt(scope: Scope, name: str, most: int | None, prompt_tokens: int) -> None:
    if most is not None and prompt_tokens > most:
        raise ClientRequestError(
            f"the prompt has about {prompt_tokens} tokens; the {scope.kind} allows {name} = {most}. Shorten it.",
            code="prompt_too_long",
            param="messages",
        )
