"""``/v1/streams``: list, look at, follow, stop and erase streams."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.delivery.consumer import Consumer
from headrace.delivery.options import DeliveryOptions
from headrace.errors import ClientRequestError, Overloaded, StreamNotFound
from headrace.http.answers import follow
from headrace.http.exchange import Exchange
from headrace.http.node import Node
from headrace.http.parameters import STREAM_ID, accepts_lines, options_of, whole_number
from headrace.protocol.encoders import Encoder, EventsNDJSONEncoder, EventsSSEEncoder
from headrace.pump.pump import Pump
from headrace.stream.log import StreamLog
from headrace.stream.store import Lease
from headrace.types.access import Caller, Tags
from headrace.types.bill import Basis, Bill, BillRule, dollars
from headrace.types.ids import KeyId, Offset, RequestId, StreamId
from headrace.types.outcome import Cause, Durability, End, State, TokenSource
from headrace.types.record import Perceived, Record

MAX_PAGE = 100
"""Most streams in one list."""

CANCEL_WAIT_S = 1.0
"""How long an answer to ``cancel`` waits for the end to be committed."""


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


class StreamList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of streams, newest first, in the shape of OpenAI's lists."""

    object: str = "list"
    data: list[StreamView]
    first_id: StreamId | None
    last_id: StreamId | None
    """What the next page's ``after`` is."""
    has_more: bool


async def list_streams(exchange: Exchange) -> None:
    """``GET /v1/streams?state=STATE&limit=N&after=ID``: newest first, those older than the stream ``after``.

    An admin sees those of all owners, or of one: ``owner=NAME``.
    """
    node, query = exchange.node, exchange.query()
    state = _state(query.get("state"))
    limit = whole_number(query.get("limit", "20"), "limit", least=1, most=MAX_PAGE)
    before = await _request_before(exchange, query.get("after"))
    page = await node.records.newest(
        owner=_listed_owner(exchange.caller, query), state=state, limit=limit, before=before
    )
    views = [_view(node, record) for record in page.records]
    first, last = (views[0].id, views[-1].id) if views else (None, None)
    await exchange.respond_json(StreamList(data=views, first_id=first, last_id=last, has_more=page.has_more))


async def show_stream(exchange: Exchange) -> None:
    """``GET /v1/streams/{id}``."""
    await exchange.respond_json(await found_view(exchange.node, exchange.caller, stream_id_in_path(exchange)))


async def cancel_stream(exchange: Exchange) -> None:
    """``POST /v1/streams/{id}/cancel``: stops the engine now. One that has ended stays as it is."""
    node, caller, stream_id = exchange.node, exchange.caller, stream_id_in_path(exchange)
    pump = visible_pump(node, caller, stream_id)
    if pump is not None:
        pump.stop(Cause.CLIENT_STOP, "stopped by request")
        await _published(exchange, pump.log)
    await exchange.respond_json(await found_view(node, caller, stream_id))


async def erase_stream(exchange: Exchange) -> None:
    """``DELETE /v1/streams/{id}``: stops it, then removes every trace of it."""
    node, stream_id = exchange.node, stream_id_in_path(exchange)
    await require_visible(node, exchange.caller, stream_id)
    pump = node.supervisor.find(stream_id)
    if pump is not None:
        pump.stop(Cause.CLIENT_STOP, "erased by request")
        await _published(exchange, pump.log)
    was_here = pump is not None or node.supervisor.late(stream_id) is not None
    node.supervisor.erase(stream_id)
    erased = await node.store.erase(stream_id)
    forgotten = await node.records.forget(stream_id)
    if not was_here and not erased and not forgotten:
        raise no_such_stream(stream_id)
    await exchange.start(204, [])
    await exchange.finish()


async def follow_stream(exchange: Exchange) -> None:
    """``GET /v1/streams/{id}/events?after=OFFSET``: replay, then follow to the end."""
    node, stream_id = exchange.node, stream_id_in_path(exchange)
    headers, query = exchange.headers(), exchange.query()
    encoder: Encoder = EventsNDJSONEncoder() if accepts_lines(headers.get(b"accept", b"")) else EventsSSEEncoder()
    after = _after(query.get("after"), headers.get(b"last-event-id"))
    options = options_of(node, headers, query)
    log = await log_of(node, exchange.caller, stream_id)
    position = next_position(node, log, after, param="after")
    with node.consumer(log, position=position, peer=exchange.peer, coalesce_tokens=options.coalesce_tokens) as consumer:
        await exchange.watched(consumer, _follow(exchange, log, consumer, encoder, options))


async def _follow(
    exchange: Exchange, log: StreamLog, consumer: Consumer, encoder: Encoder, options: DeliveryOptions
) -> None:
    await consumer.probe()
    await follow(exchange, log, consumer, encoder, options)


def next_position(node: Node, log: StreamLog, after: Offset, *, param: str) -> Offset:
    """Return where a follower goes on that has all up to ``after``.

    Raises:
        ClientRequestError: There is nothing behind ``after``.
        Overloaded: The stream has as many followers as are allowed.
    """
    if after > log.published:
        raise ClientRequestError(f"{param} = {after} lies beyond the newest offset of {log.stream_id}", param=param)
    if len(log.followers) >= node.limits.max_followers:
        raise Overloaded(f"{log.stream_id} has {len(log.followers)} followers, which is limits.max_followers")
    return Offset(min(after + 1, log.published))


def _listed_owner(caller: Caller, query: dict[str, str]) -> str | None:
    """Return whose streams are listed; None for everybody's."""
    if caller.is_admin:
        return query.get("owner")
    return caller.owner


