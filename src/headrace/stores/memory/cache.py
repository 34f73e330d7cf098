"""The index of the cache in memory."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from typing import Self

from headrace.stores.limits import CACHE_MAX_BYTES, CACHE_MAX_ENTRIES
from headrace.stores.memory.done import done
from headrace.stream.store import CacheEntry
from headrace.types.ids import StreamId


class MemoryCacheIndex:
    """Keeps cache entries in memory; the oldest give way to new ones at once.

    Args:
        max_entries: How many are kept.
        max_bytes: How large their logs may be together, in bytes; the entry of a larger log is left out.
    """

    def __init__(self, *, max_entries: int = CACHE_MAX_ENTRIES, max_bytes: int = CACHE_MAX_BYTES) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: dict[str, CacheEntry] = {}
        self._ages: list[tuple[float, str]] = []
        """When each was stored, and its key; oldest first, the key deciding between equal times."""
        self._bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def put(self, entry: CacheEntry) -> asyncio.Future[None]:
        """Take the entry over; the future is done already."""
        if entry.bytes <= self._max_bytes:
            replaced = self._entries.get(entry.key)
            if replaced is not None:
                self._drop(replaced)
            self._entries[entry.key] = entry
            insort(self._ages, (entry.stored_at, entry.key))
            self._bytes += entry.bytes
            self._shrink(float("-inf"), self._max_entries, self._max_bytes)
        return done()

    async def find(self, key: str) -> CacheEntry | None:
        return self._entries.get(key)

    async def forget(self, log_id: StreamId) -> None:
        for entry in [entry for entry in self._entries.values() if entry.log_id == log_id]:
            self._drop(entry)

    async def trim(self, *, stored_before: float, max_entries: int, max_bytes: int) -> int:
        return self._shrink(stored_before, max_entries, max_bytes)

    async def count(self) -> tuple[int, int]:
        return len(self._entries), self._bytes

    def _shrink(self, stored_before: float, max_entries: int, max_bytes: int) -> int:
        dropped = 0
        for stored_at, key in self._ages:
            if stored_at >= stored_before and len(self._entries) <= max_entries and self._bytes <= max_bytes:
                break
            self._bytes -= self._entries.pop(key).bytes
            dropped += 1
        del self._ages[:dropped]
        return dropped

    def _drop(self, entry: CacheEntry) -> None:
        del self._entries[entry.key]
        del self._ages[bisect_left(self._ages, (entry.stored_at, entry.key))]
        self._bytes -= entry.bytes
