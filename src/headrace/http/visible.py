"""Streams by their ids, as far as a caller may see them: anybody else's do not exist."""

from __future__ import annotations

from headrace.errors import StreamGone, StreamNotFound
from headrace.http.exchange import Exchange
from headrace.http.followed import Followed
from headrace.http.node import Node
from headrace.http.parameters import STREAM_ID
from headrace.pump.pump import Pump
from headrace.stream.log import StreamLog
from headrace.stream.store import Lease
from headrace.types.access import Caller
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause, End, State
from headrace.types.record import Record


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
    if pump is None:
        return None
    party = pump.parties.find(stream_id)
    return pump if party is not None and caller.may_see(party.requester.owner) else None


def stop(node: Node, caller: Caller, stream_id: StreamId, message: str) -> bool:
    """End the request that knows a stream by this id, and the stream with it if no other request wants it.

    Returns:
        False when there is none that runs and that the caller may see.
    """
    replay = node.replays.find(stream_id)
    if replay is not None and caller.may_see(replay.requester.owner):
        node.replays.stop(stream_id, message)
        return True
    pump = visible_pump(node, caller, stream_id)
    party = None if pump is None else pump.parties.find(stream_id)
    if pump is None or party is None:
        return False
    pump.parties.detach(party, Cause.CLIENT_STOP, message)
    return True


async def log_of(node: Node, caller: Caller, stream_id: StreamId) -> Followed:
    """Return the running log of a stream, or what the store has of an ended one, by the id that its client knows.

    Raises:
        StreamNotFound: There is none that the caller may see.
        StreamGone: It shared one that is no longer kept.
    """
    pump = node.supervisor.find(stream_id)
    if pump is not None:
        return _running(pump, caller, stream_id)
    log = await ended_log(node, stream_id)
    record = await node.records.own(stream_id)
    if log is not None and caller.may_see(log.owner):
        return Followed(stream_id=stream_id, log=_of_request(log, record))
    if log is not None or record is None or record.log_id is None or not caller.may_see(record.owner):
        raise no_such_stream(stream_id)
    # It shares a log, perhaps another owner's: its own request is what gives it the right to.
    shared = await ended_log(node, record.log)
    if shared is None:
        raise StreamGone(f"what {stream_id} shared with another request is no longer kept", param="stream_id")
    return Followed(stream_id=stream_id, log=_of_request(shared, record))


def _of_request(log: StreamLog, record: Record | None) -> StreamLog:
    """Return a log as it is for one request on it: a shorter one, if that ended while others went on."""
    if record is None or record.cause is None or record.state is not State.CANCELLED or record.entries >= log.published:
        return log
    end = End(state=record.state, cause=record.cause)
    return StreamLog.ended(log.lease, owner=log.owner, entries=Offset(record.entries), end=end)


def _running(pump: Pump, caller: Caller, stream_id: StreamId) -> Followed:
    party = pump.parties.find(stream_id)
    if party is None or not caller.may_see(party.requester.owner):
        raise no_such_stream(stream_id)
    return Followed(stream_id=stream_id, log=pump.log, party=party, lingers=party.requester.linger_s is not None)


async def ended_log(node: Node, log_id: StreamId) -> StreamLog | None:
    """Return a log that has ended, by its own id: still here, or as the store has it; None when there is none."""
    pump = node.supervisor.find(log_id)
    if pump is not None and pump.log.stream_id == log_id:
        return pump.log
    late = node.supervisor.late(log_id)
    if late is not None:
        seal = late.seal
        return StreamLog.ended(seal.lease, owner=late.record.owner, entries=seal.entries, end=seal.end)
    stored = await node.store.find(log_id)
    if stored is None or stored.end is None:
        return None
    return StreamLog.ended(Lease(log_id, "", 0), owner=stored.owner, entries=stored.entries, end=stored.end)


async def require_visible(node: Node, caller: Caller, stream_id: StreamId) -> None:
    """Make sure that there is a stream and that nobody else owns it.

    One that does not exist must not pass: somebody else may start it while the caller goes on.

    Raises:
        StreamNotFound: There is none that the caller may see.
    """
    record = await node.records.own(stream_id)
    owners = set() if record is None else {record.owner}
    stored = await node.store.find(stream_id)
    pump, late = node.supervisor.find(stream_id), node.supervisor.late(stream_id)
    if stored is not None:
        owners.add(stored.owner)
    party = None if pump is None else pump.parties.find(stream_id)
    if party is not None:
        owners.add(party.requester.owner)
    if late is not None:
        owners.add(late.record.owner)
    if not owners or not all(caller.may_see(owner) for owner in owners):
        raise no_such_stream(stream_id)
