"""One SQLite file with its threads: a writer, three readers and a checkpointer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Self

from headrace.errors import StoreError
from headrace.stores.limits import CACHE_MAX_BYTES, CACHE_MAX_ENTRIES
from headrace.stores.sqlite.cache import SqliteCacheIndex
from headrace.stores.sqlite.checkpoint import CHECKPOINT_AFTER_BYTES, Checkpointer
from headrace.stores.sqlite.claims import SqliteClaims
from headrace.stores.sqlite.keys import SqliteKeys
from headrace.stores.sqlite.lock import Served, ServingLock
from headrace.stores.sqlite.logs import LogTables
from headrace.stores.sqlite.reader import Reader
from headrace.stores.sqlite.records import SqliteRecords
from headrace.stores.sqlite.schema import connect_writer, prepare
from headrace.stores.sqlite.store import SqliteStore
from headrace.stores.sqlite.writer import CLOSE_WAIT_S, MAX_BACKLOG_BYTES, Writer


def make_ready(path: Path) -> None:
    """Make a missing file, and bring one of an older version up to date, unless a process serves from it.

    For commands that open the file with ``exclusive=False`` afterwards. The serving lock is held only while there is
    something to do, so that a relay which starts at the same moment hardly ever finds it taken.

    Raises:
        StoreError: The file cannot be opened, is no Headrace database or a newer one.
    """
    with suppress(StoreError):
        prepare(path, exclusive=False)
        return
    lock = ServingLock(path)
    with suppress(Served):  # then opening it says what is wrong with it
        lock.acquire()
        try:
            prepare(path, exclusive=True)
        finally:
            lock.release()


class SqliteDatabase:
    """Five stores in one file, written in the same transactions: ``store``, ``records``, ``keys``, ``claims``, ``cache``.

    An async context manager; the five are too, and enter the database they belong to. It opens when the first
    of them is entered and closes when the last one is left: what was handed over is committed by then, or failed. It
    can be opened once.

    Args:
        path: The file. Made if missing, with mode 0600, unless ``exclusive`` is False.
        exclusive: True for the one process that serves from the file; False for commands beside it.
        before_commit: Fault injection; see ``Writer``.
        checkpoint_after_bytes: Growth of the write-ahead log between two checkpoints.
        max_backlog_bytes: How much may wait for the writer; a commit beyond it fails at once.
        close_wait_s: How long closing waits for a stalled writer.
        cache_max_entries: Bound of ``cache`` between two trims; see ``SqliteCacheIndex``.
        cache_max_bytes: Likewise.

    Raises:
        StoreError: On entering: the file cannot be opened, is no Headrace database or a newer one, or (``exclusive``)
            is served by another process.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        exclusive: bool = True,
        before_commit: Callable[[], None] | None = None,
        checkpoint_after_bytes: int = CHECKPOINT_AFTER_BYTES,
        max_backlog_bytes: int = MAX_BACKLOG_BYTES,
        close_wait_s: float = CLOSE_WAIT_S,
        cache_max_entries: int = CACHE_MAX_ENTRIES,
        cache_max_bytes: int = CACHE_MAX_BYTES,
    ) -> None:
        self._path = Path(path)
        self._exclusive = exclusive
        self._close_wait_s = close_wait_s
        self._checkpointer = Checkpointer(self._path, after_bytes=checkpoint_after_bytes)
        self._tables = LogTables(on_swept=self._checkpointer.scrub)
        self._writer = Writer(
            partial(connect_writer, self._path),
            self._tables,
            on_written=self._checkpointer.written,
            before_commit=before_commit,
            max_backlog_bytes=max_backlog_bytes,
        )
        # Several, so that a listing of many records does not hold up a client that resumes, nor a sum over a year
        # both of them and the look at the version of keys.
        self._log_reader = Reader(self._path, "headrace-read-logs")
        self._record_reader = Reader(self._path, "headrace-read-records")
        self._usage_reader = Reader(self._path, "headrace-read-usage")
        self.store = SqliteStore(self._tables, self._writer, self._log_reader, enter=self._enter, leave=self._leave)
        self.records = SqliteRecords(
            self._writer, self._record_reader, self._usage_reader, enter=self._enter, leave=self._leave
        )
        self.keys = SqliteKeys(self._writer, self._record_reader, enter=self._enter, leave=self._leave)
        # A request that waits for one of these reads a log next.
        self.claims = SqliteClaims(self._writer, self._log_reader, enter=self._enter, leave=self._leave)
        self.cache = SqliteCacheIndex(
            self._writer,
            self._log_reader,
            max_entries=cache_max_entries,
            max_bytes=cache_max_bytes,
            enter=self._enter,
            leave=self._leave,
        )
        self._users = 0
        self._changing_users = asyncio.Lock()
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def _enter(self) -> None:
        async with self._changing_users:
            if self._users == 0:
                await self._open()
            self._users += 1

    async def _leave(self) -> None:
        async with self._changing_users:
            self._users -= 1
            if self._users == 0:
                await self._closing.aclose()

    async def _open(self) -> None:
        async with AsyncExitStack() as stack:
            if self._exclusive:
                lock = ServingLock(self._path)
                await asyncio.to_thread(lock.acquire)
                stack.callback(lock.release)
            await asyncio.to_thread(prepare, self._path, exclusive=self._exclusive)
            await asyncio.to_thread(self._checkpointer.start)
            stack.push_async_callback(asyncio.to_thread, self._checkpointer.close)
            for reader in (self._log_reader, self._record_reader, self._usage_reader):
                stack.push_async_callback(reader.aclose)
                await reader.open()
            stack.push_async_callback(self._writer.aclose, wait_s=self._close_wait_s)
            await self._writer.open()
            self._closing = stack.pop_all()
