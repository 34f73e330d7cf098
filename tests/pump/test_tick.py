"""The tick: one timer reads all streams and commits what they brought in one go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import cast

from headrace.pump.committer import Committer
from headrace.pump.pump import Pump
from headrace.pump.tick import STRETCH_STREAMS, Tick


class FakePump:
    def __init__(self, tick: Tick, *, dirty: bool = True) -> None:
        self.tick_ = tick
        self.dirty = dirty
        self.ticks = 0

    def tick(self, now_s: float) -> None:
        self.ticks += 1
        if self.dirty:
            self.tick_.mark(cast("Pump", self))


class FakeCommitter:
    def __init__(self) -> None:
        self.commits: list[list[Pump]] = []
        self.checks = 0
        self.is_behind = False

    def commit(self, pumps: Iterable[Pump]) -> None:
        self.commits.append(list(pumps))

    def check(self) -> None:
        self.checks += 1


class Observer:
    def __init__(self) -> None:
        self.ticks = 0

    def ticked(self, duration_s: float, late_s: float) -> None:
        self.ticks += 1


class Rig:
    def __init__(self, interval_s: float = 0.005) -> None:
        self.committer = FakeCommitter()
        self.observer = Observer()
        self.tick = Tick(
            cast("Committer", self.committer),
            interval_s=interval_s,
            observer=self.observer,
            clock=time.monotonic,
            loop=asyncio.get_running_loop(),
        )

    def pump(self, *, dirty: bool = True) -> Pump:
        return cast("Pump", FakePump(self.tick, dirty=dirty))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110 (counters of fakes have no event)
            await asyncio.sleep(0.001)


async def test_one_tick_reads_every_stream_and_makes_one_commit() -> None:
    rig = Rig()
    pumps = [rig.pump() for _ in range(3)]
    for pump in pumps:
        rig.tick.join(pump)
    await until(lambda: rig.committer.commits)
    assert rig.committer.commits[0] == pumps
    assert rig.committer.checks >= 1
    rig.tick.aclose()


async def test_the_tick_rests_when_nothing_is_read() -> None:
    rig = Rig()
    pump = rig.pump(dirty=False)
    rig.tick.join(pump)
    await until(lambda: rig.observer.ticks)
    rig.tick.leave(pump)
    await asyncio.sleep(0.02)
    ticks = rig.observer.ticks
    await asyncio.sleep(0.03)
    assert rig.observer.ticks == ticks
    assert rig.committer.commits == []


async def test_nothing_is_read_while_the_store_is_behind() -> None:
    rig = Rig()
    pump = rig.pump()
    rig.committer.is_behind = True
    rig.tick.join(pump)
    await until(lambda: rig.observer.ticks >= 2)
    assert rig.committer.commits == []
    rig.committer.is_behind = False
    await until(lambda: rig.committer.commits)
    rig.tick.aclose()


async def test_rush_commits_in_this_round_of_the_loop_and_groups() -> None:
    rig = Rig(interval_s=10)
    pumps = [rig.pump() for _ in range(3)]
    for pump in pumps:
        rig.tick.rush(pump)
    await asyncio.sleep(0)
    assert rig.committer.commits == [pumps]
    rig.tick.aclose()


async def test_mark_waits_for_the_tick() -> None:
    rig = Rig(interval_s=0.01)
    rig.tick.mark(rig.pump())
    await asyncio.sleep(0)
    assert rig.committer.commits == []
    await until(lambda: rig.committer.commits)
    rig.tick.aclose()


async def test_the_interval_stretches_to_twice_as_streams_grow() -> None:
    rig = Rig(interval_s=0.05)
    assert rig.tick.interval_s == 0.05
    for _ in range(STRETCH_STREAMS * 2):
        rig.tick.join(rig.pump(dirty=False))
    assert rig.tick.interval_s == 0.1
    rig.tick.aclose()


async def test_an_interval_of_zero_means_no_tick() -> None:
    assert Rig(interval_s=0).tick.is_immediate
    assert not Rig(interval_s=0.05).tick.is_immediate


async def test_closing_commits_what_is_marked() -> None:
    rig = Rig(interval_s=10)
    rig.tick.mark(rig.pump())
    rig.tick.aclose()
    assert len(rig.committer.commits) == 1
