"""The record: one row a request, whatever became of it."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec

from headrace.types.attempt import Attempt, Seam
from headrace.types.bill import Bill
from headrace.types.ids import KeyId, RequestId, StreamId
from headrace.types.outcome import Cause, Durability, State, TokenSource

MAX_PERCEIVED_MS = 7 * 24 * 3600 * 1000
"""Longest time that a client may have perceived: a week."""

MAX_RECONNECTS = 1_000_000

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=MAX_PERCEIVED_MS)]

ClientTransport = Literal["fetch", "eventsource", "websocket"]
"""How a client was connected."""


class Perceived(msgspec.Struct, frozen=True, kw_only=True):
    """What a client perceived of one stream. Times are in milliseconds since it asked; None means it never happened."""

    first_byte_ms: Milliseconds | None = None
    first_token_ms: Milliseconds | None = None
    """When the first text had been read."""
    first_visible_ms: Milliseconds | None = None
    """When the first text had been painted."""
    tpot_ms: Milliseconds | None = None
    """Between two tokens on average, the first not counted."""
    total_ms: Milliseconds | None = None
    """When the end had been read."""
    reconnects: Annotated[int, msgspec.Meta(ge=0, le=MAX_RECONNECTS)] = 0
    """How often a lost connection was resumed."""
    transport: ClientTransport


class Source(enum.StrEnum):
    """Where a request's answer comes from."""

    ENGINE = "engine"
    JOINED = "joined"
    """A stream that another request had begun and that still ran: identical requests in flight at once."""
    REPEATED = "repeated"
    """The stream of an earlier request with the same ``Idempotency-Key``."""
    CACHE = "cache"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept about one request. Times are Unix seconds (UTC); None means it has not happened."""

    id: RequestId
    stream_id: StreamId
    """The id that its client knows the stream by."""
    owner: str
    """Whose stream it is; empty while nobody has to show a key."""
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
    perceived: Perceived | None = None
    """What its client reported after the end, if it did."""
    key_id: KeyId = KeyId("")
    """The client key it came with; empty without one."""
    tags: dict[str, str] = {}
    generated_tokens: int = 0
    """Our count of what the engine sent, whatever became of it."""
    delivered_tokens: int = 0
    """Our count of what was handed to the connections of clients before the last one left."""
    bill: Bill | None = None
    """None until it has ended. The request that began a stream pays for it; those that share it pay nothing."""
    log_id: StreamId | None = None
    """The log it refers to, where another request began that; None: its own, called ``stream_id``."""
    source: Source = Source.ENGINE
    engine_model: str = ""
    """The model that answers, as the engine knows it; empty when the engine decides."""
    attempts: list[Attempt] = []
    """Every try at an engine, oldest first; empty while the first one is all there was."""
    seams: list[Seam] = []
    """Where the answer goes on with another attempt's text."""
    retry_budget_s: float | None = None
    """Within how many seconds the first token had to come, all attempts and waits together; None with one attempt."""

    @property
    def log(self) -> StreamId:
        """Return the id of the log that it refers to."""
        return self.stream_id if self.log_id is None else self.log_id
