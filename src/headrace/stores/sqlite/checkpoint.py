"""Checkpoints: what the write-ahead log holds is copied into the database, off the commit path.

A checkpoint waits for the disk (fsync) twice. On the writer's connection it would happen inside some commit; here it
has its own thread and connection.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from headrace.stores.sqlite.schema import PAGE_BYTES, connect_checkpointer

CHECKPOINT_AFTER_BYTES = 4 * 1024 * 1024
TRUNCATE_ABOVE_BYTES = 64 * 1024 * 1024
"""A write-ahead log of this size is emptied even if commits must wait for it for a moment."""
SCRUB_PAUSE_S = 1.0
"""Erased text leaves the write-ahead log within about this time; erasures in between share one emptying."""
TRUNCATE_WAIT_S = 0.02
"""An emptying checkpoint holds the write lock while it waits for readers, so it soon gives up and tries again later."""

_log = logging.getLogger(__name__)


class Checkpointer:
    """A thread that checkpoints when the write-ahead log has grown, and empties it when text was erased."""

    def __init__(
        self, path: Path, *, after_bytes: int = CHECKPOINT_AFTER_BYTES, truncate_above_bytes: int = TRUNCATE_ABOVE_BYTES
    ) -> None:
        self._path = path
        self._after_bytes = after_bytes
        self._truncate_above_bytes = truncate_above_bytes
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._scrub_wanted = False
        # The writer alone adds to the first, this thread alone sets the second: no lock needed.
        self._written_bytes = 0
        self._checkpointed_bytes = 0

    def start(self) -> None:
        """Connect and start the thread."""
        connection = connect_checkpointer(self._path, wait_s=TRUNCATE_WAIT_S)
        self._thread = threading.Thread(target=self._run, args=(connection,), name="headrace-checkpoint", daemon=True)
        self._thread.start()

    def written(self, size: int) -> None:
        """Note that about ``size`` more bytes went into the write-ahead log. Called by the writer, never waits."""
        self._written_bytes += size
        if self._written_bytes - self._checkpointed_bytes >= self._after_bytes:
            self._wake.set()

    def scrub(self) -> None:
        """Have the write-ahead log emptied soon: it holds text that was erased. Never waits."""
        self._scrub_wanted = True
        self._wake.set()

    def close(self) -> None:
        """Empty the write-ahead log and end the thread. Blocks for as long as the disk takes."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, connection: sqlite3.Connection) -> None:
        with closing(connection):
            # SQLite opens the write-ahead log when it is first needed. Now, so that a process that serves opens no more files.
            self._guarded(lambda: _checkpoint(connection, "PASSIVE"))
            while not self._stop.is_set():
                self._wake.wait()
                self._wake.clear()
                if self._scrub_wanted:
                    self._stop.wait(SCRUB_PAUSE_S)
                self._guarded(lambda: self._turn(connection))
            self._guarded(lambda: _checkpoint(connection, "TRUNCATE"))

    def _turn(self, connection: sqlite3.Connection) -> None:
        is_scrub, self._scrub_wanted = self._scrub_wanted, False
        self._checkpointed_bytes = self._written_bytes
        _, pages = _checkpoint(connection, "PASSIVE")
        if is_scrub or pages * PAGE_BYTES > self._truncate_above_bytes:
            # Emptying holds the write lock, and what was written meanwhile must be copied first: copy most of it now.
            _checkpoint(connection, "PASSIVE")
            is_busy, _ = _checkpoint(connection, "TRUNCATE")
            if is_busy and is_scrub:
                self.scrub()

    def _guarded(self, action: Callable[[], object]) -> None:
        """Run ``action``; a disk that fails now may work at the next turn, and commits report it on their own."""
        try:
            action()
        except sqlite3.Error as error:
            _log.warning("checkpoint failed: %s", error)


def _checkpoint(connection: sqlite3.Connection, mode: str) -> tuple[bool, int]:
    """Return whether others were in the way, and how many pages the write-ahead log holds."""
    is_busy, pages, _ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return bool(is_busy), int(pages)
