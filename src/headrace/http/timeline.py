"""``GET /v1/streams/{id}/timeline``: when each part of a log was committed."""

from __future__ import annotations

import msgspec

from headrace.errors import ClientRequestError, StoreError, StreamGone, StreamNotFound
from headrace.http.exchange import Exchange
from headrace.http.node import Node
from headrace.http.parameters import whole_number
from headrace.http.stream_view import StreamView, found_view
from headrace.http.visible import stream_id_in_path
from headrace.stream.segment import Flush
from headrace.types.attempt import Seam
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause, Durability, State

MAX_PAGE = 2000
"""Most flushes in one answer."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a stream's flushes, oldest first, and the stream as it stood when they were asked for.

    The flushes of all pages of a durable stream have together its ``entries`` and ``bytes``. Times are Unix seconds.
    """

    object: str = "timeline"
    stream_id: StreamId
    state: State
    cause: Cause | None
    created_at: float
    first_content_at: float | None
    ended_at: float | None
    entries: int
    """Entries that can be read, the end entry not counted."""
    bytes: int
    """Of their JSON."""
    durability: Durability
    """``degraded``: the store failed, and what neither it nor memory has is missing among the flushes."""
    flushes: list[Flush]
    has_more: bool
    seams: list[Seam]
    """Where the answer goes on with another attempt's text; all of them on every page."""


async def show_timeline(exchange: Exchange) -> None:
    """``GET /v1/streams/{id}/timeline?after=OFFSET&limit=N``: the flushes whose first offset is greater than ``after``."""
    node, stream_id, query = exchange.node, stream_id_in_path(exchange), exchange.query()
    after = Offset(whole_number(query.get("after", "-1"), "after", least=-1, most=2**62))
    limit = whole_number(query.get("limit", "1000"), "limit", least=1, most=MAX_PAGE)
    # Memory first: nothing is awaited from here to the view of a running stream, so both are of one moment, and what
    # the store is asked for afterwards is cut to it.
    in_memory = _in_memory(node, stream_id, after, limit + 1)
    view = await found_view(node, exchange.caller, stream_id)
    entries = _entries(view)
    if after > entries:
        raise ClientRequestError(f"after = {after} lies beyond the newest offset of {stream_id}", param="after")
    in_store = await _in_store(node, view, after, limit + 1) if entries else []
    by_offset = {flush.offset: flush for flush in (*in_store, *in_memory) if flush.offset < entries}
    flushes = [by_offset[offset] for offset in sorted(by_offset)]
    timeline = Timeline(
        stream_id=stream_id,
        state=view.state,
        cause=view.cause,
        created_at=view.created_at,
        first_content_at=view.first_content_at,
        ended_at=view.ended_at,
        entries=entries,
        bytes=view.bytes,
        durability=view.durability,
        flushes=flushes[:limit],
        has_more=len(flushes) > limit,
        seams=view.seams,
    )
    await exchange.respond_json(timeline)


def _entries(view: StreamView) -> int:
    """Return how many entries can be read."""
    if view.last_offset is None:
        return 0
    return view.last_offset if view.state.is_terminal else view.last_offset + 1


def _in_memory(node: Node, stream_id: StreamId, after: Offset, limit: int) -> list[Flush]:
    """Return what memory alone may have: flushes of a stream that runs without the store."""
    pump = node.supervisor.find(stream_id)
    return pump.log.flushes(after=after, limit=limit) if pump is not None and pump.log.is_degraded else []


async def _in_store(node: Node, view: StreamView, after: Offset, limit: int) -> list[Flush]:
    """Return what the store has; of a degraded stream that may be nothing.

    Raises:
        StreamGone: The store kept the stream's flushes once, and does so no longer.
        StoreError: The store could not be read.
    """
    is_degraded = view.durability is Durability.DEGRADED
    try:
        return await node.store.flushes(view.log_id, after=after, limit=limit)
    except StoreError:
        if is_degraded:
            return []
        raise
    except StreamNotFound:
        if is_degraded:
            return []
        raise StreamGone(f"the timeline of {view.id} is no longer kept", param="stream_id") from None
