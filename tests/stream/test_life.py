"""The life of streams under anything that can happen: appends, commits, crashes, resumes, cancels, expiry, a stalled store.

Real pumps, logs, committer and SQLite; only the engine and the clock are faked. Whatever happens, a stream has one end that
never changes, no gaps, and the store has every entry that anybody saw, unless the stream is degraded.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from tests.pump.fakes import Bench, ManualClock, text

from headrace.pump.committer import Committer
from headrace.pump.recovery import recover
from headrace.stores.sqlite import SqliteDatabase
from headrace.stream.store import StoredLog
from headrace.types.bill import Bill
from headrace.types.engine import EngineEnd
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause, End, State

T = TypeVar("T")

ENDS = [EngineEnd(), EngineEnd(cause=Cause.UPSTREAM_CLOSED), EngineEnd(cause=Cause.UPSTREAM_PROTOCOL)]


class Reader:
    """A follower that keeps what it saw."""

    def __init__(self, position: Offset) -> None:
        self.first = position
        self.position = position
        self.seen: list[bytes] = []

    def wake(self) -> None: ...


class Life:
    """One stream: its pump, what its engine brought, and who follows."""

    def __init__(self, number: int, clock: ManualClock, linger_s: float | None) -> None:
        self.bench = Bench(linger_s=linger_s, stream_id=f"s{number}", clock=clock)
        self.brought: list[bytes] = []
        self.readers = [Reader(Offset(0))]
        self.bench.log.follow(self.readers[0])
        self.ends: list[End] = []

    @property
    def stream_id(self) -> StreamId:
        return self.bench.log.stream_id

    @property
    def is_degraded(self) -> bool:
        return self.bench.log.is_degraded

    def bring(self, *objects: dict[str, Any], end: EngineEnd | None = None) -> None:
        """Let chunks arrive; what comes after the end counts for nothing."""
        if self.bench.log.end is not None:
            return
        self.brought += [msgspec.json.encode(item) for item in objects]
        self.bench.generation.bring(*objects, end=end)
        self.bench.pump.tick(self.bench.clock())


class Observer:
    def committed(self, duration_s: float) -> None: ...

    def degraded(self) -> None: ...


class StreamLife(RuleBasedStateMachine):
    """Rules are what can happen; ``checks`` and the crash look at what must hold."""

    lives = Bundle("lives")

    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-life-"))
        self.generation = 0
        self.clock = ManualClock()
        self.may_commit = threading.Event()
        self.may_commit.set()
        self.everything: list[Life] = []
        self.after_crash: dict[StreamId, tuple[list[bytes], End]] = {}
        self.number = 0
        self.run(self.open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @property
    def path(self) -> Path:
        return self.folder / f"{self.generation}.db"

    async def open(self) -> None:
        self.database = SqliteDatabase(self.path, before_commit=self.wait_until_allowed)
        await self.database.__aenter__()
        store, records = self.database.store, self.database.records
        await recover(store, records, node="node", lease_s=30, wall_time=lambda: 1.0, bill=lambda _: Bill())
        self.committer = Committer(
            store,
            records,
            commit_wait_s=1,
            observer=Observer(),
            clock=self.clock,
            wall_time=lambda: 1.0,
            loop=self.loop,
        )

    def wait_until_allowed(self) -> None:
        self.may_commit.wait()

    async def commit_all(self) -> None:
        dirty = [life.bench.pump for life in self.everything if life.bench.log.has_untaken]
        self.committer.commit(dirty)
        while self.database.store.backlog() and self.may_commit.is_set():  # noqa: ASYNC110 (as a user sees it)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    async def read_store(self, stream_id: StreamId) -> tuple[StoredLog | None, list[bytes]]:
        found = await self.database.store.find(stream_id)
        lines: list[bytes] = []
        while found is not None and len(lines) < found.entries:
            page = await self.database.store.read(stream_id, after=Offset(len(lines) - 1), max_bytes=64)
            assert page
            assert page[0].first == len(lines)
            lines += [line for segment in page for line in segment.data.split(b"\n")]
        return found, lines

    # --- what can happen

    @rule(target=lives, linger_s=st.sampled_from([None, 3.0]))
    def start(self, linger_s: float | None) -> Any:
        if len(self.everything) >= 6:
            return multiple()
        self.number += 1
        life = Life(self.number, self.clock, linger_s)
        self.everything.append(life)
        return life

    @rule(life=lives, words=st.lists(st.text(max_size=8), min_size=1, max_size=4))
    def append(self, life: Life, words: list[str]) -> None:
        life.bring(*[text(word) for word in words])

    @rule(life=lives, finishes=st.booleans(), end=st.sampled_from(ENDS))
    def end(self, life: Life, finishes: bool, end: EngineEnd) -> None:
        life.bring(*([text(finish="stop")] if finishes else []), end=end)

    @rule()
    def commit(self) -> None:
        self.run(self.commit_all())

    @rule(life=lives)
    def consume(self, life: Life) -> None:
        for reader in life.readers:
            self.run(self.read_on(life, reader))

    async def read_on(self, life: Life, reader: Reader) -> None:
        log = life.bench.log
        while reader.position < log.published:
            page = log.window(reader.position, 64)
            if page is None:
                page = await self.database.store.read(life.stream_id, after=Offset(reader.position - 1), max_bytes=64)
            assert page
            assert page[0].first == reader.position
            reader.seen += [line for segment in page for line in segment.data.split(b"\n")]
            reader.position = page[-1].next

    @rule(life=lives, data=st.data())
    def resume(self, life: Life, data: st.DataObject) -> None:
        if life.is_degraded or life.bench.log.end is not None:
            return
        reader = Reader(Offset(data.draw(st.integers(0, life.bench.log.published))))
        life.bench.log.follow(reader)
        life.readers.append(reader)

    @rule(life=lives, data=st.data())
    def leave(self, life: Life, data: st.DataObject) -> None:
        if life.bench.log.followers:
            reader = data.draw(st.sampled_from(life.readers))
            life.bench.log.unfollow(reader, Cause.CLIENT_GONE)

    @rule(life=lives, cause=st.sampled_from([Cause.CLIENT_STOP, Cause.OPERATOR, Cause.SHUTDOWN]))
    def cancel(self, life: Life, cause: Cause) -> None:
        life.bench.pump.stop(cause)

    @rule(seconds=st.sampled_from([0.1, 4.0, 40.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds
        for life in self.everything:
            life.bench.pump.expire(self.clock.now_s)

    @rule()
    def stall(self) -> None:
        """The store takes nothing for a while; then it works again."""
        self.may_commit.clear()
        self.run(self.commit_all())
        self.clock.now_s += 2
        self.committer.check()
        self.run(asyncio.sleep(0.02))
        self.may_commit.set()
        self.run(self.recover_store())

    async def recover_store(self) -> None:
        await self.commit_all()
        self.committer.retry()
        while self.database.store.backlog():  # noqa: ASYNC110 (as a user sees it)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        assert self.committer.is_healthy

    @rule(life=consumes(lives))
    def forget(self, life: Life) -> None:
        """Look at a stream no more; it goes on all the same."""

    @rule()
    def crash(self) -> None:
        """The process dies between two commits: what is in memory is gone, what is in the files is not."""
        old, lives = self.path, self.everything
        self.generation += 1
        for suffix in ("", "-wal"):
            if old.with_name(old.name + suffix).exists():
                shutil.copy(old.with_name(old.name + suffix), self.path.with_name(self.path.name + suffix))
        self.run(self.database.__aexit__(None, None, None))
        self.everything = []
        self.run(self.open())
        for life in lives:
            self.run(self.look_after_crash(life))

    async def look_after_crash(self, life: Life) -> None:
        found, lines = await self.read_store_of(life)
        if life.is_degraded:
            return
        log = life.bench.log
        assert lines == life.brought[: len(lines)]
        for reader in life.readers:
            assert reader.seen == lines[reader.first : reader.first + len(reader.seen)]
        if found is None:
            assert log.published == 0
            assert log.published_end is None
            return
        assert found.end is not None
        if log.published_end is not None:
            assert found.end == log.published_end
        else:
            assert found.end.cause is Cause.NODE_LOST
            assert found.end.state is State.TRUNCATED
        self.after_crash[life.stream_id] = (lines, found.end)

    async def read_store_of(self, life: Life) -> tuple[StoredLog | None, list[bytes]]:
        if life.is_degraded:
            return await self.database.store.find(life.stream_id), []
        return await self.read_store(life.stream_id)

    # --- what must hold

    @invariant()
    def checks(self) -> None:
        for life in self.everything:
            log = life.bench.log
            if log.published_end is not None and log.published_end not in life.ends:
                life.ends.append(log.published_end)
            assert len(life.ends) <= 1
            assert log.published <= log.taken <= log.appended == len(life.brought)
            for reader in life.readers:
                assert reader.seen == life.brought[reader.first : reader.position]
            if log.end is not None:
                assert log.state is log.end.state
                assert log.state.is_terminal

    @invariant()
    def what_a_crash_closed_stays_as_it_is(self) -> None:
        for stream_id, (lines, end) in self.after_crash.items():
            found, now = self.run(self.read_store(stream_id))
            assert found is not None
            assert (now, found.end) == (lines, end)

    def teardown(self) -> None:
        self.may_commit.set()
        self.run(self.database.__aexit__(None, None, None))
        self.loop.close()
        logging.disable(logging.NOTSET)
        shutil.rmtree(self.folder)


StreamLife.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStreamLife = StreamLife.TestCase
