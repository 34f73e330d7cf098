"""A store URL becomes a pair of stores."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from headrace.errors import SettingsError, StoreError
from headrace.stores.memory import MemoryRecords, MemoryStore
from headrace.stores.sqlite import SqliteDatabase
from headrace.stream.store import Records, Store

MEMORY_MAX_BYTES = 256 * 1024 * 1024
MEMORY_MAX_RECORDS = 10_000

_SQLITE = "sqlite:///"
_USER_INFO = re.compile(r"//[^/@]*@")


def open_stores(
    url: str,
    *,
    exclusive: bool = True,
    memory_max_bytes: int = MEMORY_MAX_BYTES,
    memory_max_records: int = MEMORY_MAX_RECORDS,
) -> AbstractAsyncContextManager[tuple[Store, Records]]:
    """Return a context manager that opens what ``url`` names and gives its log store and its record store.

    Args:
        url: ``memory:``, or SQLAlchemy's form for a SQLite file: three slashes before a path relative to the working
            directory (``sqlite:///headrace.db``), four for an absolute one (``sqlite:////var/lib/headrace.db``).
        exclusive: Whether this process serves from the file; False for commands beside a serving process.
        memory_max_bytes: Bound of a ``memory:`` log store, in bytes.
        memory_max_records: Bound of a ``memory:`` record store.

    A missing folder of a file that is served from is made.

    Raises:
        SettingsError: At once, when the URL is none of these.
        StoreError: On entering, when the file cannot be opened.
    """
    if url == "memory:":
        return _memory(memory_max_bytes, memory_max_records)
    path = url.removeprefix(_SQLITE)
    if path == url or not path.strip("/") or path.endswith("/") or "?" in path or path == ":memory:":
        shown = _USER_INFO.sub("//***@", url)
        raise SettingsError(
            f"store: {shown!r} is not a store URL; use 'memory:' or 'sqlite:///relative/path.db'"
            " (four slashes for an absolute path: 'sqlite:////absolute/path.db')"
        )
    return _sqlite(Path(path), exclusive=exclusive)


@asynccontextmanager
async def _memory(max_bytes: int, max_records: int) -> AsyncGenerator[tuple[Store, Records]]:
    async with MemoryStore(max_bytes=max_bytes) as store, MemoryRecords(max_records=max_records) as records:
        yield store, records


@asynccontextmanager
async def _sqlite(path: Path, *, exclusive: bool) -> AsyncGenerator[tuple[Store, Records]]:
    if exclusive:
        _make_folder(path)
    async with SqliteDatabase(path, exclusive=exclusive) as database:
        yield database.store, database.records


def _make_folder(path: Path) -> None:
    """Make the folders that a serving process's file lies in, for its own user only, where they are missing.

    Raises:
        StoreError: They cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder of {path}: {error.strerror}") from error