async def _request_before(exchange: Exchange, after: str | None) -> RequestId | None:
    """Return the request at which the page before ended."""
    if after is None:
        return None
    records = await exchange.node.records.of_stream(StreamId(after)) if STREAM_ID.fullmatch(after) else []
    if not records or not exchange.caller.may_see(records[0].owner):
        raise ClientRequestError(f"after: there is no stream {after[:64]!r}", param="after")
    return records[0].id


async def _published(exchange: Exchange, log: StreamLog) -> None:
    """Wait until the end of a stopped stream is durable."""
    node = exchange.node
    with node.consumer(log, position=log.published, peer=exchange.peer) as consumer:
        await consumer.ended(within_s=CANCEL_WAIT_S)


def visible_pump(node: Node, caller: Caller, stream_id: StreamId) -> Pump | None:
    """Return the pump of a stream that runs here; None when there is none that the caller may see."""
    pump = node.supervisor.find(stream_id)
    return pump if pump is not None and caller.may_see(pump.log.owner) else None


async def log_of(node: Node, caller: Caller, stream_id: StreamId) -> StreamLog:
    """Return the running log of a stream, or what the store has of an ended one.

    Raises:
        StreamNotFound: There is none that the caller may see.
    """
    pump = node.supervisor.find(stream_id)
    if pump is not None:
        return _visible(pump.log, caller)
    late = node.supervisor.late(stream_id)
    if late is not None:
        seal = late.seal
        log = StreamLog.ended(seal.lease, owner=late.record.owner, entries=seal.entries, end=seal.end)
        return _visible(log, caller)
    stored = await node.store.find(stream_id)
    if stored is None or stored.end is None or not caller.may_see(stored.owner):
        raise no_such_stream(stream_id)
    lease = Lease(stream_id, "", 0)
    return StreamLog.ended(lease, owner=stored.owner, entries=stored.entries, end=stored.end)


def _visible(log: StreamLog, caller: Caller) -> StreamLog:
    if not caller.may_see(log.owner):
        raise no_such_stream(log.stream_id)
    return log


async def require_visible(node: Node, caller: Caller, stream_id: StreamId) -> None:
    """Make sure that there is a stream and that nobody else owns it.

    One that does not exist must not pass: somebody else may start it while the caller goes on.

    Raises:
        StreamNotFound: There is none that the caller may see.
    """
    owners = {record.owner for record in await node.records.of_stream(stream_id)}
    stored = await node.store.find(stream_id)
    pump, late = node.supervisor.find(stream_id), node.supervisor.late(stream_id)
    if stored is not None:
        owners.add(stored.owner)
    if pump is not None:
        owners.add(pump.log.owner)
    if late is not None:
        owners.add(late.record.owner)
    if not owners or not all(caller.may_see(owner) for owner in owners):
        raise no_such_stream(stream_id)


async def found_view(node: Node, caller: Caller, stream_id: StreamId) -> StreamView:
    """Return a stream as it stands, whether it runs, has ended a moment ago or is in the records only.

    Raises:
        StreamNotFound: There is none that the caller may see.
    """
    view = await _any_view(node, stream_id)
    if not caller.may_see(view.owner):
        raise no_such_stream(stream_id)
    return view


async def _any_view(node: Node, stream_id: StreamId) -> StreamView:
    pump = node.supervisor.find(stream_id)
    if pump is not None and pump.log.published_end is None:
        return _view(node, pump.record())
    late = node.supervisor.late(stream_id)
    if late is not None:
        return _view(node, late.record)
    # Only the records know what a client reported after the end.
    records = await node.records.of_stream(stream_id)
    if not records:
        raise no_such_stream(stream_id)
    stored = await node.store.find(stream_id)
    return _view(node, records[0], end=stored.end if stored is not None else None)


def _view(node: Node, record: Record, *, end: End | None = None) -> StreamView:
    """Return a record as clients see it; a running stream as it stands now."""
    late = node.supervisor.late(record.stream_id)
    if late is not None:
        record, end = late.record, late.seal.end
    pump = node.supervisor.find(record.stream_id)
    entries, size = record.entries, record.bytes
    if pump is not None:
        perceived = record.perceived
        record, end = pump.record(), pump.log.published_end
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


def _cost(bill: Bill) -> CostView:
    return CostView(
        usd=None if bill.nano_usd is None else dollars(bill.nano_usd),
        basis=bill.basis,
        rule=bill.rule,
        prompt_tokens=bill.prompt_tokens,
        cached_tokens=bill.cached_tokens,
        completion_tokens=bill.completion_tokens,
    )


def stream_id_in_path(exchange: Exchange) -> StreamId:
    """Return the id that stands in the path.

    Raises:
        StreamNotFound: It cannot be one.
    """
    text = exchange.params["stream_id"]
    if STREAM_ID.fullmatch(text) is None:
        raise no_such_stream(text)
    return StreamId(text)


def no_such_stream(stream_id: str) -> StreamNotFound:
    """Return the error that says so."""
    return StreamNotFound(f"there is no stream {stream_id[:64]!r}", param="stream_id")


def _after(query: str | None, last_event_id: bytes | None) -> Offset:
    """Return the offset that a follower has; -1 for none. The query wins over ``Last-Event-ID``."""
    if query is not None:
        return Offset(whole_number(query, "after", least=-1, most=2**62))
    if last_event_id is not None:
        return Offset(whole_number(last_event_id.decode("latin-1"), "Last-Event-ID", least=-1, most=2**62))
    return Offset(-1)


def _state(text: str | None) -> State | None:
    if text is None:
        return None
    try:
        return State(text)
    except ValueError:
        raise ClientRequestError(f"state must be one of {', '.join(State)}", param="state") from None
