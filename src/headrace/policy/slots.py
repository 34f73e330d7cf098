"""A slot: what one admitted request holds of its scopes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from headrace.policy.quota import Headers, quota_headers
from headrace.policy.rates import SLACK
from headrace.policy.scopes import Scope, max_output_tokens

PLENTY_TOKENS = 10_000
"""While every bucket holds this much, it is looked at now and then only."""

LOOK_S = 0.2
"""How long it is not looked at then, at most."""

OWED_SHARE = 1 / 1000
"""How much of what a bucket holds one stream may owe it meanwhile."""


class Slot:
    """One running request: a place in each of its scopes, one request and its tokens from their buckets.

    It ends once, by ``settle``, ``release`` or ``undo``; whatever is called after that does nothing. Until then a
    scope's new limits hold for it too, but for tokens taken while its scope had no bucket.

    Args:
        scopes: Each once.
        prompt_tokens: Estimate, taken from the buckets at once.
        clock: Monotonic seconds.
        on_end: Called once, when the places are free again.
    """

    __slots__ = (
        "_clock",
        "_credit",
        "_left",
        "_look_at_s",
        "_on_end",
        "_owed",
        "_taken",
        "is_over",
        "max_output_tokens",
        "prompt_tokens",
        "scopes",
    )

    def __init__(
        self, scopes: Sequence[Scope], prompt_tokens: int, clock: Callable[[], float], on_end: Callable[[Slot], None]
    ) -> None:
        self.scopes = tuple(scopes)
        self.prompt_tokens = prompt_tokens
        self.max_output_tokens = max_output_tokens(scopes)
        """The least of the scopes when the request was admitted; None when none of them has one."""
        self.is_over = False
        self._clock = clock
        self._on_end = on_end
        self._taken = prompt_tokens
        self._owed = 0
        """Of these, what the buckets do not know yet."""
        self._credit = 0.0
        self._left = math.inf
        now_s = self._look_at_s = clock()
        for scope in self.scopes:
            scope.enter(prompt_tokens, now_s)

    def take(self, tokens: int, now_s: float) -> None:
        """Take tokens that have come already; the buckets may fall below zero."""
        if self.is_over:
            return
        self._taken += tokens
        self._owed += tokens
        if self._owed > self._credit or now_s >= self._look_at_s:
            self._pay(now_s)

    def tokens_left(self, now_s: float) -> float:
        """Return what the scarcest bucket of tokens has left, below zero when overdrawn; infinity without any."""
        if now_s >= self._look_at_s:
            self._pay(now_s)
        return self._left

    def _pay(self, now_s: float) -> None:
        """Take what is owed from the buckets, and look how full they are.

        Not on every tick of every stream: while all of them hold plenty, a small part of it may be owed for a moment.
        """
        owed, self._owed = self._owed, 0
        least = math.inf
        for scope in self.scopes:
            if scope.tokens is not None:
                scope.tokens.take(owed, now_s)
                least = min(least, scope.tokens.level(now_s))
        self._left = 0.0 if -SLACK <= least < 0 else least
        self._credit = least * OWED_SHARE
        self._look_at_s = now_s + LOOK_S if PLENTY_TOKENS <= least < math.inf else now_s

    def quota_headers(self, now_s: float) -> Headers:
        """Return the ``x-ratelimit-*`` headers for the request's answer."""
        return quota_headers(self.scopes, now_s)

    def settle(self, tokens: int, now_s: float) -> None:
        """End with ``tokens`` taken in all, prompt and answer together: what differs is taken or given back."""
        if not self.is_over:
            self._correct(tokens, now_s)
            self._end()

    def release(self) -> None:
        """End with nothing generated: tokens go back, the request stays counted."""
        self.settle(0, self._clock())

    def undo(self) -> None:
        """End as if the request had never been admitted. For one that no engine has seen."""
        if not self.is_over:
            for scope in self.scopes:
                if scope.requests is not None:
                    scope.requests.give_back(1)
            self.release()

    def _correct(self, tokens: int, now_s: float) -> None:
        self._pay(now_s)
        more = tokens - self._taken
        self._taken = tokens
        for scope in self.scopes:
            if scope.tokens is None:
                continue
            if more > 0:
                scope.tokens.take(more, now_s)
            else:
                scope.tokens.give_back(-more)

    def _end(self) -> None:
        self.is_over = True
        for scope in self.scopes:
            scope.running -= 1
        self._on_end(self)
