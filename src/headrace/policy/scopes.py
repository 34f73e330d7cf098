"""Scopes: the keys, owners, models and engines that have limits, and how much of each is in use.

Many requests share one scope. It is known only while somebody uses it or its buckets still refill: names of models
come from clients and keys come and go, so what is as good as new is forgotten.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence

from headrace.policy.rates import Bucket
from headrace.types.access import Allowance

MAX_SWEPT = 64
"""Scopes without users that one sweep looks at."""


class ScopeKind(enum.StrEnum):
    """What a limit belongs to."""

    KEY = "key"
    OWNER = "owner"
    MODEL = "model"
    ENGINE = "engine"


class Scope:
    """One key, owner, model or engine. Made by ``Admission.scope``."""

    __slots__ = ("allowance", "kind", "name", "queued", "requests", "running", "tokens", "wanted")

    def __init__(self, kind: ScopeKind, name: str) -> None:
        self.kind = kind
        self.name = name
        self.allowance = Allowance()
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.running = 0
        """Requests admitted and not ended."""
        self.queued = 0
        """Requests in the queue that need this scope among others."""
        self.wanted = 0
        """Those of them that wait for this very scope."""

    def adopt(self, allowance: Allowance, now_s: float) -> None:
        """Take over new limits at once. Running requests keep what they have, also beyond a smaller limit."""
        if allowance == self.allowance:
            return
        self.allowance = allowance
        self.requests = _adapted(self.requests, allowance.requests_per_minute, now_s)
        self.tokens = _adapted(self.tokens, allowance.tokens_per_minute, now_s)

    def wait_s(self, prompt_tokens: int, now_s: float) -> float:
        """Return how long a request must wait here: 0 for not at all, infinity for until another one ends."""
        most = self.allowance.concurrent_streams
        if most is not None and self.running >= most:
            return math.inf
        wait_s = 0.0
        if self.requests is not None:
            wait_s = self.requests.wait_s(1, now_s)
        if self.tokens is not None:
            wait_s = max(wait_s, self.tokens.wait_s(prompt_tokens, now_s))
        return wait_s

    def shortage(self, prompt_tokens: int, now_s: float) -> str:
        """Return which limit a request waits for, as text for its client."""
        limits = self.allowance
        if limits.concurrent_streams is not None and self.running >= limits.concurrent_streams:
            return f"the {self.kind} has concurrent_streams = {limits.concurrent_streams} running"
        if self.requests is not None and self.requests.wait_s(1, now_s) > 0:
            return f"the {self.kind} is at requests_per_minute = {limits.requests_per_minute}"
        if self.tokens is not None and self.tokens.wait_s(prompt_tokens, now_s) > 0:
            return f"the {self.kind} is at tokens_per_minute = {limits.tokens_per_minute}"
        return f"other requests wait for the {self.kind}"

    def enter(self, prompt_tokens: int, now_s: float) -> None:
        """Begin one request."""
        self.running += 1
        if self.requests is not None:
            self.requests.take(1, now_s)
        if self.tokens is not None:
            self.tokens.take(prompt_tokens, now_s)

    def is_used(self) -> bool:
        """Whether a request runs or waits here."""
        return self.running > 0 or self.queued > 0

    def is_as_new(self, now_s: float) -> bool:
        """Whether forgetting it would change nothing."""
        return not self.is_used() and all(
            bucket is None or bucket.is_full(now_s) for bucket in (self.requests, self.tokens)
        )


def max_output_tokens(scopes: Sequence[Scope]) -> int | None:
    """Return the least ``max_output_tokens`` of the scopes; None when none of them has one."""
    limits = (scope.allowance.max_output_tokens for scope in scopes)
    return min((limit for limit in limits if limit is not None), default=None)


class Scopes:
    """All scopes that are known, by kind and name."""

    def __init__(self) -> None:
        self._known: dict[tuple[ScopeKind, str], Scope] = {}
        self._unused: dict[Scope, None] = {}
        """Those without users, the one that was looked at longest ago first."""

    def __len__(self) -> int:
        return len(self._known)

    def find(self, kind: ScopeKind, name: str, allowance: Allowance, now_s: float) -> Scope:
        """Return the scope with these limits from now on; a new one when there is none."""
        scope = self._known.get((kind, name))
        if scope is None:
            scope = self._known[kind, name] = Scope(kind, name)
            self._unused[scope] = None
        scope.adopt(allowance, now_s)
        return scope

    def known(self, scopes: Sequence[Scope]) -> tuple[Scope, ...]:
        """Return the scopes, each replaced by the one of its name that is known by now.

        One that ``sweep`` forgot since it was found becomes known again: two of the same name would admit twice.
        """
        return tuple(self._known.setdefault((scope.kind, scope.name), scope) for scope in scopes)

    def revise(self, allowance_of: Callable[[ScopeKind, str], Allowance | None], now_s: float) -> None:
        """Hold every scope to the limits that are told for it; None: to those that it has."""
        for (kind, name), scope in self._known.items():
            allowance = allowance_of(kind, name)
            if allowance is not None:
                scope.adopt(allowance, now_s)

    def let_go(self, scopes: Sequence[Scope], now_s: float) -> None:
        """Forget those that nobody uses and that are as good as new; remember the others of no use for ``sweep``."""
        for scope in scopes:
            self._unused.pop(scope, None)
            if scope.is_as_new(now_s):
                self._known.pop((scope.kind, scope.name), None)
            elif not scope.is_used():
                self._unused[scope] = None

    def sweep(self, now_s: float) -> None:
        """Look again at some of those without users."""
        if self._unused:
            unused = [scope for scope, _ in zip(self._unused, range(MAX_SWEPT), strict=False)]
            self.let_go(unused, now_s)


def _adapted(bucket: Bucket | None, per_minute: int | None, now_s: float) -> Bucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return Bucket(per_minute, now_s)
    bucket.resize(per_minute, now_s)
    return bucket
