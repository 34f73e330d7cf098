"""A stream as clients see it, in JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.http.node import Node
from headrace.http.visible import no_such_stream
from headrace.types.access import Caller, Tags
from headrace.types.attempt import Attempt, Seam
from headrace.types.bill import Basis, Bill, BillRule, dollars
from headrace.types.ids import KeyId, Offset, RequestId, StreamId
from headrace.types.outcome import Cause, Durability, End, State, TokenSource
from headrace.types.record import Perceived, Record, Source


class CostView(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream costs."""

    usd: str | None
    """Dollars as a decimal; None when no price of the model is known."""
    basis: Basis
    rule: BillRule | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class StreamView(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as clients see it."""

    id: StreamId
    object: str = "stream"
    owner: str
    key_id: KeyId
    tags: Tags
    state: State
    cause: Cause | None
    finish_reason: str | None
    last_offset: Offset | None
    """Offset of the newest entry that can be read, the end entry included; None while there is none."""
    model: str
    engine: str
    """The engine that answers, or answered last."""
    engine_model: str
    """What it calls the model; empty when it decides."""
    source: Source
    """Where the answer comes from: an engine, or the stream of another request."""
    log_id: StreamId
    """The log that holds it; another id than ``id`` when another request began it, which the caller may see."""
    attempts: list[dict[str, Any]]
    """Every try at an engine, oldest first; empty when the first one is all there was."""
    seams: list[Seam]
    """Where the answer goes on with another attempt's text."""
    retry_budget: float | None
    """Within how many seconds the first token had to come, all attempts and waits together; None with one attempt."""
    request_id: RequestId
    created_at: float
    first_content_at: float | None
    ended_at: float | None
    usage: dict[str, Any] | None
    tokens_source: TokenSource
    generated_tokens: int
    delivered_tokens: int
    cost: CostView | None
    """None while it runs."""
    bytes: int
    malformed_chunks: int
    durability: Durability
    message: str | None
    consumers: int
    """Clients that follow it now; 0 once it has ended."""
    lag: int
    """Entries that the slowest of them has not been given yet."""
    perceived: Perceived | None
    """What its client reported after the end."""


async def found_view(node: Node, caller: Caller, stream_id: StreamId) -> StreamView:
    """Return a stream as it stands, whether it runs, has ended a moment ago or is in the records only.

    Raises:
        StreamNotFound: There is none that the caller may see.
    """
    view = await _any_view(node, stream_id)
    if not caller.may_see(view.owner):
        raise no_such_stream(stream_id)
    return await seen_by(node, caller, view)


async def seen_by(node: Node, caller: Caller, view: StreamView) -> StreamView:
    """Return a stream as its owner may see it: a cache that all share answers from logs of others, whose ids are not told."""
    if view.source is not Source.CACHE:
        return view
    begun = await node.records.own(view.log_id)
    if begun is not None and caller.may_see(begun.owner):
        return view
    return msgspec.structs.replace(view, log_id=view.id)


async def _any_view(node: Node, stream_id: StreamId) -> StreamView:
    pump = node.supervisor.find(stream_id)
    party = None if pump is None else pump.parties.find(stream_id)
    if pump is not None and party is not None and pump.log.published_end is None:
        return view_of(node, pump.record_of(party))
    late = node.supervisor.late(stream_id)
    if late is not None:
        return view_of(node, late.record)
    # Only the records know what a client reported after the end.
    record = await node.records.own(stream_id)
    if record is None:
        raise no_such_stream(stream_id)
    stored = await node.store.find(record.log)
    return view_of(node, record, end=stored.end if stored is not None else None)


def view_of(node: Node, record: Record, *, end: End | None = None) -> StreamView:
    """Return a record as clients see it; a running stream as it stands now."""
    late = node.supervisor.late(record.stream_id)
    if late is not None:
        record, end = late.record, late.seal.end
    pump = node.supervisor.find(record.stream_id)
    party = None if pump is None else pump.parties.find(record.stream_id)
    entries, size = record.entries, record.bytes
    if pump is not None and party is not None:
        perceived = record.perceived
        record, end = pump.record_of(party), party.end or pump.log.published_end
        entries, size = pump.log.published, pump.log.published_bytes
        record = msgspec.structs.replace(record, perceived=perceived)
        if end is None and record.state.is_terminal:
            # Its end is not committed yet: were the relay killed now, another one would be true afterwards.
            record = msgspec.structs.replace(record, state=State.IN_PROGRESS, cause=None, ended_at=None, bill=None)
    counted = {
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "total_tokens": record.prompt_tokens + record.completion_tokens,
    }
    followers = pump.log.followers if pump is not None and not record.state.is_terminal else ()
    last = entries if record.state.is_terminal else entries - 1
    return StreamView(
        id=record.stream_id,
        owner=record.owner,
        key_id=record.key_id,
        tags=record.tags,
        state=record.state,
        cause=record.cause,
        finish_reason=record.finish_reason,
        last_offset=Offset(last) if last >= 0 else None,
        model=record.model,
        engine=record.engine,
        engine_model=record.engine_model,
        source=record.source,
        log_id=record.log,
        attempts=[_attempt(attempt) for attempt in record.attempts],
        seams=record.seams,
        retry_budget=record.retry_budget_s,
        request_id=record.id,
        created_at=record.accepted_at,
        first_content_at=record.first_content_at,
        ended_at=record.ended_at,
        usage=end.usage if end is not None and end.usage is not None else counted,
        tokens_source=record.tokens_source,
        generated_tokens=record.generated_tokens,
        delivered_tokens=record.delivered_tokens,
        cost=None if record.bill is None else _cost(record.bill),
        bytes=size,
        malformed_chunks=record.malformed_chunks,
        durability=record.durability,
        message=end.message if end is not None else None,
        consumers=len(followers),
        lag=entries - min((follower.position for follower in followers), default=entries),
        perceived=record.perceived,
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt with what it costs as all amounts are shown; fields that say nothing are left out."""
    fields: dict[str, Any] = msgspec.to_builtins(attempt)
    fields.pop("nano_usd", None)
    return {**fields, "usd": None if attempt.nano_usd is None else dollars(attempt.nano_usd)}


def _cost(bill: Bill) -> CostView:
    return CostView(
        usd=None if bill.nano_usd is None else dollars(bill.nano_usd),
        basis=bill.basis,
        rule=bill.rule,
        prompt_tokens=bill.prompt_tokens,
        cached_tokens=bill.cached_tokens,
        completion_tokens=bill.completion_tokens,
    )
