"""A part of an answer: what one attempt has brought, and what it used."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.policy.billing import Counts
from headrace.types.chunk import BYTES_PER_TOKEN
from headrace.types.outcome import TokenSource


class Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one attempt has brought."""

    engine_usage: dict[str, Any] | None
    tokens: int
    """Our count of what is in the log."""
    unlogged_tokens: int
    """Our count of what is not: it came too late, or once more."""
    prompt_bytes: int

    @property
    def usage(self) -> tuple[dict[str, Any], TokenSource]:
        """The engine's usage; else our count, the prompt by its size unless the engine has told that by then."""
        told = self.engine_usage or {}
        if "completion_tokens" in told:
            return told, TokenSource.ENGINE
        prompt = self.prompt_tokens if self.tokens or told else 0
        total = prompt + self.tokens
        usage = {**told, "prompt_tokens": prompt, "completion_tokens": self.tokens, "total_tokens": total}
        return usage, TokenSource.COUNTED

    @property
    def prompt_tokens(self) -> int:
        """The engine's number; else by the size of the request."""
        told = (self.engine_usage or {}).get("prompt_tokens")
        return self.prompt_bytes // BYTES_PER_TOKEN if told is None else token_count(told)

    def counts(self, *, delivered_tokens: int) -> Counts:
        """Return what a bill is made of."""
        usage, source = self.usage
        details = usage.get("prompt_tokens_details")
        is_reported = source is TokenSource.ENGINE
        return Counts(
            # An engine that has accepted a prompt has read it, even if nobody waited for its first token.
            prompt_tokens=self.prompt_tokens,
            cached_tokens=token_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
            completion_tokens=token_count(usage.get("completion_tokens")),
            generated_tokens=self.tokens + self.unlogged_tokens,
            delivered_tokens=delivered_tokens,
            is_reported=is_reported,
        )


def token_count(value: object) -> int:
    """Return a token count from an engine's usage object; what is no count counts as 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def add_usage(total: dict[str, Any], usage: dict[str, Any]) -> None:
    """Add the numbers of a usage object to another one, down to its details; of what is no number the last one wins."""
    for name, value in usage.items():
        held = total.get(name)
        if isinstance(value, dict):
            inner = dict(held) if isinstance(held, dict) else {}
            for detail, number in value.items():
                inner[detail] = _sum(inner.get(detail), number)
            total[name] = inner
        else:
            total[name] = _sum(held, value)


def _sum(held: Any, value: Any) -> Any:
    if _is_number(held) and _is_number(value):
        return held + value
    return held if value is None else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
