"""Streams by their ids, as far as a caller may see them: anybody else's do not exist."""

from __future__ import annotations

from headrace.errors import StreamNotFound
from headrace.http.exchange import Exchange
from headrace.http.node import Node
from headrace.http.parameters import STREAM_ID
from headrace.pump.pump import Pump
from headrace.stream.log import StreamLog
from headrace.stream.store import Lease
from headrace.types.access import Caller
from headrace.types.ids import StreamId


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
