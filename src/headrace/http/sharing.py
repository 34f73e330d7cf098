"""Answers that are not generated anew: of an earlier request with the same ``Idempotency-Key``, of an identical one that runs, or
from the cache.

Whoever shares a stream has a request of its own, with an id of its own, an end of its own, and a record that costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import msgspec

from headrace.delivery.pace import Pace
from headrace.errors import ClientRequestError, StreamGone, StreamNotFound
from headrace.http.asgi import Headers
from headrace.http.departures import Departures
from headrace.http.followed import Followed
from headrace.http.node import Node
from headrace.http.visible import ended_log
from headrace.policy.cache_control import CacheControl
from headrace.policy.routing import Route
from headrace.pump.clocks import Clocks
from headrace.pump.party import Party, Requester
from headrace.pump.pump import Pump
from headrace.stream.log import StreamLog
from headrace.stream.segment import Flush
from headrace.stream.store import CacheEntry, CacheIndex, Claim, Lease, Settlement, StoredLog
from headrace.types.bill import Bill
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause, Durability, End, State
from headrace.types.record import Record, Source

logger = logging.getLogger(__name__)

MAX_KEY_CHARACTERS = 255
"""Of an ``Idempotency-Key``."""

MAX_FLUSHES = 100_000
"""Of an answer that comes again at its natural pace; a longer one comes at once from there on."""


_NO_WISHES = CacheControl()


@dataclass(frozen=True, kw_only=True)
class Sameness:
    """What a request has in common with those that it may share an answer with."""

    claim: Claim | None = None
    """Of its ``Idempotency-Key``, if it has one."""
    share_key: str | None = None
    """Digest of identical requests; None: it joins none."""
    cache_key: str | None = None
    """Digest of requests with the same answer; None: the cache has nothing to do with it."""
    control: CacheControl = _NO_WISHES

    @property
    def departure_key(self) -> str | None:
        """Under which others wait for it to begin."""
        if self.claim is not None:
            return f"claim:{self.claim.owner}\n{self.claim.key}"
        return self.share_key


@dataclass(frozen=True, kw_only=True)
class Found:
    """An answer that need not be generated."""

    followed: Followed
    headers: Headers


def key_of(headers: dict[bytes, bytes]) -> str | None:
    """Return the ``Idempotency-Key`` of a request; None when it has none.

    Raises:
        ClientRequestError: It cannot be one.
    """
    value = headers.get(b"idempotency-key")
    if value is None:
        return None
    key = value.decode("latin-1").strip()
    if not key or len(key) > MAX_KEY_CHARACTERS or not key.isprintable():
        raise ClientRequestError(
            f"Idempotency-Key must be 1 to {MAX_KEY_CHARACTERS} printable characters", param="Idempotency-Key"
        )
    return key


async def found(node: Node, same: Sameness, route: Route, requester: Requester) -> Found | StreamId | None:
    """Return an answer that need not be generated; None when there is none.

    Returns:
        The id of a log instead, when the request's ``Idempotency-Key`` stands for that and nothing of it was delivered: the
        claim is to be replaced.

    Raises:
        ClientRequestError: The key came with another request before (422), or only the cache was asked and has nothing (504).
        StoreError: The store failed.
    """
    if same.claim is not None:
        repeated = await _repeated(node, same.claim, requester)
        if same.control.only_if_cached and not isinstance(repeated, Found):
            raise _not_cached()
        return repeated
    if same.share_key is not None:
        pump = node.departures.running(same.share_key)
        if pump is not None:
            return joined(node, pump, msgspec.structs.replace(requester, source=Source.JOINED), status=_COLLAPSED)
    if same.cache_key is not None:
        return await _cached(node, same, route, requester)
    if same.control.only_if_cached:
        raise _not_cached()
    return None


def _not_cached() -> ClientRequestError:
    return ClientRequestError(
        "the cache has no answer to this request", status=504, code="not_cached", param="Cache-Control"
    )


def joined(node: Node, pump: Pump, requester: Requester, *, status: Headers | None = None) -> Found:
    """Return a stream that runs, with one more request on it; its log must be followed in the same round of the event loop.

    Raises:
        StreamExists: The id that its client shall know it by is taken.
        Overloaded: As many share it as may.
    """
    party = node.supervisor.join(pump, requester)
    followed = Followed(
        stream_id=requester.stream_id, log=pump.log, party=party, lingers=requester.linger_s is not None
    )
    return Found(followed=followed, headers=status or [])


_COLLAPSED: Headers = [(b"cache-status", b"headrace; fwd=miss; collapsed")]
"""RFC 9211 2.6."""


def missed(same: Sameness) -> Headers:
    """Return what an answer says that the cache did not have, of a request that it has to do with (RFC 9211 2.2)."""
    if same.cache_key is None:
        return []
    reason = b"request" if same.control.no_cache or same.control.no_store else b"miss"
    if same.claim is not None:
        reason = b"bypass"  # its key says which answer is its own
    return [(b"cache-status", b"headrace; fwd=" + reason)]


def keep(pump: Pump, departures: Departures, cache: CacheIndex, clocks: Clocks) -> None:
    """Take note that a stream has ended: it can be joined no more, and a whole answer may be given again."""
    order, log = pump.order, pump.log
    if order.share_key is not None:
        departures.ended(order.share_key, pump)
    if order.cache_key is None or log.state is not State.COMPLETED or log.is_degraded or not order.keeps_content:
        return
    if pump.is_filtered or (log.end is not None and log.end.malformed_chunks):
        return  # a part of it is missing
    entry = CacheEntry(order.cache_key, order.owner, log.stream_id, log.bytes, clocks.wall_time())
    cache.put(entry).add_done_callback(_told)


async def _repeated(node: Node, claim: Claim, requester: Requester) -> Found | StreamId | None:
    """Look for the stream that an ``Idempotency-Key`` stands for."""
    held = await node.claims.find(claim.owner, claim.key)
    if held is None:
        return None
    if held.fingerprint != claim.fingerprint:
        raise ClientRequestError(
            "this Idempotency-Key came with another request before; use a new key for a new request",
            status=422,
            code="idempotency_key_reused",
            param="Idempotency-Key",
        )
    requester = msgspec.structs.replace(requester, source=Source.REPEATED)
    pump = node.supervisor.find(held.log_id)
    if pump is not None and pump.log.end is None:
        return joined(node, pump, requester)
    return await _ended(node, held.log_id, requester) or held.log_id


async def _ended(node: Node, log_id: StreamId, requester: Requester) -> Found | None:
    """Return an earlier answer once more, however it ended; None when nothing of it was delivered, or is kept."""
    original = await _original(node, log_id)
    log = await ended_log(node, log_id)
    if original is None or log is None or log.end is None:
        return None
    if log.end.state is not State.COMPLETED and not original.delivered_tokens:
        return None
    if not await _is_kept(node, log):
        return None
    party = await _party_of(node, original, log.end, requester)
    return Found(followed=Followed(stream_id=requester.stream_id, log=log, party=party), headers=[])


async def _is_kept(node: Node, log: StreamLog) -> bool:
    """Return whether the entries of an ended log can be read: a client may have asked that none are kept."""
    if log.window(Offset(0), 1) is not None:
        return True
    try:
        return bool(await node.store.read(log.stream_id, after=Offset(-1), max_bytes=1))
    except (StreamGone, StreamNotFound):
        return False


async def _original(node: Node, log_id: StreamId) -> Record | None:
    """Return the record of the request that began a log."""
    pump, late = node.supervisor.find(log_id), node.supervisor.late(log_id)
    if pump is not None:
        return pump.record()
    if late is not None:
        return late.record
    return await node.records.own(log_id)


async def _cached(node: Node, same: Sameness, route: Route, requester: Requester) -> Found | None:
    """Look into the cache.

    Raises:
        ClientRequestError: Nothing else was asked, and it has nothing (504; RFC 9111 5.2.1.7).
    """
    hit = None
    if not same.control.no_cache and not same.control.no_store:
        hit = await _hit(node, same, route, requester)
    if hit is None and same.control.only_if_cached:
        raise _not_cached()
    return hit


async def _hit(node: Node, same: Sameness, route: Route, requester: Requester) -> Found | None:
    entry = await node.cache.find(same.cache_key or "")
    now = node.clocks.wall_time()
    age_s = 0.0 if entry is None else max(0.0, now - entry.stored_at)
    if entry is None or age_s > route.cache_for_s or not same.control.allows(age_s):
        return None
    stored = await node.store.find(entry.log_id)
    original = await _original(node, entry.log_id)
    if original is None or stored is None or stored.end is None or not _is_whole(stored, stored.end):
        return None
    log = StreamLog.ended(Lease(entry.log_id, "", 0), owner=stored.owner, entries=stored.entries, end=stored.end)
    pace = (
        Pace(await _flushes(node, entry.log_id), node.clocks.monotonic_s()) if route.cache_pace == "natural" else None
    )
    party = await _party_of(node, original, stored.end, msgspec.structs.replace(requester, source=Source.CACHE))
    followed = Followed(stream_id=requester.stream_id, log=log, party=party, pace=pace)
    if pace is not None:
        node.replays.add(followed, party)
    ttl = int(route.cache_for_s - age_s)
    headers = [(b"cache-status", b"headrace; hit; ttl=%d" % ttl), (b"age", b"%d" % int(age_s))]
    return Found(followed=followed, headers=headers)


def _is_whole(stored: StoredLog, end: End) -> bool:
    """Return whether the store has all of an answer. It may have missed a part after the entry was made."""
    return stored.has_content and end.state is State.COMPLETED and end.durability is Durability.DURABLE


async def _flushes(node: Node, log_id: StreamId) -> list[Flush]:
    found: list[Flush] = []
    while len(found) < MAX_FLUSHES:
        after = found[-1].offset if found else Offset(-1)
        page = await node.store.flushes(log_id, after=after, limit=1000)
        if not page:
            break
        found += page
    return found


async def _party_of(node: Node, original: Record, end: End, requester: Requester) -> Party:
    """Return a request on a log that has ended, once its record is kept: whoever knows its id can come back to it.

    It ends as the log did, which the request that began the log may have left before.
    A store that stalls or fails holds it up for as long as any commit, and no longer.
    """
    now = node.clocks.wall_time()
    party = Party(requester, accepted_at=now)
    record = msgspec.structs.replace(
        original,
        id=requester.request_id,
        stream_id=requester.stream_id,
        log_id=original.log,
        owner=requester.owner,
        key_id=requester.key_id,
        tags=requester.tags,
        source=requester.source,
        accepted_at=now,
        first_content_at=now,
        ended_at=now,
        state=end.state,
        cause=end.cause,
        finish_reason=end.finish_reason,
        perceived=None,
        generated_tokens=0,
        delivered_tokens=0,
        bill=Bill(),
        attempts=[],
        retry_budget_s=None,
    )

    def settle(left: Party, _: Cause) -> None:
        if left.end is not None:
            # Its client has stopped it.
            stopped = msgspec.structs.replace(
                record, state=left.end.state, cause=left.end.cause, ended_at=left.ended_at, finish_reason=None
            )
            node.records.save([stopped]).add_done_callback(_told)
        # Only where the record still is: it may have been erased, or know more by now.
        told = Settlement(record.id, left.delivered_tokens, 0, Bill())
        node.records.settle([told]).add_done_callback(_told)

    party.on_left = settle
    saving = node.records.save([record])
    saving.add_done_callback(_told)
    await asyncio.wait([saving], timeout=node.timeouts.commit_wait_s)
    return party


def _told(future: asyncio.Future[None]) -> None:
    """Look at what became of it, which the committer reports of its own commits too."""
    if not future.cancelled():
        future.exception()
