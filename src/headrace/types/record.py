"""The record: one row a request, whatever became of it."""

from __future__ import annotations

import msgspec

from headrace.types.ids import RequestId, StreamId
from headrace.types.outcome import Cause, Durability, State, TokenSource


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept about one request. Times are Unix seconds (UTC); None means it has not happened."""

    id: RequestId
    stream_id: StreamId
    owner: str
    """Whose stream it is; empty while keys are off."""
    model: str
    engine: str
    accepted_at: float
    first_content_at: float | None = None
    ended_at: float | None = None
    state: State = State.QUEUED
    cause: Cause | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens_source: TokenSource = TokenSource.COUNTED
    entries: int = 0
    """Chunks in the log, the end entry not counted."""
    bytes: int = 0
    """Bytes of JSON in the log."""
    malformed_chunks: int = 0
    durability: Durability = Durability.DURABLE
