"""The pump: how each way a generation can go becomes one log with one end."""

from __future__ import annotations

import msgspec
import pytest
from tests.pump.fakes import Bench, text

from headrace.policy.limits import Limits
from headrace.policy.timeouts import Timeouts
from headrace.pump.pump import FINISH_GRACE_S, HOT_BYTES, HOT_LIMIT_BYTES
from headrace.types.engine import EngineEnd
from headrace.types.ids import Offset
from headrace.types.outcome import Cause, Durability, State, TokenSource

ORDERLY = EngineEnd()


class Reader:
    def __init__(self, position: int = 0) -> None:
        self.position = Offset(position)

    def wake(self) -> None: ...


def test_content_then_finish_then_orderly_end_completes() -> None:
    bench = Bench()
    bench.generation.bring(text(), text("Hel"))
    bench.generation.bring(text("lo", finish="stop"), end=ORDERLY)
    bench.pump.tick(bench.clock())
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause, end.finish_reason) == (State.COMPLETED, Cause.STOP, "stop")
    assert bench.log.appended == 3
    assert bench.ended == [bench.pump]
    assert bench.generation.aborted == 0


@pytest.mark.parametrize("source", [ORDERLY, EngineEnd(cause=Cause.UPSTREAM_CLOSED)])
def test_an_end_without_a_finish_reason_is_truncated(source: EngineEnd) -> None:
    bench = Bench()
    bench.generation.bring(text("Hel"))
    bench.generation.bring(end=source)
    bench.pump.tick(bench.clock())
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause) == (State.TRUNCATED, Cause.UPSTREAM_CLOSED)


def test_a_connection_cut_behind_the_last_finish_reason_loses_nothing() -> None:
    bench = Bench()
    bench.generation.bring(text("Hello", finish="length"), end=EngineEnd(cause=Cause.UPSTREAM_CLOSED))
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause, end.message) == (State.COMPLETED, Cause.LENGTH, None)


def test_one_finished_choice_of_two_is_truncated() -> None:
    bench = Bench(choices=2)
    bench.generation.bring(text("a", finish="stop"), text("b", index=1), end=ORDERLY)
    assert bench.log.state is State.TRUNCATED


@pytest.mark.parametrize(
    "cause", [Cause.UPSTREAM_REJECTED, Cause.UPSTREAM_UNREACHABLE, Cause.UPSTREAM_CLOSED, Cause.UPSTREAM_PROTOCOL]
)
def test_a_break_before_content_is_failed(cause: Cause) -> None:
    bench = Bench()
    bench.generation.bring(end=EngineEnd(cause=cause, status=429, retry_after_s=7, message="no"))
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause, end.status, end.retry_after_s) == (State.FAILED, cause, 429, 7)


def test_an_error_event_after_content_truncates_and_aborts() -> None:
    bench = Bench()
    bench.generation.bring(text("a"))
    bench.generation.bring(text("b"), {"error": {"message": "out of memory"}}, text("never"))
    bench.pump.tick(bench.clock())
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause, end.message) == (State.TRUNCATED, Cause.UPSTREAM_CLOSED, "out of memory")
    assert bench.log.appended == 2
    assert bench.generation.aborted == 1


def test_an_error_event_before_content_is_a_rejection() -> None:
    bench = Bench()
    bench.generation.bring({"error": {"message": "context too long", "code": 400}})
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause, end.status) == (State.FAILED, Cause.UPSTREAM_REJECTED, 400)


def test_the_first_content_is_rushed_and_what_follows_waits_for_the_tick() -> None:
    bench = Bench()
    bench.generation.bring(text())
    assert bench.scheduler.asked == ["mark", "mark"]
    assert bench.scheduler.joined == set()
    bench.generation.bring(text("a"))
    assert bench.scheduler.asked[-1] == "rush"
    assert bench.scheduler.joined == {bench.pump}
    assert bench.generation.watcher is None
    bench.generation.bring(text("b"))
    assert bench.log.appended == 2
    bench.pump.tick(bench.clock())
    assert bench.log.appended == 3
    assert bench.scheduler.asked[-1] == "mark"


