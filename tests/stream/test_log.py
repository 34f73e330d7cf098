"""The log: appended, taken, published; one end; bounded memory; followers at their own offsets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.stream.log import StreamLog
from headrace.stream.segment import Flush
from headrace.stream.state import IllegalTransition
from headrace.stream.store import Lease
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause, End, State

COMPLETED = End(state=State.COMPLETED, cause=Cause.STOP)


class Reader:
    """A follower that reads when it is told to."""

    def __init__(self, position: int = 0) -> None:
        self.position = Offset(position)
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1

    def expire(self, now_s: float) -> None: ...

    def read(self, log: StreamLog) -> list[bytes]:
        segments = log.window(self.position, 1 << 30) or []
        lines = [line for segment in segments for line in segment.data.split(b"\n")]
        self.position = Offset(self.position + len(lines))
        return lines


def new_log(tail_bytes: int = 1 << 20) -> StreamLog:
    log = StreamLog(Lease(StreamId("s"), "node", 1), owner="", tail_bytes=tail_bytes)
    log.accept()
    return log


def add(log: StreamLog, *lines: bytes) -> None:
    log.append(b"\n".join(lines), len(lines), tokens=len(lines))


def test_followers_see_nothing_before_it_is_published() -> None:
    log, reader = new_log(), Reader()
    log.follow(reader)
    add(log, b"0", b"1")
    taken = log.take()
    assert reader.read(log) == []
    log.publish(taken)
    assert reader.read(log) == [b"0", b"1"]
    assert reader.wakes == 1


def test_what_is_appended_between_two_takes_is_one_segment() -> None:
    log = new_log()
    add(log, b"0")
    add(log, b"1", b"2")
    segment = log.take().segment
    assert segment is not None
    assert (segment.first, segment.count, segment.data) == (0, 3, b"0\n1\n2")
    assert log.take().segment is None


def test_the_end_is_taken_once_and_nothing_follows_it() -> None:
    log = new_log()
    log.seal(COMPLETED)
    assert log.has_untaken
    assert log.take().end is COMPLETED
    assert log.take().end is None
    with pytest.raises(IllegalTransition):
        log.seal(COMPLETED)
    with pytest.raises(IllegalTransition):
        add(log, b"late")


def test_an_end_that_does_not_follow_from_its_cause_is_refused() -> None:
    log = new_log()
    add(log, b"0")
    with pytest.raises(IllegalTransition, match="ends s as truncated, not failed"):
        log.seal(End(state=State.FAILED, cause=Cause.UPSTREAM_CLOSED))
    assert log.end is None


def test_publishing_twice_shows_entries_once() -> None:
    log, reader = new_log(), Reader()
    add(log, b"0")
    taken = log.take()
    log.publish(taken)
    log.publish(taken)
    assert reader.read(log) == [b"0"]
    assert log.published == 1


def test_a_durable_log_keeps_only_what_some_follower_lacks() -> None:
    log, fast, slow = new_log(), Reader(), Reader()
    log.follow(fast)
    log.follow(slow)
    for number in range(3):
        add(log, b"%d" % number)
        log.publish(log.take())
    fast.read(log)
    log.trim()
    assert log.window(Offset(0), 1) is not None
    slow.read(log)
    log.trim()
    assert log.window(Offset(0), 1) is None
    assert log.tail_bytes == 0


def test_a_durable_log_lets_go_of_the_oldest_beyond_its_bound_even_if_a_follower_lacks_it() -> None:
    log, slow = new_log(tail_bytes=100), Reader()
    log.follow(slow)
    for _ in range(10):
        add(log, b"x" * 50)
        log.publish(log.take())
        log.trim()
    assert log.tail_bytes <= 100
    assert log.window(Offset(0), 1) is None
    assert log.window(Offset(9), 1) is not None


def test_a_degraded_log_drops_only_what_its_foremost_follower_has() -> None:
    log, reader = new_log(tail_bytes=100), Reader()
    log.degrade()
    log.follow(reader)
    for _ in range(4):
        add(log, b"x" * 50)
        log.publish(log.take())
        log.trim()
    assert log.window(Offset(0), 1) is not None
    assert log.is_memory_full
    assert log.lead() == 4
    reader.read(log)
    log.trim()
    assert log.tail_bytes <= 100


def test_window_stops_at_its_bound_but_returns_at_least_one_segment() -> None:
    log = new_log()
    for _ in range(4):
        add(log, b"x" * 50)
        log.publish(log.take())
    assert [segment.first for segment in log.window(Offset(0), 1) or []] == [0]
    assert [segment.first for segment in log.window(Offset(1), 100) or []] == [1, 2]
    assert log.window(Offset(4), 100) == []


def test_on_followers_is_told_who_came_and_why_who_left() -> None:
    log, reader = new_log(), Reader()
    told: list[Cause | None] = []
    log.on_followers = told.append
    log.follow(reader)
    log.unfollow(reader, Cause.SLOW_CLIENT)
    log.unfollow(reader, Cause.CLIENT_GONE)
    assert told == [None, Cause.SLOW_CLIENT]


def test_the_log_of_an_ended_stream_has_its_end_and_nothing_in_memory() -> None:
    log = StreamLog.ended(Lease(StreamId("s"), "", 0), owner="me", entries=Offset(3), end=COMPLETED)
    assert log.published_end is COMPLETED
    assert log.window(Offset(0), 1) is None
    assert log.window(Offset(3), 1) == []


@given(
    runs=st.lists(st.lists(st.binary(min_size=1, max_size=9).filter(lambda b: b"\n" not in b), min_size=1, max_size=4)),
    start=st.integers(0, 8),
    bound=st.integers(1, 40),
)
def test_any_window_size_reads_the_same_entries(runs: list[list[bytes]], start: int, bound: int) -> None:
    log = new_log()
    for run in runs:
        add(log, *run)
        log.publish(log.take())
    lines = [line for run in runs for line in run]
    position, read = Offset(start), []
    while segments := log.window(position, bound):
        read += [line for segment in segments for line in segment.data.split(b"\n")]
        position = segments[-1].next
    assert read == lines[start:]


def test_bytes_are_those_of_the_json_however_it_was_gathered() -> None:
    one, many = new_log(), new_log()
    add(one, b"00", b"1", b"222")
    for line in (b"00", b"1", b"222"):
        add(many, line)
    assert one.bytes == many.bytes == 6
    assert one.published_bytes == 0
    for log in (one, many):
        log.publish(log.take())
    assert one.published_bytes == many.published_bytes == 6


def test_flushes_are_what_was_published_and_is_still_in_memory_with_the_time_it_was_taken() -> None:
    log, reader = new_log(), Reader()
    log.follow(reader)
    for at, lines in ((1.5, [b"0", b"11"]), (2.5, [b"2"]), (3.5, [b"3"])):
        add(log, *lines)
        log.publish(log.take(at))
    add(log, b"unpublished")
    assert log.flushes(after=Offset(-1), limit=9) == [
        Flush(Offset(0), 2, 3, 1.5),
        Flush(Offset(2), 1, 1, 2.5),
        Flush(Offset(3), 1, 1, 3.5),
    ]
    assert [flush.offset for flush in log.flushes(after=Offset(0), limit=1)] == [2]
    reader.position = Offset(3)
    log.trim()
    assert [flush.offset for flush in log.flushes(after=Offset(-1), limit=9)] == [3]
