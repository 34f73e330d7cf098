"""Logs in a SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from headrace.stores.sqlite.chains import LogReader
from headrace.stores.sqlite.logs import LogTables
from headrace.stores.sqlite.part import DatabasePart
from headrace.stores.sqlite.reader import Reader
from headrace.stores.sqlite.writer import Lane, Writer
from headrace.stream.segment import Flush, Segment
from headrace.stream.store import Batch, OpenLog, StoredLog
from headrace.types.ids import Offset, StreamId


class SqliteStore(DatabasePart):
    """The log store of a ``SqliteDatabase``; entering it enters the database."""

    is_bounded_by_readers = False

    def __init__(
        self,
        tables: LogTables,
        writer: Writer,
        reader: Reader,
        *,
        enter: Callable[[], Awaitable[object]],
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(enter=enter, leave=leave)
        self._tables = tables
        self._writer = writer
        self._reader = reader
        self._logs = LogReader(tables.live)
        self._lane = Lane()

    def commit(self, batch: Batch) -> asyncio.Future[None]:
        size = sum([len(append.segment.data) for append in batch.appends])
        return self._writer.submit(
            lambda connection: self._tables.apply(connection, batch), lane=self._lane, weight=size
        )

    def backlog(self) -> int:
        return self._lane.pending

    async def find(self, stream_id: StreamId) -> StoredLog | None:
        return await self._reader.run(partial(self._logs.find, stream_id=stream_id))

    async def read(self, stream_id: StreamId, *, after: Offset, max_bytes: int) -> list[Segment]:
        return await self._reader.run(partial(self._logs.read, stream_id=stream_id, after=after, max_bytes=max_bytes))

    async def flushes(self, stream_id: StreamId, *, after: Offset, limit: int) -> list[Flush]:
        return await self._reader.run(partial(self._logs.flushes, stream_id=stream_id, after=after, limit=limit))

    async def claim(self, node: str, *, lease_s: float, now: float) -> list[OpenLog]:
        """Take over open logs; a node does this once, when it starts, because it claims its own too."""
        return await self._writer.submit(lambda connection: self._tables.claim(connection, node, lease_s, now))

    async def renew(self, node: str, *, lease_s: float, now: float) -> None:
        await self._writer.submit(lambda connection: self._tables.renew(connection, node, lease_s, now))

    async def request_cancel(self, stream_id: StreamId) -> bool:
        return await self._writer.submit(lambda connection: self._tables.request_cancel(connection, stream_id))

    async def cancel_requests(self, node: str) -> list[StreamId]:
        sql = "SELECT stream_id FROM log WHERE ended_at IS NULL AND node = ? AND is_cancel_requested"
        rows = await self._reader.run(lambda connection: connection.execute(sql, (node,)).fetchall())
        return [stream_id for (stream_id,) in rows]

    async def erase(self, stream_id: StreamId) -> bool:
        """Remove a log at once; its text is overwritten right afterwards, in the write-ahead log after a second or so."""
        return await self._writer.submit(lambda connection: self._tables.erase(connection, stream_id))

    async def trim(self, *, ended_before: float, max_bytes: int) -> int:
        """Drop sealed logs in several short transactions, so that commits in between need not wait."""
        total = 0
        while dropped := await self._writer.submit(
            lambda connection: self._tables.trim(connection, ended_before, max_bytes)
        ):
            total += dropped
        return total
