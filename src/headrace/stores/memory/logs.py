"""Logs in memory."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from typing import Self

from headrace.errors import StreamGone, StreamNotFound
from headrace.stores.memory.done import done
from headrace.stream.segment import Flush, Segment
from headrace.stream.store import Append, Batch, Lease, Opening, OpenLog, Seal, StoredLog
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import End

LOG_BYTES = 512
"""What a log counts towards ``max_bytes`` beside its entries, so that very many empty logs are bounded too."""


class _Log:
    """One log. ``segments`` may lack the first ones (evicted) and the last ones (a gap in what was committed)."""

    __slots__ = (
        "bytes", "created_at", "end", "ended_at", "entries", "epoch", "evicted", "has_content",
        "is_cancel_requested", "keeps_content", "next", "node", "owner", "segments", "stream_id",
    )  # fmt: skip

    def __init__(self, opening: Opening) -> None:
        self.stream_id = opening.lease.stream_id
        self.node = opening.lease.node
        self.epoch = opening.lease.epoch
        self.owner = opening.owner
        self.created_at = opening.created_at
        self.keeps_content = opening.keeps_content
        self.segments: list[Segment] = []
        self.evicted = Offset(-1)
        """Where the newest segment began that is no longer kept; -1 while all are."""
        self.next = Offset(0)
        self.bytes = 0
        self.has_content = True
        self.is_cancel_requested = False
        self.end: End | None = None
        self.entries = Offset(0)
        self.ended_at = 0.0

    def since(self, offset: Offset, max_bytes: int) -> list[Segment]:
        """Return what is kept from ``offset`` on, as much as fits into ``max_bytes``, but at least one segment.

        Raises:
            StreamGone: The entry at ``offset`` is no longer kept.
        """
        limit = self.next if self.end is None else max(self.next, self.entries)
        if offset >= limit:
            return []
        index = bisect_right(self.segments, offset, key=lambda segment: segment.first) - 1
        if index < 0 or offset >= self.next:
            raise StreamGone(f"entry {offset} of stream {self.stream_id} is no longer kept")
        page = [self.segments[index].since(offset)]
        room = max_bytes - len(page[0].data)
        for later in range(index + 1, len(self.segments)):  # no slice: it would copy the rest of the log for each page
            room -= len(self.segments[later].data)
            if room < 0:
                break
            page.append(self.segments[later])
        return page

    def flushes(self, after: Offset, limit: int) -> list[Flush]:
        """Return what is told of the first ``limit`` segments that begin after ``after``.

        Raises:
            StreamGone: One of them is no longer kept.
        """
        if after < self.evicted:
            raise StreamGone(f"segments after offset {after} of stream {self.stream_id} are no longer kept")
        start = bisect_right(self.segments, after, key=lambda segment: segment.first)
        return [segment.flush for segment in self.segments[start : start + limit]]


class MemoryStore:
    """Keeps logs in memory, at most about ``max_bytes`` of them.

    When that is passed, the entries of the oldest sealed logs go first (their ends stay), then those ends, then the
    oldest segments of open logs. Reading an evicted entry raises ``StreamGone``.
    """

    is_bounded_by_readers = True

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._logs: dict[StreamId, _Log] = {}
        self._leases: dict[str, float] = {}
        # Three orders of eviction, oldest first. OrderedDict: taking the first of a dict is slow after many deletions.
        self._full: OrderedDict[StreamId, _Log] = OrderedDict()
        self._bare: OrderedDict[StreamId, _Log] = OrderedDict()
        self._open_segments: OrderedDict[tuple[StreamId, Offset], _Log] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def commit(self, batch: Batch) -> asyncio.Future[None]:
        """Take the batch over; the future is done already."""
        for opening in batch.openings:
            self._logs.setdefault(opening.lease.stream_id, _Log(opening))
        for append in batch.appends:
            self._append(append)
        for seal in batch.seals:
            self._seal(seal)
        self._evict()
        return done()

    def backlog(self) -> int:
        return 0

    async def find(self, stream_id: StreamId) -> StoredLog | None:
        log = self._logs.get(stream_id)
        if log is None:
            return None
        return StoredLog(
            stream_id=stream_id,
            owner=log.owner,
            created_at=log.created_at,
            entries=log.next if log.end is None else log.entries,
            end=log.end,
            has_content=log.has_content,
        )

    async def read(self, stream_id: StreamId, *, after: Offset, max_bytes: int) -> list[Segment]:
        log = self._logs.get(stream_id)
        if log is None:
            raise StreamNotFound(f"there is no stream {stream_id}")
        return log.since(Offset(after + 1), max_bytes)

    async def flushes(self, stream_id: StreamId, *, after: Offset, limit: int) -> list[Flush]:
        log = self._logs.get(stream_id)
        if log is None:
            raise StreamNotFound(f"there is no stream {stream_id}")
        return log.flushes(after, limit)

    async def claim(self, node: str, *, lease_s: float, now: float) -> list[OpenLog]:
        claimed = []
        for log in self._logs.values():
            if log.end is None and (log.node == node or self._leases.get(log.node, now) <= now):
                log.node = node
                log.epoch += 1
                tokens = log.segments[-1].tokens if log.segments else None
                claimed.append(OpenLog(stream_id=log.stream_id, epoch=log.epoch, entries=log.next, tokens=tokens or 0))
        self._leases[node] = now + lease_s
        return claimed

    async def renew(self, node: str, *, lease_s: float, now: float) -> None:
        self._leases[node] = now + lease_s

    async def request_cancel(self, stream_id: StreamId) -> bool:
        log = self._logs.get(stream_id)
        if log is None or log.end is not None:
            return False
        log.is_cancel_requested = True
        return True

    async def cancel_requests(self, node: str) -> list[StreamId]:
        logs = self._logs.values()
        return [log.stream_id for log in logs if log.is_cancel_requested and log.end is None and log.node == node]

    async def erase(self, stream_id: StreamId) -> bool:
        log = self._logs.get(stream_id)
        if log is None:
            return False
        self._remove(log)
        return True

    async def trim(self, *, ended_before: float, max_bytes: int) -> int:
        dropped = 0
        sealed = [*self._full.values(), *self._bare.values()]
        for log in sorted(sealed, key=lambda log: log.ended_at):
            if log.ended_at >= ended_before and self._bytes <= max_bytes:
                break
            self._remove(log)
            dropped += 1
        return dropped

    def _held(self, lease: Lease) -> _Log | None:
        """Return the open log that ``lease`` still gives the right to write to."""
        log = self._logs.get(lease.stream_id)
        return log if log is not None and log.end is None and log.epoch == lease.epoch else None

    def _append(self, append: Append) -> None:
        log, segment = self._held(append.lease), append.segment
        if log is None or segment.first != log.next:
            return
        log.segments.append(segment)
        log.next = segment.next
        log.bytes += len(segment.data)
        self._bytes += len(segment.data)
        self._open_segments[log.stream_id, segment.first] = log

    def _seal(self, seal: Seal) -> None:
        log = self._held(seal.lease)
        if log is None:
            return
        log.end, log.entries, log.ended_at = seal.end, seal.entries, seal.ended_at
        self._forget_order(log)
        if log.keeps_content:
            self._full[log.stream_id] = log
        else:
            self._drop_content(log)

    def _evict(self) -> None:
        while self._bytes + LOG_BYTES * len(self._logs) > self._max_bytes:
            if self._full:
                self._drop_content(self._full.popitem(last=False)[1])
            elif self._bare:
                self._remove(next(iter(self._bare.values())))
            elif self._open_segments:
                log = self._open_segments.popitem(last=False)[1]
                evicted = log.segments.pop(0)
                log.evicted = evicted.first
                size = len(evicted.data)
                log.bytes -= size
                self._bytes -= size
            else:
                return

    def _drop_content(self, log: _Log) -> None:
        """Keep the end of a sealed log alone."""
        self._bytes -= log.bytes
        log.bytes = 0
        log.evicted = Offset(log.entries - 1)
        log.segments.clear()
        log.next = Offset(0)
        log.has_content = False
        self._bare[log.stream_id] = log

    def _remove(self, log: _Log) -> None:
        self._forget_order(log)
        self._full.pop(log.stream_id, None)
        self._bare.pop(log.stream_id, None)
        self._bytes -= log.bytes
        del self._logs[log.stream_id]

    def _forget_order(self, log: _Log) -> None:
        if log.stream_id not in self._full:
            for segment in log.segments:
                self._open_segments.pop((log.stream_id, segment.first), None)
