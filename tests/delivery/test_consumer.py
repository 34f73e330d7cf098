"""Consumers: read at their own offset, from memory or the store; heartbeats; peers that take nothing."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from headrace.delivery.consumer import COALESCE_WAIT_S, HEARTBEAT, Consumer, ConsumerClosed
from headrace.errors import StreamGone, StreamNotFound
from headrace.policy.timeouts import Timeouts
from headrace.stream.log import StreamLog
from headrace.stream.segment import Segment
from headrace.stream.store import Lease, Store
from headrace.stream.sweep import Sweep
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause, End, State

END = End(state=State.COMPLETED, cause=Cause.STOP)


class FakePeer:
    def __init__(self) -> None:
        self.waiting_bytes = 0
        self.aborts = 0

    def abort(self) -> None:
        self.aborts += 1

    def is_gone(self) -> bool:
        return False

    def write_buffer_bytes(self) -> int:
        return self.waiting_bytes


class FakeStore:
    """Has entries 0 to ``kept`` - 1, one a segment."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self.is_unknown = False
        self.reads: list[int] = []

    async def read(self, stream_id: StreamId, *, after: Offset, max_bytes: int) -> list[Segment]:
        self.reads.append(after)
        if self.is_unknown:
            raise StreamNotFound("there is no stream s")
        return [Segment(Offset(number), 1, b"%d" % number) for number in range(after + 1, self.kept)]


class Rig:
    def __init__(
        self, *, kept: int = 0, position: int = 0, log: StreamLog | None = None, coalesce_tokens: int = 1
    ) -> None:
        self.now_s = 100.0
        self.peer = FakePeer()
        self.store = FakeStore(kept)
        self.sweep = Sweep()
        self.log = log or StreamLog(Lease(StreamId("s"), "n", 1), owner="", tail_bytes=1 << 20)
        if log is None:
            self.log.accept()
        self.consumer = Consumer(
            self.log,
            store=cast("Store", self.store),
            position=Offset(position),
            peer=self.peer,
            timeouts=Timeouts(heartbeat_s=15, slow_client_s=30),
            write_bytes=1000,
            sweep=self.sweep,
            clock=lambda: self.now_s,
            coalesce_tokens=coalesce_tokens,
        )

    def publish(self, *lines: bytes, end: End | None = None) -> None:
        if lines:
            self.log.append(b"\n".join(lines), len(lines), tokens=len(lines))
        if end is not None:
            self.log.seal(end)
        self.log.publish(self.log.take())

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.sweep.run(self.now_s)

    async def lines(self) -> list[bytes]:
        delivery = await asyncio.wait_for(self.consumer.next(), 1)
        return [line for segment in delivery.segments for line in segment.data.split(b"\n")]


