"""The group commit: takes what the pumps have, hands it to the store, and publishes it once it is durable.

A store that stalls or fails never stalls a stream. A commit that takes longer than ``commit_wait_s``, or fails, makes
its streams *degraded*: what was taken is published at once and they go on without the store. While the store is
unhealthy, new streams are degraded from the start. Ends and records of degraded streams are kept here, bounded, until
the store takes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from headrace.pump.pump import Pump
from headrace.stream.log import Taken
from headrace.stream.store import Append, Batch, Opening, Records, Seal, Settlement, Store
from headrace.types.ids import StreamId
from headrace.types.record import Record

logger = logging.getLogger(__name__)

MAX_LATE = 10_000
"""Ends of degraded streams that wait for the store; beyond it the oldest are lost, and a log line says so."""

BEHIND_S = 0.05
"""A commit older than this, and engines are read no further until it is done: their data wait in the kernel."""

CONFIRM_S = 0.01
"""A commit that looks late gets this long more, so that a busy event loop has read the writer's answer first."""


class CommitObserver(Protocol):
    """Who counts commits."""

    def committed(self, duration_s: float) -> None: ...

    def degraded(self) -> None: ...


class Job:
    """One group commit in flight."""

    __slots__ = ("is_published", "submitted_s", "works")

    def __init__(self, submitted_s: float) -> None:
        self.works: list[tuple[Pump, Taken]] = []
        self.submitted_s = submitted_s
        self.is_published = False


class Late(msgspec.Struct, frozen=True, gc=False):
    """The end of a degraded stream that the store has not taken yet."""

    opening: Opening
    seal: Seal
    record: Record
    joined: tuple[Record, ...] = ()
    """Of the requests that shared it."""


