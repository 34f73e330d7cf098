"""Reading logs: pages of entries, each page for the price of its length.

The segments of a log form a chain from its tail back to its start. A reader wants them from the start, so the chain is
walked once, ids alone, and kept for the pages that follow; an open log's is extended from its new tail.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

import msgspec

from headrace.errors import StreamGone, StreamNotFound
from headrace.stores.sqlite.logs import LiveLog
from headrace.stream.segment import Flush, Segment
from headrace.stream.store import StoredLog
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import End

MAX_CHAINS = 256
MAX_CHAIN_SEGMENTS = 1_000_000
"""Bound over all chains kept, 16 bytes each; the one in use stays even when it alone is longer."""

_decode_end = msgspec.json.Decoder(End).decode

_WALK = """
WITH RECURSIVE chain (id, first, count, prev) AS (
    SELECT id, first, count, prev FROM segment WHERE id = :tail
    UNION ALL
    SELECT segment.id, segment.first, segment.count, segment.prev
    FROM chain JOIN segment ON segment.id = chain.prev WHERE chain.prev > :known
)
SELECT id, first, count FROM chain
"""
# length() takes the size of a blob from the row's header and loads none of it: https://sqlite.org/opcode.html#Column.
_FLUSHES = """
WITH RECURSIVE chain (first, count, bytes, taken_at, prev) AS (
    SELECT first, count, length(data), taken_at, prev FROM segment WHERE id = :last
    UNION ALL
    SELECT segment.first, segment.count, length(segment.data), segment.taken_at, segment.prev
    FROM chain JOIN segment ON segment.id = chain.prev WHERE chain.prev >= :first
)
SELECT first, count, bytes - count + 1, taken_at FROM chain
"""
_SCAN = "SELECT id, first, count FROM segment WHERE id > :known AND log = :key ORDER BY id"


class _LogRow(msgspec.Struct, frozen=True, gc=False):
    key: int
    owner: str
    created_at: float
    segment_floor: int
    entries: Offset | None
    tail: int | None
    has_content: int | None
    end: bytes | None


class _Chain:
    """The segments of one log, oldest first, as far as they are known."""

    __slots__ = ("first", "ids", "next")

    def __init__(self) -> None:
        self.ids = array("q")
        self.first = array("q")
        """Offset at which each begins."""
        self.next = Offset(0)

    def extend(self, rows: Iterable[tuple[int, int, int]]) -> None:
        for segment_id, first, count in rows:
            self.ids.append(segment_id)
            self.first.append(first)
            self.next = Offset(first + count)


class LogReader:
    """Reads logs over one connection, used by one thread at a time.

    Args:
        live: Returns the committed state of an open log that this process writes.
    """

    def __init__(self, live: Callable[[StreamId], LiveLog | None]) -> None:
        self._live = live
        self._chains: OrderedDict[tuple[StreamId, int, float], _Chain] = OrderedDict()
        """Least recently used first."""
        self._chain_segments = 0

    def find(self, connection: sqlite3.Connection, stream_id: StreamId) -> StoredLog | None:
        """Return what is known of a log."""
        live = self._live(stream_id)
        with _snapshot(connection):
            row = _row(connection, stream_id)
            if row is None:
                return None
            entries = row.entries
            if entries is None:
                is_live = live is not None and live.key == row.key
                entries = live.next if live and is_live else self._chain(connection, stream_id, row, live).next
        return StoredLog(
            stream_id=stream_id,
            owner=row.owner,
            created_at=row.created_at,
            entries=entries,
            end=None if row.end is None else _decode_end(row.end),
            has_content=row.has_content != 0,
        )

    def read(self, connection: sqlite3.Connection, stream_id: StreamId, after: Offset, max_bytes: int) -> list[Segment]:
        """Return a page of entries; see ``Store.read``."""
        live = self._live(stream_id)  # before the snapshot, which therefore holds its tail
        with _snapshot(connection):
            row = _row(connection, stream_id)
            if row is None:
                raise StreamNotFound(f"there is no stream {stream_id}")
            offset = Offset(after + 1)
            if row.entries is not None and offset >= row.entries:
                return []
            if row.has_content != 0:
                chain = self._chain(connection, stream_id, row, live)
                if offset < chain.next:
                    return _page(connection, chain, offset, max_bytes)
        if row.entries is None:
            return []
        raise StreamGone(f"entry {offset} of stream {stream_id} is no longer kept")

    def flushes(self, connection: sqlite3.Connection, stream_id: StreamId, after: Offset, limit: int) -> list[Flush]:
        """Return when a page of segments was committed; see ``Store.flushes``."""
        live = self._live(stream_id)  # before the snapshot, as above
        with _snapshot(connection):
            row = _row(connection, stream_id)
            if row is None:
                raise StreamNotFound(f"there is no stream {stream_id}")
            if row.entries is not None and after >= row.entries - 1:
                return []
            if row.has_content == 0:
                raise StreamGone(f"segments after offset {after} of stream {stream_id} are no longer kept")
            return _flushes(connection, self._chain(connection, stream_id, row, live), after, limit)

    def _chain(self, connection: sqlite3.Connection, stream_id: StreamId, row: _LogRow, live: LiveLog | None) -> _Chain:
        """Return the whole chain of a log, walking only the part that is new."""
        name = (stream_id, row.key, row.created_at)
        chain = self._chains.pop(name, None) or _Chain()
        known_before = len(chain.ids)
        known = chain.ids[-1] if chain.ids else 0
        tail = row.tail
        if tail is None and live is not None and live.key == row.key:
            tail = live.tail
        if tail is None:  # open, and written by another process
            start = {"known": max(known, row.segment_floor - 1), "key": row.key}
            chain.extend(connection.execute(_SCAN, start))
        elif tail > known:
            chain.extend(reversed(connection.execute(_WALK, {"tail": tail, "known": known}).fetchall()))
        self._chains[name] = chain
        self._chain_segments += len(chain.ids) - known_before
        self._shrink()
        return chain

    def _shrink(self) -> None:
        while len(self._chains) > MAX_CHAINS or (self._chain_segments > MAX_CHAIN_SEGMENTS and len(self._chains) > 1):
            _, dropped = self._chains.popitem(last=False)
            self._chain_segments -= len(dropped.ids)


def _row(connection: sqlite3.Connection, stream_id: StreamId) -> _LogRow | None:
    sql = 'SELECT id, owner, created_at, segment_floor, entries, tail, has_content, "end" FROM log WHERE stream_id = ?'
    row = connection.execute(sql, (stream_id,)).fetchone()
    return None if row is None else _LogRow(*row)


def _page(connection: sqlite3.Connection, chain: _Chain, offset: Offset, max_bytes: int) -> list[Segment]:
    page: list[Segment] = []
    room = max_bytes
    for index in range(bisect_right(chain.first, offset) - 1, len(chain.ids)):
        sql = "SELECT first, count, data, taken_at, tokens FROM segment WHERE id = ?"
        segment = Segment(*connection.execute(sql, (chain.ids[index],)).fetchone())
        if not page:
            segment = segment.since(offset)
        room -= len(segment.data)
        if page and room < 0:
            break
        page.append(segment)
    return page


def _flushes(connection: sqlite3.Connection, chain: _Chain, after: Offset, limit: int) -> list[Flush]:
    start = bisect_right(chain.first, after)
    ids = chain.ids[start : start + limit]
    if not ids:
        return []
    rows = connection.execute(_FLUSHES, {"first": ids[0], "last": ids[-1]}).fetchall()
    return [Flush(*row) for row in reversed(rows)]


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Generator[None]:
    """Let all reads inside see the same commits."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
