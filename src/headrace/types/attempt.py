"""What became of each try at an engine, and where one stream goes on with another one's text."""

from __future__ import annotations

import enum

import msgspec

from headrace.types.ids import Offset
from headrace.types.outcome import Cause, TokenSource


class AttemptKind(enum.StrEnum):
    """Why an engine was asked."""

    FIRST = "first"
    RETRY = "retry"
    """Again, after it had failed before its first token."""
    FAILOVER = "failover"
    """Another engine, after one had failed before its first token."""
    CONTINUATION = "continuation"
    """To go on where an answer broke off."""
    REPLAY = "replay"
    """To give an answer that broke off once more, as far as it is the same."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try at one engine. Times are Unix seconds (UTC)."""

    engine: str
    model: str
    """As the engine knows it; empty when it decides."""
    kind: AttemptKind
    started_at: float
    waited_s: float = 0.0
    """From the failure before it to its start."""
    first_content_at: float | None = None
    ended_at: float | None = None
    """None while it runs."""
    cause: Cause | None = None
    """Why it ended: as the stream's, or why another one followed."""
    status: int | None = None
    """HTTP status that the engine answered with, where it was an error."""
    message: str | None = None
    """What went wrong, for people; never a secret."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    tokens_source: TokenSource = TokenSource.COUNTED
    nano_usd: int | None = 0
    """What it costs; None when no price is known. Of one that gave no answer: nothing."""


class Seam(msgspec.Struct, frozen=True, kw_only=True):
    """Where one stream goes on with another attempt's text."""

    offset: Offset
    """Of the first entry behind it."""
    at: float
    """Unix seconds."""
    kind: AttemptKind
    """``continuation`` or ``replay``."""
    cause: Cause
    """Why the attempt before it ended."""
    from_engine: str
    to_engine: str
    to_model: str
