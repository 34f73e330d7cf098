"""A thread that reads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from headrace.errors import StoreError
from headrace.stores.sqlite.faults import store_error
from headrace.stores.sqlite.schema import connect_reader

_T = TypeVar("_T")


class Reader:
    """Runs queries on a thread and connection of its own, so that no query waits for the writer or the event loop."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Start the thread and connect.

        Raises:
            StoreError: The file cannot be opened.
        """
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._connection = await asyncio.get_running_loop().run_in_executor(self._executor, connect_reader, self._path)

    async def run(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what ``query`` returns. Cancelling the call leaves the query running to its end, unheard.

        Raises:
            StoreError: The database failed, or is closed.
        """
        executor, connection = self._executor, self._connection
        if executor is None or connection is None:
            raise StoreError("the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, query, connection)
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise store_error(error) from error

    async def aclose(self) -> None:
        """Wait for running queries and disconnect. Idempotent."""
        executor, connection = self._executor, self._connection
        self._executor = self._connection = None
        if executor is not None:
            if connection is not None:
                await asyncio.get_running_loop().run_in_executor(executor, connection.close)
            executor.shutdown(wait=False)
