"""A store URL becomes stores."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from headrace.errors import SettingsError, StoreError
from headrace.stores.limits import CACHE_MAX_BYTES, CACHE_MAX_ENTRIES
from headrace.stores.memory import MemoryCacheIndex, MemoryClaims, MemoryKeys, MemoryRecords, MemoryStore
from headrace.stores.sqlite import SqliteDatabase, make_ready
from headrace.stream.store import CacheIndex, Claims, Keys, Records, Store

MEMORY_MAX_BYTES = 256 * 1024 * 1024
MEMORY_MAX_RECORDS = 10_000

_SQLITE = "sqlite:///"
_USER_INFO = re.compile(r"//[^/@]*@")


class Stores(NamedTuple):
    """What a store URL names, opened."""

    store: Store
    records: Records
    keys: Keys
    claims: Claims
    cache: CacheIndex


def open_stores(
    url: str,
    *,
    exclusive: bool = True,
    memory_max_bytes: int = MEMORY_MAX_BYTES,
    memory_max_records: int = MEMORY_MAX_RECORDS,
    cache_max_entries: int = CACHE_MAX_ENTRIES,
    cache_max_bytes: int = CACHE_MAX_BYTES,
) -> AbstractAsyncContextManager[Stores]:
    """Return a context manager that opens what ``url`` names and gives its stores.

    Args:
        url: ``memory:``, or SQLAlchemy's form for a SQLite file: three slashes before a path relative to the working
            directory (``sqlite:///headrace.db``), four for an absolute one (``sqlite:////var/lib/headrace.db``).
        exclusive: Whether this process serves from the file; False for commands beside a serving process.
        memory_max_bytes: Bound of a ``memory:`` log store, in bytes.
        memory_max_records: Bound of a ``memory:`` record store.
        cache_max_entries: How many entries the index of the cache keeps; in a file a tenth more, between two trims.
        cache_max_bytes: How large the logs that they refer to may be together, in bytes; likewise.

    A missing folder of a file that is served from is made.

    Raises:
        SettingsError: At once, when the URL is none of these.
        StoreError: On entering, when the file cannot be opened.
    """
    path = _path(url)
    if path is None:
        cache = MemoryCacheIndex(max_entries=cache_max_entries, max_bytes=cache_max_bytes)
        return _memory(MemoryStore(max_bytes=memory_max_bytes), MemoryRecords(max_records=memory_max_records), cache)
    database = SqliteDatabase(
        path, exclusive=exclusive, cache_max_entries=cache_max_entries, cache_max_bytes=cache_max_bytes
    )
    return _sqlite(database, makes_folder_of=path if exclusive else None)


def open_keys(url: str) -> AbstractAsyncContextManager[Keys]:
    """Return a context manager that opens the keys in what ``url`` names, for a command, whether or not a relay serves it.

    While none does, a missing file (with its folder) is made, and one of an older version brought up to date.

    Raises:
        SettingsError: At once, when the URL is no store's, or names the memory of another process.
        StoreError: On entering, when the file cannot be opened.
    """
    path = _path(url)
    if path is None:
        raise SettingsError(
            "store: 'memory:' is the memory of the relay's own process, where no command can look; use the store that"
            " the relay serves from, 'sqlite:///path.db', or ask the relay itself: POST /v1/keys"
        )
    return _sqlite_keys(path)


def _path(url: str) -> Path | None:
    """Return the path of the file that a URL names, None for memory.

    Raises:
        SettingsError: It is no store URL.
    """
    if url == "memory:":
        return None
    path = url.removeprefix(_SQLITE)
    if path == url or not path.strip("/") or path.endswith("/") or "?" in path or path == ":memory:":
        shown = _USER_INFO.sub("//***@", url)
        raise SettingsError(
            f"store: {shown!r} is not a store URL; use 'memory:' or 'sqlite:///relative/path.db'"
            " (four slashes for an absolute path: 'sqlite:////absolute/path.db')"
        )
    return Path(path)


@asynccontextmanager
async def _memory(store: MemoryStore, records: MemoryRecords, cache: MemoryCacheIndex) -> AsyncGenerator[Stores]:
    async with store, records, MemoryKeys() as keys, MemoryClaims() as claims, cache:
        yield Stores(store, records, keys, claims, cache)


@asynccontextmanager
async def _sqlite(database: SqliteDatabase, *, makes_folder_of: Path | None) -> AsyncGenerator[Stores]:
    if makes_folder_of is not None:
        _make_folder(makes_folder_of)
    async with database:
        yield Stores(database.store, database.records, database.keys, database.claims, database.cache)


@asynccontextmanager
async def _sqlite_keys(path: Path) -> AsyncGenerator[Keys]:
    _make_folder(path)
    await asyncio.to_thread(make_ready, path)
    async with SqliteDatabase(path, exclusive=False) as database:
        yield database.keys


def _make_folder(path: Path) -> None:
    """Make the folders that a file lies in, for its user only, where they are missing.

    Raises:
        StoreError: They cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder of {path}: {error.strerror}") from error
