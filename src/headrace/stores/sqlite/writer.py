"""The writer: one thread that turns what was handed over into transactions.

Three rules:

1. Whatever waits when a transaction begins goes into it, in the order it was handed over.
2. The event loop hears of a transaction once, with one wake-up, however many jobs it had.
3. A job ends in exactly one way: its future has its result, or fails with ``StoreError`` and nothing of it was kept.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any, Protocol, TypeVar

from headrace.errors import StoreError
from headrace.stores.sqlite.faults import BAD_DATA, store_error
from headrace.stores.sqlite.schema import PAGE_BYTES

MAX_BACKLOG_BYTES = 64 * 1024 * 1024
"""How much may wait for the writer; beyond it a job fails at once."""
JOB_BYTES = 1024
"""What a job counts beside its text."""
TRANSACTION_BYTES = 4 * PAGE_BYTES
"""What a transaction writes beside its jobs' text: pages that it only touches. An estimate."""
CLOSE_WAIT_S = 10.0
"""How long closing waits for a stalled writer before what is left fails."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class WriteState(Protocol):
    """What the tables' owner keeps in memory beside the tables; called on the writer's thread."""

    @property
    def has_chore(self) -> bool:
        """True while there is clean-up to do between transactions."""

    def begin(self, connection: sqlite3.Connection) -> None:
        """A transaction has begun."""

    def committed(self) -> None:
        """It is durable."""

    def rolled_back(self) -> None:
        """Nothing of it was kept."""

    def chore(self, connection: sqlite3.Connection) -> int:
        """Do a bounded piece of clean-up, inside a transaction of its own, and return how many bytes it wrote, about."""


class Lane:
    """Counts the jobs of one kind that are handed over and not yet durable or failed."""

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending = 0


class _Job:
    __slots__ = ("apply", "future", "lane", "weight")

    def __init__(
        self, apply: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any], lane: Lane, weight: int
    ) -> None:
        self.apply = apply
        self.future = future
        self.lane = lane
        self.weight = weight


_Outcome = tuple[_Job, Any, StoreError | None]


class _ConnectionLost(Exception):
    """A transaction could not even be rolled back: only a new connection helps."""


class Writer:
    """Owns the writing connection and its thread.

    All public methods run on the event loop's thread. The thread is started again by the next job after it died.

    Args:
        connect: Makes the connection; called on the thread.
        state: Told of the course of each transaction.
        on_written: Told how many bytes a transaction wrote, about.
        before_commit: Fault injection: called on the thread before each commit of jobs. It may block (a store that stalls),
            raise ``sqlite3.OperationalError`` (a disk that fails) or anything else (a writer that dies).
        max_backlog_bytes: How much may wait, in bytes.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        state: WriteState,
        *,
        on_written: Callable[[int], None],
        before_commit: Callable[[], None] | None = None,
        max_backlog_bytes: int = MAX_BACKLOG_BYTES,
    ) -> None:
        self._connect = connect
        self._state = state
        self._on_written = on_written
        self._fault = before_commit
        self._before_commit: Callable[[], None] | None = None
        self._max_backlog_bytes = max_backlog_bytes
        self._queue: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._gathered: list[_Job] = []
        self._unsettled: dict[_Job, None] = {}
        self._unsettled_bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_open = False
        self._thread: threading.Thread | None = None
        self._ended = asyncio.Event()
        self._calls = Lane()

    async def open(self) -> None:
        """Connect, go on with clean-up that the last process left, and accept jobs from the running loop.

        Raises:
            StoreError: The file cannot be written.
        """
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        await self.submit(lambda _connection: None)
        self._before_commit = self._fault

    def submit(
        self, apply: Callable[[sqlite3.Connection], _T], *, lane: Lane | None = None, weight: int = 0
    ) -> asyncio.Future[_T]:
        """Hand a job over and return at once. Cancelling the future does not take the job back.

        Jobs of one round of the event loop share a transaction, so a log and its record are kept together or not at all.

        Args:
            apply: Makes the changes; called on the writer's thread inside a transaction, twice if the first is undone.
            lane: Counts this job while it waits.
            weight: How many bytes of text it carries.
        """
        loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        weight += JOB_BYTES
        if not self._is_open:
            future.set_exception(StoreError("the store is closed"))
        elif self._unsettled_bytes + weight > self._max_backlog_bytes:
            future.set_exception(StoreError(f"the store is behind by {len(self._unsettled)} batches"))
        else:
            job = _Job(apply, future, lane or self._calls, weight)
            job.lane.pending += 1
            self._unsettled[job] = None
            self._unsettled_bytes += weight
            self._gathered.append(job)
            if len(self._gathered) == 1:
                loop.call_soon(self._hand_over)
        return future

    async def aclose(self, *, wait_s: float = CLOSE_WAIT_S) -> None:
        """Commit what was handed over and end the thread; fail what a stalled store has not taken by then."""
        self._is_open = False
        self._hand_over()
        try:
            if self._thread is not None:
                self._queue.put(None)
                async with asyncio.timeout(wait_s):
                    await self._ended.wait()
        except TimeoutError:
            _log.error("the store's writer is stalled; %d batches are lost", len(self._unsettled))
        finally:
            self._settle([(job, None, StoreError("the store was closed")) for job in self._unsettled])

    # On the event loop

    def _hand_over(self) -> None:
        if not self._gathered:
            return
        self._queue.put(self._gathered)
        self._gathered = []
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="headrace-writer", daemon=True)
        self._thread.start()

    def _settle(self, outcomes: list[_Outcome]) -> None:
        for job, result, error in outcomes:
            if job not in self._unsettled:
                continue  # closing gave it up
            del self._unsettled[job]
            self._unsettled_bytes -= job.weight
            job.lane.pending -= 1
            if job.future.done():
                continue  # its caller was cancelled
            if error is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(error)

    def _thread_ended(self, outcomes: list[_Outcome]) -> None:
        self._thread = None
        self._settle(outcomes)
        if self._unsettled:
            self._start()  # what waits is tried anew, also when closing
        elif not self._is_open:
            self._ended.set()

    # On the writer's thread

    def _run(self) -> None:
        jobs: list[_Job] = []
        try:
            with closing(self._connect()) as connection:
                self._work(connection, jobs)
        except BaseException as error:  # noqa: BLE001 (thread boundary: whoever waits must hear of it, whatever it was)
            _log.exception("the store's writer died")
            if not jobs:  # it could not even connect: nothing that waits has a better chance now
                self._take(jobs, wait=False)
            self._tell(self._thread_ended, [(job, None, store_error(error)) for job in jobs])
        else:
            self._tell(self._thread_ended, [])

    def _work(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        """Run transactions until told to end. ``jobs`` always holds those in flight."""
        is_closing = has_chore = False
        while has_chore or not is_closing:
            is_closing |= self._take(jobs, wait=not has_chore)
            if jobs:
                self._commit(connection, jobs)
                jobs.clear()
            has_chore = self._do_chore(connection)

    def _take(self, jobs: list[_Job], *, wait: bool) -> bool:
        """Fill ``jobs`` with all that wait, and return whether the order to end was among them."""
        try:
            while (gathered := self._queue.get(block=wait)) is not None:
                jobs += gathered
                wait = False
        except queue.Empty:
            return False
        return True

    def _commit(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        """Commit the jobs together, or each alone if one of them has bad data: it must not take others with it."""
        try:
            outcomes = self._in_transaction(connection, lambda: self._apply(connection, jobs))
        except BAD_DATA as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._commit(connection, [job])
                return
            outcomes = [(jobs[0], None, store_error(error))]
        except sqlite3.Error as error:
            outcomes = [(job, None, store_error(error)) for job in jobs]
        else:
            self._on_written(TRANSACTION_BYTES + sum([job.weight for job in jobs]))
        self._tell(self._settle, outcomes)

    def _apply(self, connection: sqlite3.Connection, jobs: list[_Job]) -> list[_Outcome]:
        outcomes: list[_Outcome] = [(job, job.apply(connection), None) for job in jobs]
        if self._before_commit is not None:
            self._before_commit()
        return outcomes

    def _do_chore(self, connection: sqlite3.Connection) -> bool:
        """Do a piece of clean-up, and return whether to go on with it. After a failure it waits for the next job."""
        if not self._state.has_chore:
            return False
        try:
            size = self._in_transaction(connection, lambda: self._state.chore(connection))
        except sqlite3.Error as error:
            _log.warning("clean-up of the store failed: %s", error)
            return False
        self._on_written(TRANSACTION_BYTES + size)
        return self._state.has_chore

    def _in_transaction(self, connection: sqlite3.Connection, action: Callable[[], _T]) -> _T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._state.begin(connection)
            result = action()
            connection.execute("COMMIT")
        except BaseException:
            self._state.rolled_back()
            _roll_back(connection)
            raise
        self._state.committed()
        return result

    def _tell(self, callback: Callable[[list[_Outcome]], None], outcomes: list[_Outcome]) -> None:
        assert self._loop is not None  # noqa: S101 (open comes before the thread)
        try:
            self._loop.call_soon_threadsafe(callback, outcomes)
        except RuntimeError:
            _log.debug("the event loop was closed before the store")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # SQLite rolls some failures back by itself
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _ConnectionLost from error