def test_without_a_tick_every_read_is_rushed() -> None:
    bench = Bench(is_immediate=True)
    bench.generation.bring(text("a"))
    bench.generation.bring(text("b"))
    assert bench.scheduler.asked == ["mark", "rush", "rush"]
    assert bench.scheduler.joined == set()


def test_a_stream_that_brings_much_in_a_tick_is_read_as_it_comes_until_it_slows_down() -> None:
    bench = Bench()
    bench.generation.bring(text("a"))
    bench.generation.bring(text("x" * HOT_BYTES))
    bench.pump.tick(bench.clock())
    assert bench.generation.watcher is not None
    bench.generation.bring(text("y"))
    bench.pump.tick(bench.clock())
    assert bench.generation.watcher is not None
    bench.pump.tick(bench.clock())
    assert bench.generation.watcher is None


def test_a_flood_waits_for_the_tick_while_the_store_is_behind() -> None:
    bench = Bench()
    bench.generation.bring(text("a"))
    bench.generation.bring(text("x" * HOT_BYTES))
    bench.pump.tick(bench.clock())
    bench.scheduler.is_behind = True
    bench.generation.bring(text("y"))
    assert bench.generation.watcher is None
    assert bench.log.appended == 2
    bench.scheduler.is_behind = False
    bench.pump.tick(bench.clock())
    assert bench.log.appended == 3


def test_a_flood_waits_for_the_tick_when_much_waits_for_its_commit() -> None:
    bench = Bench()
    bench.generation.bring(text("a"))
    bench.generation.bring(text("x" * HOT_BYTES))
    bench.pump.tick(bench.clock())
    bench.generation.bring(text("y" * HOT_LIMIT_BYTES))
    bench.generation.bring(text("z"))
    assert bench.generation.watcher is None
    assert bench.log.appended == 3
    bench.pump.tick(bench.clock())
    assert bench.log.appended == 4


def test_stop_ends_once_and_aborts_at_once() -> None:
    bench = Bench()
    bench.pump.stop(Cause.CLIENT_STOP)
    bench.pump.stop(Cause.OPERATOR)
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause) == (State.CANCELLED, Cause.CLIENT_STOP)
    assert bench.generation.aborted == 1
    assert bench.ended == [bench.pump]


@pytest.mark.parametrize(("has_content", "state"), [(False, State.TRUNCATED), (True, State.TRUNCATED)])
def test_shutdown_truncates_with_and_without_content(has_content: bool, state: State) -> None:
    bench = Bench()
    if has_content:
        bench.generation.bring(text("a"))
    bench.pump.stop(Cause.SHUTDOWN)
    assert bench.log.state is state


def test_no_content_within_first_token_fails() -> None:
    bench = Bench(timeouts=Timeouts(first_token_s=2))
    bench.generation.bring(text())
    bench.pass_time(1.9)
    assert bench.log.end is None
    bench.pass_time(0.2)
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause) == (State.FAILED, Cause.FIRST_TOKEN_TIMEOUT)
    assert bench.generation.aborted == 1


def test_silence_after_content_truncates_though_chunks_without_content_keep_coming() -> None:
    bench = Bench(timeouts=Timeouts(idle_s=2))
    bench.generation.bring(text("a"))
    for _ in range(3):
        bench.pass_time(0.6)
        bench.generation.bring(text())
        bench.pump.tick(bench.clock())
    assert bench.log.end is None
    bench.pass_time(0.3)
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause) == (State.TRUNCATED, Cause.UPSTREAM_STALLED)


def test_a_whole_answer_does_not_wait_long_for_done() -> None:
    bench = Bench()
    bench.generation.bring(text("a", finish="stop"))
    bench.pass_time(FINISH_GRACE_S + 0.1)
    assert bench.log.state is State.COMPLETED


def test_the_deadline_ends_a_stream_that_makes_progress() -> None:
    bench = Bench(timeouts=Timeouts(deadline_s=1))
    bench.generation.bring(text("a"))
    bench.pass_time(1.1)
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause) == (State.TRUNCATED, Cause.DEADLINE)


def test_the_last_follower_leaving_stops_a_stream_that_does_not_linger() -> None:
    bench = Bench()
    first, second = Reader(), Reader()
    bench.log.follow(first)
    bench.log.follow(second)
    bench.log.unfollow(first, Cause.CLIENT_GONE)
    assert bench.log.end is None
    bench.log.unfollow(second, Cause.SLOW_CLIENT)
    assert bench.log.end is not None
    assert bench.log.end.cause is Cause.SLOW_CLIENT


