"""The index of the cache in a SQLite file.

How many entries there are, and the bytes of their logs, are kept up to date by triggers (``tally``), so that looking at
the bounds costs the same however many there are.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial

from headrace.stores.sqlite.part import DatabasePart
from headrace.stores.sqlite.reader import Reader
from headrace.stores.sqlite.writer import Writer
from headrace.stream.store import CacheEntry
from headrace.types.ids import StreamId

TRIM_ENTRIES = 500
"""How many entries one statement drops at most."""

SLACK = 1.1
"""How far beyond its bounds the index may grow between two trims: a put that passes this drops the oldest entries, some
at once, so that not each put has to."""

_COLUMNS = ", ".join(CacheEntry.__struct_fields__)
_PUT = (
    f"INSERT INTO cache_entry ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"  # noqa: S608
    " owner = excluded.owner, log_id = excluded.log_id, bytes = excluded.bytes, stored_at = excluded.stored_at"
)
# The oldest entries, as long as they are too old, too many, or too large together. One statement: see ``rows``.
_DROP_OLDEST = """
DELETE FROM cache_entry WHERE key IN (
    SELECT key FROM (
        SELECT key, stored_at, row_number() OVER ages AS place, sum(bytes) OVER ages - bytes AS freed
        FROM (SELECT key, stored_at, bytes FROM cache_entry ORDER BY stored_at, key LIMIT :most)
        WINDOW ages AS (ORDER BY stored_at, key ROWS UNBOUNDED PRECEDING)
    )
    WHERE stored_at < :stored_before OR place <= :entries OR freed < :bytes
)
"""


class SqliteCacheIndex(DatabasePart):
    """The index of the cache in a ``SqliteDatabase``; entering it enters the database.

    Args:
        max_entries: How many entries ``put`` lets it have, times ``SLACK``.
        max_bytes: How large their logs may be together, in bytes, times ``SLACK``; the entry of a log beyond
            ``max_bytes`` is left out.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        max_entries: int,
        max_bytes: int,
        enter: Callable[[], Awaitable[object]],
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(enter=enter, leave=leave)
        self._writer = writer
        self._reader = reader
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    def put(self, entry: CacheEntry) -> asyncio.Future[None]:
        return self._writer.submit(partial(_put, entry=entry, max_entries=self._max_entries, max_bytes=self._max_bytes))

    async def find(self, key: str) -> CacheEntry | None:
        return await self._reader.run(partial(_find, key=key))

    async def forget(self, log_id: StreamId) -> None:
        sql = "DELETE FROM cache_entry WHERE log_id = ?"
        await self._writer.submit(lambda connection: connection.execute(sql, (log_id,)).rowcount)

    async def trim(self, *, stored_before: float, max_entries: int, max_bytes: int) -> int:
        """Drop entries in several short transactions, so that commits in between need not wait."""
        total = 0
        while dropped := await self._writer.submit(
            partial(_drop, stored_before=stored_before, max_entries=max_entries, max_bytes=max_bytes)
        ):
            total += dropped
        return total

    async def count(self) -> tuple[int, int]:
        return await self._reader.run(_count)


def _put(connection: sqlite3.Connection, entry: CacheEntry, max_entries: int, max_bytes: int) -> None:
    if entry.bytes > max_bytes:
        return
    connection.execute(_PUT, (entry.key, entry.owner, entry.log_id, entry.bytes, entry.stored_at))
    while _is_beyond(_count(connection), max_entries * SLACK, max_bytes * SLACK):
        _drop(connection, float("-inf"), max_entries, max_bytes)


def _drop(connection: sqlite3.Connection, stored_before: float, max_entries: int, max_bytes: int) -> int:
    """Drop some of the oldest entries that are too old or too much; 0 when there is none (left)."""
    entries, size = _count(connection)
    excess = {"entries": entries - max_entries, "bytes": size - max_bytes}
    return connection.execute(_DROP_OLDEST, {"most": TRIM_ENTRIES, "stored_before": stored_before, **excess}).rowcount


def _is_beyond(count: tuple[int, int], max_entries: float, max_bytes: float) -> bool:
    entries, size = count
    return entries > max_entries or size > max_bytes


def _count(connection: sqlite3.Connection) -> tuple[int, int]:
    entries, size = connection.execute("SELECT entries, bytes FROM tally WHERE name = 'cache_entry'").fetchone()
    return entries, size


def _find(connection: sqlite3.Connection, key: str) -> CacheEntry | None:
    sql = f"SELECT {_COLUMNS} FROM cache_entry WHERE key = ?"  # noqa: S608 (constants)
    row = connection.execute(sql, (key,)).fetchone()
    return None if row is None else CacheEntry(*row)