async def settled() -> None:
    """Let what was begun run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_next_returns_all_that_is_new_and_then_waits() -> None:
    rig = Rig()
    with rig.consumer:
        rig.publish(b"0")
        rig.publish(b"1", b"2")
        assert await rig.lines() == [b"0", b"1", b"2"]
        waiting = asyncio.ensure_future(rig.lines())
        await asyncio.sleep(0)
        assert not waiting.done()
        rig.publish(b"3")
        assert await waiting == [b"3"]


async def test_the_end_comes_with_the_last_entries() -> None:
    rig = Rig()
    with rig.consumer:
        rig.publish(b"0", end=END)
        delivery = await rig.consumer.next()
    assert [segment.data for segment in delivery.segments] == [b"0"]
    assert delivery.end is END


async def test_cancelling_next_loses_nothing() -> None:
    rig = Rig()
    with rig.consumer:
        waiting = asyncio.ensure_future(rig.consumer.next())
        await asyncio.sleep(0)
        waiting.cancel()
        rig.publish(b"0")
        assert await rig.lines() == [b"0"]


async def test_what_left_memory_is_read_from_the_store_and_then_memory_takes_over() -> None:
    rig = Rig(kept=2)
    rig.publish(b"0", b"1")
    rig.log.trim()
    with rig.consumer:
        rig.publish(b"2")
        assert await rig.lines() == [b"0", b"1"]
        assert await rig.lines() == [b"2"]
    assert rig.store.reads == [-1]


async def test_the_log_of_an_ended_stream_is_read_from_the_store() -> None:
    ended = StreamLog.ended(Lease(StreamId("s"), "", 0), owner="", entries=Offset(3), end=END)
    rig = Rig(kept=3, position=1, log=ended)
    with rig.consumer:
        delivery = await rig.consumer.next()
    assert [segment.data for segment in delivery.segments] == [b"1", b"2"]
    assert delivery.end is END


async def test_entries_that_nobody_keeps_any_more_are_gone() -> None:
    rig = Rig(kept=0)
    rig.publish(b"0")
    rig.log.trim()
    with rig.consumer:
        with pytest.raises(StreamGone, match="offset 0"):
            await rig.consumer.probe()
        with pytest.raises(StreamGone):
            await rig.consumer.next()


async def test_entries_of_a_stream_that_the_store_never_heard_of_are_gone() -> None:
    rig = Rig()
    rig.store.is_unknown = True
    rig.publish(b"0")
    rig.log.trim()
    with rig.consumer, pytest.raises(StreamGone, match="offset 0"):
        await rig.consumer.probe()


async def test_silence_brings_a_heartbeat_and_the_next_one_as_long_after_it() -> None:
    rig = Rig()
    with rig.consumer:
        waiting = asyncio.ensure_future(rig.consumer.next())
        await asyncio.sleep(0)
        rig.pass_time(14.9)
        await asyncio.sleep(0)
        assert not waiting.done()
        rig.pass_time(0.2)
        assert await waiting is HEARTBEAT
        rig.consumer.sent(8)
        waiting = asyncio.ensure_future(rig.consumer.next())
        await asyncio.sleep(0)
        rig.pass_time(14.9)
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()


async def test_content_waits_for_content_not_for_the_role() -> None:
    rig = Rig()
    with rig.consumer:
        waiting = asyncio.ensure_future(rig.consumer.content(within_s=1))
        rig.log.append(b"role", 1, tokens=0)
        rig.log.publish(rig.log.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        rig.publish(b"text")
        await asyncio.wait_for(waiting, 1)


async def test_content_waits_no_longer_than_it_is_told() -> None:
    rig = Rig()
    with rig.consumer:
        waiting = asyncio.ensure_future(rig.consumer.content(within_s=1))
        await asyncio.sleep(0)
        rig.pass_time(1.1)
        await asyncio.wait_for(waiting, 1)
    assert not rig.log.has_published_content


async def test_a_peer_that_takes_nothing_is_dropped_and_the_log_told_why() -> None:
    rig = Rig()
    left: list[Cause | None] = []
    rig.log.on_followers = left.append
    with rig.consumer:
        rig.peer.waiting_bytes = 5000
        rig.consumer.sent(5000)
        rig.pass_time(29)
        assert rig.peer.aborts == 0
        rig.pass_time(1)
        assert rig.peer.aborts == 1
        with pytest.raises(ConsumerClosed) as caught:
            await rig.consumer.next()
    assert caught.value.cause is Cause.SLOW_CLIENT
    assert left == [None, Cause.SLOW_CLIENT]


async def test_a_slow_peer_that_takes_a_little_is_kept() -> None:
    rig = Rig()
    with rig.consumer:
        rig.consumer.sent(100_000)
        for step in range(10):
            rig.peer.waiting_bytes = 90_000 - step
            rig.pass_time(20)
        assert rig.peer.aborts == 0


async def test_closing_wakes_whoever_waits_and_lets_go_of_the_log() -> None:
    rig = Rig()
    with rig.consumer:
        waiting = asyncio.ensure_future(rig.consumer.next())
        await asyncio.sleep(0)
        rig.consumer.close(Cause.CLIENT_GONE)
        with pytest.raises(ConsumerClosed):
            await waiting
        assert not rig.log.followers
        assert len(rig.sweep) == 0


async def test_entries_are_gathered_but_the_first_content_and_the_end_never_wait() -> None:
    rig = Rig(coalesce_tokens=3)
    with rig.consumer:
        rig.publish(b"0")
        assert await rig.lines() == [b"0"]
        waiting = asyncio.ensure_future(rig.lines())
        rig.publish(b"1")
        rig.publish(b"2")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        rig.publish(b"3")
        assert await waiting == [b"1", b"2", b"3"]
        waiting = asyncio.ensure_future(rig.lines())
        await asyncio.sleep(0)
        rig.publish(b"4", end=END)
        assert await waiting == [b"4"]


async def test_gathered_entries_wait_no_longer_than_a_second_for_others() -> None:
    rig = Rig(coalesce_tokens=100)
    with rig.consumer:
        rig.publish(b"0")
        assert await rig.lines() == [b"0"]
        rig.publish(b"1")
        waiting = asyncio.ensure_future(rig.lines())
        await settled()
        rig.pass_time(COALESCE_WAIT_S / 2)
        await asyncio.sleep(0)
        assert not waiting.done()
        rig.pass_time(COALESCE_WAIT_S / 2)
        assert await waiting == [b"1"]
        rig.publish(b"2")
        waiting = asyncio.ensure_future(rig.lines())
        await settled()
        assert not waiting.done()
        rig.pass_time(COALESCE_WAIT_S)
        assert await waiting == [b"2"]


@pytest.mark.parametrize("kept", [0, 4])
async def test_no_more_entries_come_than_were_granted_and_the_end_needs_no_grant(kept: int) -> None:
    log = None
    if kept:
        log = StreamLog.ended(Lease(StreamId("s"), "n", 1), owner="", entries=Offset(kept), end=END)
    rig = Rig(kept=kept, log=log)
    rig.consumer.grant(3)
    with rig.consumer:
        if not kept:
            rig.publish(b"0", b"1")
            rig.publish(b"2", b"3", end=END)
        assert await rig.lines() == [b"0", b"1", b"2"]
        waiting = asyncio.ensure_future(rig.consumer.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        rig.consumer.grant(1)
        delivery = await waiting
        assert [segment.data for segment in delivery.segments] == [b"3"]
        assert delivery.end is END


async def test_a_grant_of_nothing_lets_only_the_end_through() -> None:
    rig = Rig(position=1)
    rig.consumer.grant(0)
    with rig.consumer:
        rig.publish(b"0", end=END)
        delivery = await rig.consumer.next()
        assert (delivery.segments, delivery.end) == ([], END)