def test_a_lingering_stream_goes_on_until_its_time_is_over() -> None:
    bench = Bench(linger_s=3)
    reader = Reader()
    bench.log.follow(reader)
    bench.log.unfollow(reader, Cause.CLIENT_GONE)
    bench.pass_time(2.9)
    assert bench.log.end is None
    bench.log.follow(reader)
    bench.pass_time(10)
    assert bench.log.end is None
    bench.log.unfollow(reader, Cause.CLIENT_GONE)
    bench.pass_time(3.1)
    assert bench.log.end is not None
    assert bench.log.end.cause is Cause.CLIENT_GONE


def test_malformed_chunks_are_counted_or_end_the_stream() -> None:
    lenient, strict = Bench(), Bench(on_malformed="end")
    for bench in (lenient, strict):
        bench.generation.malformed_chunks = 2
        bench.generation.bring(text("a"))
    assert lenient.log.end is None
    assert strict.log.end is not None
    assert strict.log.end.cause is Cause.UPSTREAM_PROTOCOL
    lenient.generation.bring(text(finish="stop"), end=ORDERLY)
    lenient.pump.tick(lenient.clock())
    assert lenient.log.end is not None
    assert lenient.log.end.malformed_chunks == 2


def test_our_usage_chunk_is_sent_when_the_client_asked_and_the_engine_reports_none() -> None:
    bench = Bench(wants_usage=True)
    bench.generation.bring(text("a"), text("b", finish="stop"), end=ORDERLY)
    segment = bench.log.take().segment
    assert segment is not None
    last = msgspec.json.decode(segment.data.split(b"\n")[-1])
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    assert bench.log.end is not None
    assert bench.log.end.tokens_source is TokenSource.COUNTED


def test_a_memory_only_stream_waits_for_its_foremost_follower() -> None:
    bench = Bench(is_memory_only=True, limits=Limits(memory_lead_entries=2))
    reader = Reader()
    bench.log.follow(reader)
    bench.generation.bring(text("a"), text("b"), text("c"))
    bench.publish()
    reads = bench.generation.reads
    bench.generation.bring(text("d"))
    bench.pump.tick(bench.clock())
    bench.pass_time(100)
    assert bench.generation.reads == reads
    assert bench.log.end is None
    reader.position = Offset(3)
    bench.pump.tick(bench.clock())
    assert bench.log.appended == 4


def test_a_paused_stream_goes_on_when_its_follower_has_read_what_filled_memory() -> None:
    bench = Bench(limits=Limits(tail_bytes=1000))
    bench.log.degrade()
    reader = Reader()
    bench.log.follow(reader)
    bench.generation.bring(text("x" * 2000))
    bench.publish()
    bench.generation.bring(text("y"))
    bench.pump.tick(bench.clock())
    assert bench.log.appended == 1
    reader.position = Offset(1)
    bench.pump.tick(bench.clock())
    assert bench.log.appended == 2


def test_degrading_marks_log_end_and_record() -> None:
    bench = Bench()
    bench.generation.bring(text("a", finish="stop"), end=ORDERLY)
    taken = bench.pump.degrade(bench.log.take())
    assert taken.end is not None
    assert taken.end.durability is Durability.DEGRADED
    assert bench.pump.record().durability is Durability.DEGRADED


def test_the_record_is_taken_when_it_changed() -> None:
    bench = Bench()
    first = bench.pump.take_record()
    assert first is not None
    assert (first.state, first.first_content_at) == (State.QUEUED, None)
    assert bench.pump.take_record() is None
    bench.generation.bring(text("a"))
    assert bench.pump.take_record() is None
    bench.generation.bring(text("b"))
    bench.pump.tick(bench.clock())
    second = bench.pump.take_record()
    assert second is not None
    assert second.first_content_at is not None
    bench.generation.bring(text(finish="stop"), end=ORDERLY)
    bench.pump.tick(bench.clock())
    last = bench.pump.take_record()
    assert last is not None
    assert (last.state, last.cause, last.entries, last.completion_tokens) == (State.COMPLETED, Cause.STOP, 3, 2)
