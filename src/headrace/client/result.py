"""What became of a stream."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.types.outcome import State


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as far as its client knows it. Times are in seconds, measured by the client."""

    text: str
    """Text of choice 0."""
    state: State
    """``in_progress`` while the end is not known: before it, and after the connection was lost for good."""
    cause: str | None = None
    """Why it ended, in the words of ``headrace.types.outcome.Cause``; a newer relay may have more of them."""
    finish_reason: str | None = None
    """The engine's own word."""
    usage: dict[str, Any] | None = None
    """OpenAI's usage object; None when nobody counted."""
    tool_calls: list[dict[str, Any]] = []
    """Tool calls of choice 0, whole, in OpenAI's shape."""
    stream_id: str | None = None
    """None when the server is no Headrace."""
    last_offset: int = -1
    """Of the newest entry; -1 for none. ``attach(stream_id, after=last_offset)`` goes on behind it."""
    ttft_s: float | None = None
    """From sending the request to the first content."""
    tpot_s: float | None = None
    """Time per output token behind the first one, by ``usage``, else by content-bearing chunks; None for fewer than two."""
    duration_s: float = 0.0
    """From sending the request to the end, or to now."""
    reconnects: int = 0
    """Breaks that were overcome."""
    message: str | None = None
    """What went wrong, for people."""
