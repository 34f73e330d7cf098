"""``/v1/streams``: list, look at, follow, stop and erase streams."""

from __future__ import annotations

import msgspec

from headrace.delivery.consumer import Consumer
from headrace.delivery.options import DeliveryOptions
from headrace.errors import ClientRequestError, Overloaded
from headrace.http.answers import follow
from headrace.http.exchange import Exchange
from headrace.http.followed import Followed
from headrace.http.node import Node
from headrace.http.parameters import STREAM_ID, accepts_lines, options_of, whole_number
from headrace.http.stream_view import StreamView, found_view, seen_by, view_of
from headrace.http.visible import log_of, no_such_stream, require_visible, stop, stream_id_in_path
from headrace.protocol.encoders import Encoder, EventsNDJSONEncoder, EventsSSEEncoder
from headrace.pump.pump import Pump
from headrace.types.access import Caller
from headrace.types.ids import Offset, RequestId, StreamId
from headrace.types.outcome import Cause, State

MAX_PAGE = 100
"""Most streams in one list."""

CANCEL_WAIT_S = 1.0
"""How long an answer to ``cancel`` waits for the end to be committed."""


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
    views = [await seen_by(node, exchange.caller, view_of(node, record)) for record in page.records]
    first, last = (views[0].id, views[-1].id) if views else (None, None)
    await exchange.respond_json(StreamList(data=views, first_id=first, last_id=last, has_more=page.has_more))


async def show_stream(exchange: Exchange) -> None:
    """``GET /v1/streams/{id}``."""
    await exchange.respond_json(await found_view(exchange.node, exchange.caller, stream_id_in_path(exchange)))


async def cancel_stream(exchange: Exchange) -> None:
    """``POST /v1/streams/{id}/cancel``: stops the engine now, unless another request shares the stream: then this one ends alone.

    One that has ended stays as it is.
    """
    node, caller, stream_id = exchange.node, exchange.caller, stream_id_in_path(exchange)
    if stop(node, caller, stream_id, "stopped by request"):
        await _published(exchange, stream_id)
    await exchange.respond_json(await found_view(node, caller, stream_id))


async def erase_stream(exchange: Exchange) -> None:
    """``DELETE /v1/streams/{id}``: stops it, then removes every trace of it."""
    node, stream_id = exchange.node, stream_id_in_path(exchange)
    await require_visible(node, exchange.caller, stream_id)
    pump = node.supervisor.find(stream_id)
    if pump is not None:
        await _stop_for_good(exchange, pump, stream_id)
    was_here = pump is not None or node.supervisor.late(stream_id) is not None
    node.supervisor.erase(stream_id)
    erased = await node.store.erase(stream_id)
    await node.claims.forget(stream_id)
    await node.cache.forget(stream_id)
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
    followed = await log_of(node, exchange.caller, stream_id)
    position = next_position(node, followed, after, param="after")
    with node.consumer(
        followed, position=position, peer=exchange.peer, coalesce_tokens=options.coalesce_tokens
    ) as consumer:
        await exchange.watched(consumer, _follow(exchange, followed, consumer, encoder, options))


async def _follow(
    exchange: Exchange, followed: Followed, consumer: Consumer, encoder: Encoder, options: DeliveryOptions
) -> None:
    await consumer.probe()
    await follow(exchange, followed, consumer, encoder, options)


def next_position(node: Node, followed: Followed, after: Offset, *, param: str) -> Offset:
    """Return where a follower goes on that has all up to ``after``.

    Raises:
        ClientRequestError: There is nothing behind ``after``.
        Overloaded: The stream has as many followers as are allowed.
    """
    log, stream_id = followed.log, followed.stream_id
    if after > log.published:
        raise ClientRequestError(f"{param} = {after} lies beyond the newest offset of {stream_id}", param=param)
    if len(log.followers) >= node.limits.max_followers:
        raise Overloaded(f"{stream_id} has {len(log.followers)} followers, which is limits.max_followers")
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
    record = await exchange.node.records.own(StreamId(after)) if STREAM_ID.fullmatch(after) else None
    if record is None or not exchange.caller.may_see(record.owner):
        raise ClientRequestError(f"after: there is no stream {after[:64]!r}", param="after")
    return record.id


async def _stop_for_good(exchange: Exchange, pump: Pump, stream_id: StreamId) -> None:
    """Stop a stream that is erased: all of it, if this request began it, whoever shares it."""
    if stream_id == pump.log.stream_id:
        pump.stop(Cause.CLIENT_STOP, "erased by request")
    else:
        stop(exchange.node, exchange.caller, stream_id, "erased by request")
    await _published(exchange, stream_id)


async def _published(exchange: Exchange, stream_id: StreamId) -> None:
    """Wait until the end of a stopped stream is durable; one that goes on for others is not waited for."""
    node = exchange.node
    pump = node.supervisor.find(stream_id)
    if pump is None or pump.log.end is None:
        return
    followed = Followed(stream_id=stream_id, log=pump.log)
    with node.consumer(followed, position=pump.log.published, peer=exchange.peer) as consumer:
        await consumer.ended(within_s=CANCEL_WAIT_S)


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