class Committer:
    """Group commits for all pumps of a node.

    Args:
        store: Where logs go.
        records: Where records go.
        commit_wait_s: How long a commit may take before its streams are degraded.
        observer: Told of durations and degraded streams.
        clock: Monotonic seconds; the loop's own clock stands still during one round.
        wall_time: Unix seconds; what is taken keeps the time. Read once a commit.
        loop: The event loop.
    """

    def __init__(
        self,
        store: Store,
        records: Records,
        *,
        commit_wait_s: float,
        observer: CommitObserver,
        clock: Callable[[], float],
        wall_time: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._store = store
        self._records = records
        self._commit_wait_s = commit_wait_s
        self._observer = observer
        self._clock = clock
        self._wall_time = wall_time
        self._loop = loop
        self._in_flight: deque[Job] = deque()
        self._late: dict[StreamId, Late] = {}
        self.is_healthy = True
        """Whether the store takes commits in time, as far as is known."""

    @property
    def is_behind(self) -> bool:
        """Whether the store is so late that more should not be read for it: what engines send waits in the kernel.

        A store that stalls for ``commit_wait_s`` is no longer waited for.
        """
        if not self._in_flight or not self.is_healthy:
            return False
        return self._clock() - self._in_flight[0].submitted_s > BEHIND_S

    def commit(self, pumps: Iterable[Pump]) -> None:
        """Take what these pumps have and publish it after the commit; at once for degraded streams."""
        job = Job(self._clock())
        batch = Batch([], [], [])
        rows: list[Record] = []
        taken_at = self._wall_time()
        for pump in pumps:
            taken = pump.log.take(taken_at)
            if not self.is_healthy and not pump.log.is_degraded:
                taken = self._degrade(pump, taken)
            if pump.log.is_degraded:
                self._publish_without_store(pump, taken)
            else:
                _add(batch, rows, pump, taken)
                job.works.append((pump, taken))
        if not job.works:
            return
        self._in_flight.append(job)
        if rows:
            self._records.save(rows).add_done_callback(self._saved)
        self._store.commit(batch).add_done_callback(partial(self._done, job))

    async def settle(self) -> None:
        """Wait until nothing is in flight any more, or the store has stalled; hand over what it missed."""
        while self._in_flight and self.is_healthy:
            await asyncio.sleep(self._commit_wait_s / 10)
            self.check()
        self.retry()

    def check(self) -> None:
        """Look for a commit that takes too long; call it every tick."""
        if not self._in_flight or not (self.is_healthy or any(not job.is_published for job in self._in_flight)):
            return
        oldest = self._in_flight[0]
        if self._clock() - oldest.submitted_s > self._commit_wait_s:
            self._loop.call_later(CONFIRM_S, self._give_up, oldest)

    def retry(self) -> None:
        """Offer the store what it missed; call it about once a second, while it fails only after some write worked."""
        if (self.is_healthy and not self._late) or self._in_flight:
            return
        lates = list(self._late.values())
        batch = Batch([late.opening for late in lates], [], [late.seal for late in lates])
        job = Job(self._clock())
        job.is_published = True
        self._in_flight.append(job)
        if lates:
            rows = [record for late in lates for record in (late.record, *late.joined)]
            self._records.save(rows).add_done_callback(self._saved)
        self._store.commit(batch).add_done_callback(partial(self._retried, job, lates))

    def correct(self, settlements: Sequence[Settlement]) -> None:
        """Save the last word on bills, also on those of degraded streams that the store does not have yet."""
        waiting = {late.record.id: late for late in self._late.values()}
        for settlement in settlements:
            late = waiting.get(settlement.request_id)
            if late is not None:
                record = msgspec.structs.replace(
                    late.record,
                    delivered_tokens=settlement.delivered_tokens,
                    generated_tokens=settlement.generated_tokens,
                    bill=settlement.bill,
                )
                self._late[record.stream_id] = msgspec.structs.replace(late, record=record)
        self._records.settle(settlements).add_done_callback(self._saved)

    def forget(self, stream_id: StreamId) -> None:
        """Save the end of this degraded stream no more: it was erased."""
        self._late.pop(stream_id, None)

    def late(self, stream_id: StreamId) -> Late | None:
        """Return the end of a degraded stream as long as the store does not have it."""
        return self._late.get(stream_id)

    # --- what becomes of a commit

    def _done(self, job: Job, future: asyncio.Future[None]) -> None:
        self._in_flight.remove(job)
        failed = future.cancelled() or future.exception() is not None
        if failed:
            self._fail(future)
        elif not self._in_flight:
            self._mend()
        self._observer.committed(self._clock() - job.submitted_s)
        if not job.is_published:
            self._publish(job, degrades=failed)

    def _retried(self, job: Job, lates: list[Late], future: asyncio.Future[None]) -> None:
        self._in_flight.remove(job)
        if future.cancelled() or future.exception() is not None:
            self._fail(future)
            return
        for late in lates:
            self._late.pop(late.record.stream_id, None)
        self._mend()

    def _saved(self, future: asyncio.Future[None]) -> None:
        if future.cancelled() or future.exception() is not None:
            self._fail(future)

    def _mend(self) -> None:
        if not self.is_healthy:
            logger.warning("the store works again")
        self.is_healthy = True

    def _fail(self, future: asyncio.Future[None]) -> None:
        if self.is_healthy:
            reason = "cancelled" if future.cancelled() else future.exception()
            logger.error("the store failed, streams go on as degraded: %s", reason)
        self.is_healthy = False

    def _give_up(self, job: Job) -> None:
        if job not in self._in_flight:
            return
        if self.is_healthy:
            logger.error("no commit within commit_wait = %g s, streams go on as degraded", self._commit_wait_s)
        self.is_healthy = False
        for stuck in tuple(self._in_flight):
            if not stuck.is_published:
                self._publish(stuck, degrades=True)

    def _publish(self, job: Job, *, degrades: bool) -> None:
        job.is_published = True
        for pump, taken in job.works:
            log = pump.log
            if degrades and not log.is_degraded:
                taken = self._degrade(pump, taken)  # noqa: PLW2901 (the end now says so)
            if log.is_degraded:
                self._publish_without_store(pump, taken)
            else:
                log.trim()
                log.publish(taken)

    def _degrade(self, pump: Pump, taken: Taken) -> Taken:
        self._observer.degraded()
        return pump.degrade(taken)

    def _publish_without_store(self, pump: Pump, taken: Taken) -> None:
        log = pump.log
        if taken.end is not None:
            if len(self._late) >= MAX_LATE:
                oldest = next(iter(self._late))
                del self._late[oldest]
                logger.error("too many ends wait for the store: that of %s is lost", oldest)
            seal = Seal(log.lease, taken.end, log.appended, pump.ended_at or 0.0)
            joined = tuple(pump.record_of(party) for party in pump.parties.joined)
            self._late[log.stream_id] = Late(pump.opening(), seal, pump.record(), joined)
        log.trim()
        log.publish(taken)


def _add(batch: Batch, rows: list[Record], pump: Pump, taken: Taken) -> None:
    """Add what one durable pump has to a batch."""
    log = pump.log
    if not pump.is_opened:
        pump.is_opened = True
        batch.openings.append(pump.opening())
    if taken.segment is not None:
        batch.appends.append(Append(log.lease, taken.segment))
    if taken.end is not None:
        batch.seals.append(Seal(log.lease, taken.end, log.appended, pump.ended_at or 0.0))
    record = pump.take_record()
    if record is not None:
        rows.append(record)
    if pump.parties.stale:
        rows.extend(pump.take_joined_records())
