"""The group commit: publish after it is durable; a store that stalls or fails never stalls a stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

import pytest
from tests.pump.fakes import Bench, ManualClock, text

from headrace.errors import StoreError
from headrace.pump.committer import Committer
from headrace.stream.store import Batch, Records, Store
from headrace.types.engine import EngineEnd
from headrace.types.ids import Offset
from headrace.types.outcome import Durability, State
from headrace.types.record import Record


class FakeStore:
    """Keeps every commit waiting until a test settles it."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.futures: list[asyncio.Future[None]] = []
        self.rows: list[Record] = []

    def commit(self, batch: Batch) -> asyncio.Future[None]:
        self.batches.append(batch)
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    def save(self, records: Sequence[Record]) -> asyncio.Future[None]:
        self.rows += records
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    async def settle(self, number: int, error: Exception | None = None) -> None:
        if error is None:
            self.futures[number].set_result(None)
        else:
            self.futures[number].set_exception(error)
        await asyncio.sleep(0)


class Observer:
    def __init__(self) -> None:
        self.durations: list[float] = []
        self.degraded_streams = 0

    def committed(self, duration_s: float) -> None:
        self.durations.append(duration_s)

    def degraded(self) -> None:
        self.degraded_streams += 1


class Rig:
    """A committer over a fake store and a manual clock."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.observer = Observer()
        self.clock = ManualClock()
        self.wall_reads = 0
        self.committer = Committer(
            cast("Store", self.store),
            cast("Records", self.store),
            commit_wait_s=0.1,
            observer=self.observer,
            clock=self.clock,
            wall_time=self.wall_time,
            loop=asyncio.get_running_loop(),
        )

    def wall_time(self) -> float:
        self.wall_reads += 1
        return 1.7e9 + self.clock()

    async def stall(self) -> None:
        """Let the commit in flight take too long."""
        self.clock.now_s += 0.2
        self.committer.check()
        await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


async def test_entries_are_published_only_when_they_are_durable() -> None:
    rig, bench = Rig(), Bench()
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    assert bench.log.published == 0
    await rig.store.settle(0)
    assert bench.log.published == 1
    assert len(rig.observer.durations) == 1


async def test_many_streams_are_one_batch_and_the_opening_is_sent_once() -> None:
    rig, benches = Rig(), [Bench() for _ in range(5)]
    for bench in benches:
        bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump for bench in benches])
    for bench in benches:
        bench.generation.bring(text("b"))
        bench.pump.tick(0)
    rig.committer.commit([bench.pump for bench in benches])
    assert [(len(batch.openings), len(batch.appends)) for batch in rig.store.batches] == [(5, 5), (0, 5)]


async def test_all_that_one_commit_takes_has_the_same_time_and_the_clock_is_read_once() -> None:
    rig, benches = Rig(), [Bench(stream_id=name) for name in "abc"]
    for bench in benches:
        bench.generation.bring(text("a"))
    rig.clock.now_s = 7.5
    rig.committer.commit([bench.pump for bench in benches])
    assert [append.segment.taken_at for append in rig.store.batches[0].appends] == [1.7e9 + 7.5] * 3
    assert rig.wall_reads == 1


async def test_what_a_degraded_stream_goes_on_with_has_its_time_too() -> None:
    rig, bench = Rig(), Bench()
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    await rig.store.settle(0, StoreError("full"))
    bench.generation.bring(text("b"))
    bench.pump.tick(0)
    rig.clock.now_s += 1
    rig.committer.commit([bench.pump])
    flushes = bench.log.flushes(after=Offset(-1), limit=9)
    assert [(flush.offset, flush.at) for flush in flushes] == [(0, 1.7e9 + 1000.0), (1, 1.7e9 + 1001.0)]


async def test_the_end_its_seal_and_its_record_are_in_one_batch() -> None:
    rig, bench = Rig(), Bench()
    bench.generation.bring(text("a", finish="stop"), end=EngineEnd())
    rig.committer.commit([bench.pump])
    (batch,) = rig.store.batches
    assert batch.seals[0].entries == 1
    assert rig.store.rows[-1].state is State.COMPLETED
    await rig.store.settle(0)
    assert bench.log.published_end is batch.seals[0].end


async def test_a_commit_that_takes_too_long_degrades_its_streams_and_they_go_on() -> None:
    rig, bench = Rig(), Bench()
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    await rig.stall()
    assert bench.log.published == 1
    assert bench.log.is_degraded
    assert rig.observer.degraded_streams == 1
    bench.generation.bring(text("b", finish="stop"), end=EngineEnd())
    bench.pump.tick(0)
    rig.committer.commit([bench.pump])
    assert bench.log.published == 2
    assert bench.log.published_end is not None
    assert bench.log.published_end.durability is Durability.DEGRADED
    assert len(rig.store.batches) == 1


async def test_a_store_is_behind_well_before_it_is_given_up() -> None:
    rig, bench = Rig(), Bench()
    assert not rig.committer.is_behind
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    assert not rig.committer.is_behind
    rig.clock.now_s += 0.06
    assert rig.committer.is_behind
    await rig.stall()
    assert not rig.committer.is_behind


async def test_a_commit_that_comes_late_after_all_publishes_nothing_twice() -> None:
    rig, bench = Rig(), Bench()
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    await rig.stall()
    await rig.store.settle(0)
    assert bench.log.published == 1
    assert rig.committer.is_healthy


async def test_a_busy_loop_that_has_not_read_the_answer_yet_degrades_nothing() -> None:
    rig, bench = Rig(), Bench()
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    rig.clock.now_s += 10
    rig.committer.check()
    rig.store.futures[0].set_result(None)
    await asyncio.sleep(0.02)
    assert not bench.log.is_degraded
    assert bench.log.published == 1


async def test_a_commit_that_fails_degrades_its_streams_and_new_ones() -> None:
    rig, old, new = Rig(), Bench(), Bench()
    old.generation.bring(text("a"))
    rig.committer.commit([old.pump])
    await rig.store.settle(0, StoreError("disk full"))
    assert old.log.is_degraded
    assert old.log.published == 1
    assert not rig.committer.is_healthy
    new.generation.bring(text("a"))
    rig.committer.commit([new.pump])
    assert new.log.is_degraded
    assert new.log.published == 1


async def test_the_store_gets_the_ends_it_missed_when_it_works_again() -> None:
    rig, bench = Rig(), Bench()
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    await rig.store.settle(0, StoreError("disk full"))
    bench.generation.bring(text("b", finish="stop"), end=EngineEnd())
    bench.pump.tick(0)
    rig.committer.commit([bench.pump])
    rig.committer.retry()
    await rig.store.settle(1, StoreError("still full"))
    assert not rig.committer.is_healthy
    rig.committer.retry()
    await rig.store.settle(2)
    assert rig.committer.is_healthy
    batch = rig.store.batches[2]
    assert [seal.entries for seal in batch.seals] == [2]
    assert len(batch.openings) == 1
    assert rig.store.rows[-1].durability is Durability.DEGRADED
    rig.committer.retry()
    assert len(rig.store.batches) == 3


async def test_an_idle_node_finds_out_that_its_store_works_again() -> None:
    rig, bench = Rig(), Bench()
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    await rig.store.settle(0, StoreError("disk full"))
    rig.committer.retry()
    await rig.store.settle(1)
    assert rig.committer.is_healthy


async def test_settle_waits_for_what_is_in_flight() -> None:
    rig, bench = Rig(), Bench()
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    waiting: asyncio.Task[Any] = asyncio.ensure_future(rig.committer.settle())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await rig.store.settle(0)
    await asyncio.wait_for(waiting, 1)


async def degraded_end(rig: Rig, bench: Bench) -> None:
    """Let a stream end while the store fails."""
    bench.generation.bring(text("a"))
    rig.committer.commit([bench.pump])
    await rig.store.settle(len(rig.store.futures) - 1, StoreError("disk full"))
    bench.generation.bring(text("b", finish="stop"), end=EngineEnd())
    bench.pump.tick(0)
    rig.committer.commit([bench.pump])


async def test_an_end_is_shown_from_here_until_the_store_has_it() -> None:
    rig, bench = Rig(), Bench()
    await degraded_end(rig, bench)
    late = rig.committer.late(bench.log.stream_id)
    assert late is not None
    assert late.record.state is State.COMPLETED
    rig.committer.retry()
    assert rig.committer.late(bench.log.stream_id) is late
    await rig.store.settle(1)
    assert rig.committer.late(bench.log.stream_id) is None


async def test_a_store_that_stalls_on_what_it_missed_holds_up_no_later_commit() -> None:
    rig, old, new = Rig(), Bench(), Bench()
    await degraded_end(rig, old)
    rig.committer.is_healthy = True
    rig.committer.retry()
    new.generation.bring(text("a"))
    rig.committer.commit([new.pump])
    await rig.stall()
    assert not rig.committer.is_healthy
    assert new.log.is_degraded
    assert new.log.published == 1
    await asyncio.wait_for(rig.committer.settle(), 1)


async def test_settling_hands_over_what_the_store_missed() -> None:
    rig, bench = Rig(), Bench()
    await degraded_end(rig, bench)
    await rig.committer.settle()
    assert [seal.entries for seal in rig.store.batches[-1].seals] == [2]


async def test_of_too_many_missed_ends_the_oldest_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.pump.committer.MAX_LATE", 1)
    rig, first, second = Rig(), Bench(stream_id="first"), Bench(stream_id="second")
    await degraded_end(rig, first)
    for finish in (None, "stop"):
        second.generation.bring(text("a", finish=finish), end=EngineEnd() if finish else None)
        second.pump.tick(0)
        rig.committer.commit([second.pump])
    assert rig.committer.late(first.log.stream_id) is None
    assert rig.committer.late(second.log.stream_id) is not None
