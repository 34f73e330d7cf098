"""Requests on one log: each ends by itself, and the engine stops when nobody wants the log any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pump.fakes import Bench, text

from headrace.policy.timeouts import Timeouts
from headrace.pump.party import Party, Requester
from headrace.types.bill import Bill
from headrace.types.engine import EngineEnd
from headrace.types.ids import Offset, RequestId, StreamId
from headrace.types.outcome import Cause, State
from headrace.types.record import Source

PATIENT = Timeouts(first_token_s=1e9, idle_s=1e9)
"""The engine has all the time in the world."""


START = Offset(0)


def bench(**options: Any) -> Bench:
    return Bench(timeouts=PATIENT, **options)


def requester(name: str, *, linger_s: float | None = None) -> Requester:
    return Requester(
        stream_id=StreamId(name),
        request_id=RequestId(f"r-{name}"),
        owner="",
        linger_s=linger_s,
        source=Source.JOINED,
    )


@dataclass(eq=False)
class Client:
    """A consumer of a log for one request, as far as pumps know it."""

    bench: Bench
    party: Party
    position: Offset = START
    wakes: int = 0

    def wake(self) -> None:
        self.wakes += 1

    def follow(self) -> Client:
        self.party.came()
        self.bench.log.follow(self)
        return self

    def leave(self, cause: Cause = Cause.CLIENT_GONE) -> None:
        self.party.left(cause)
        self.bench.log.unfollow(self, cause)


def first_of(bench: Bench) -> Client:
    return Client(bench, bench.pump.parties.first).follow()


def joined_to(bench: Bench, name: str, *, linger_s: float | None = None) -> Client:
    return Client(bench, bench.pump.parties.join(requester(name, linger_s=linger_s))).follow()


def told(client: Client) -> tuple[State, Cause | None]:
    record = client.bench.pump.record_of(client.party)
    return record.state, record.cause


GONE = (State.CANCELLED, Cause.CLIENT_GONE)
STOPPED = (State.CANCELLED, Cause.CLIENT_STOP)

# One after the other


def test_the_first_one_leaves_alone() -> None:
    run = bench()
    first, other = first_of(run), joined_to(run, "other")
    run.generation.bring(text("a"))
    first.leave()
    assert told(first) == GONE
    assert told(other) == (State.IN_PROGRESS, None)
    run.generation.bring(text("b", finish="stop"), end=EngineEnd())
    run.pump.read(run.clock())
    assert told(other) == (State.COMPLETED, Cause.STOP)
    assert told(first) == GONE
    assert not run.generation.aborted


def test_the_last_one_takes_the_stream_with_it() -> None:
    run = bench()
    first, other = first_of(run), joined_to(run, "other")
    first.leave()
    assert told(other) == (State.QUEUED, None)
    other.leave(Cause.SLOW_CLIENT)
    assert run.generation.aborted == 1
    assert told(first) == GONE
    assert told(other) == (State.CANCELLED, Cause.SLOW_CLIENT)


def test_a_request_with_two_consumers_wants_the_log_until_both_have_left() -> None:
    run = bench()
    first = first_of(run)
    other = joined_to(run, "other")
    again = Client(run, other.party).follow()
    first.leave()
    other.leave()
    assert told(other) == (State.QUEUED, None)
    again.leave()
    assert run.generation.aborted == 1


def test_whoever_is_stopped_is_told_so_and_nobody_else_is() -> None:
    run = bench()
    first, other = first_of(run), joined_to(run, "other")
    run.pump.parties.detach(first.party, Cause.CLIENT_STOP, "stopped")
    assert first.wakes
    assert first.party.end is not None
    assert (first.party.end.cause, first.party.end.message) == (Cause.CLIENT_STOP, "stopped")
    assert other.party.end is None
    run.pump.parties.detach(first.party, Cause.OPERATOR)
    assert told(first) == STOPPED
    run.pump.parties.detach(other.party, Cause.CLIENT_STOP)
    assert run.generation.aborted == 1


def test_who_joins_or_leaves_disturbs_no_other_consumer() -> None:
    run = bench()
    first = first_of(run)
    for number in range(10):
        joined_to(run, f"other-{number}").leave()
    assert first.wakes == 0


def test_a_request_that_joined_costs_nothing_and_the_first_one_pays() -> None:
    run = bench()
    first, other = first_of(run), joined_to(run, "other")
    run.generation.bring(text("a b"), text("c", finish="stop"), end=EngineEnd())
    run.pump.read(run.clock())
    paid, free = run.pump.record_of(first.party), run.pump.record_of(other.party)
    assert paid.generated_tokens == 2
    assert paid.bill is not None
    assert paid.bill.completion_tokens == 2
    assert (free.generated_tokens, free.bill, free.log_id, free.source) == (0, Bill(), run.log.stream_id, Source.JOINED)
    assert free.completion_tokens == paid.completion_tokens


def test_records_are_taken_once_for_each_change() -> None:
    run = bench()
    first, other = first_of(run), joined_to(run, "other")
    joined_to(run, "third")
    assert [record.stream_id for record in run.pump.take_joined_records()] == ["other", "third"]
    assert run.pump.take_joined_records() == []
    other.leave()
    assert [record.state for record in run.pump.take_joined_records()] == [State.CANCELLED]
    first.leave()
    assert run.pump.take_joined_records() == []
    record = run.pump.take_record()
    assert record is not None
    assert record.state is State.CANCELLED
    run.pump.stop(Cause.OPERATOR)
    assert {record.stream_id: record.cause for record in run.pump.take_joined_records()} == {
        "other": Cause.CLIENT_GONE,
        "third": Cause.OPERATOR,
    }


def test_one_that_was_erased_is_not_saved_again() -> None:
    run = bench()
    first_of(run)
    other = joined_to(run, "other")
    run.pump.parties.detach(other.party, Cause.CLIENT_STOP)
    run.pump.parties.drop(StreamId("other"))
    assert run.pump.parties.find(StreamId("other")) is None
    run.pump.stop(Cause.OPERATOR)
    assert run.pump.take_joined_records() == []
    run.pump.parties.drop(StreamId("other"))


# Lingering


def test_each_lingers_from_when_its_own_client_left() -> None:
    run = bench(linger_s=10.0)
    first, other = first_of(run), joined_to(run, "other")
    first.leave()
    run.clock.now_s += 9
    other.leave()
    run.pump.expire(run.clock())
    assert told(first) == (State.QUEUED, None)
    run.clock.now_s += 1
    run.pump.expire(run.clock())
    assert run.generation.aborted == 1
    assert (told(first), told(other)) == (GONE, GONE)


def test_one_that_had_left_before_anybody_joined_lingers_from_then() -> None:
    run = bench(linger_s=10.0)
    first = first_of(run)
    first.leave()
    run.clock.now_s += 6
    other = joined_to(run, "other")
    run.clock.now_s += 3
    other.leave()
    assert told(other) == GONE
    run.clock.now_s += 1
    run.pump.expire(run.clock())
    assert run.generation.aborted == 1


def test_who_lingers_too_long_ends_alone_while_others_are_there() -> None:
    run = bench(linger_s=10.0)
    first, other = first_of(run), joined_to(run, "other")
    first.leave()
    run.clock.now_s += 10
    run.pump.expire(run.clock())
    assert told(first) == GONE
    assert told(other) == (State.QUEUED, None)


def test_stopping_the_one_that_lingers_longest_leaves_the_others_their_time() -> None:
    run = bench(linger_s=10.0)
    first, other = first_of(run), joined_to(run, "other", linger_s=2.0)
    first.leave()
    other.leave()
    run.pump.parties.detach(first.party, Cause.CLIENT_STOP)
    run.clock.now_s += 2
    run.pump.expire(run.clock())
    assert run.generation.aborted == 1
    assert (told(first), told(other)) == (STOPPED, GONE)


# Any order


@dataclass
class Wish:
    """What a request wants, in the simplest words."""

    client: Client
    linger_s: float | None
    is_here: bool = True
    until_s: float | None = None
    cause: Cause | None = None
    """Why it ended, once it has."""


@dataclass
class Model:
    """A log that runs as long as anybody wants it."""

    bench: Bench
    wishes: list[Wish] = field(default_factory=list)
    has_ended: bool = False

    @property
    def open(self) -> list[Wish]:
        return [wish for wish in self.wishes if wish.cause is None]

    def end(self, wish: Wish, cause: Cause) -> None:
        wish.cause = cause
        self.has_ended = not self.open

    def join(self, linger_s: float | None) -> None:
        if not self.has_ended:
            client = joined_to(self.bench, f"joined-{len(self.wishes)}", linger_s=linger_s)
            self.wishes.append(Wish(client, linger_s))

    def leave(self, wish: Wish) -> None:
        if not wish.is_here or self.has_ended:
            return
        wish.is_here = False
        wish.client.leave()
        if wish.cause is not None:
            return
        if wish.linger_s is None:
            self.end(wish, Cause.CLIENT_GONE)
        else:
            wish.until_s = self.bench.clock() + wish.linger_s

    def come_back(self, wish: Wish) -> None:
        if not wish.is_here and wish.cause is None:
            wish.client.follow()
            wish.is_here, wish.until_s = True, None

    def stop(self, wish: Wish) -> None:
        self.bench.pump.parties.detach(wish.client.party, Cause.CLIENT_STOP)
        if wish.cause is None:
            self.end(wish, Cause.CLIENT_STOP)

    def wait(self, seconds: float) -> None:
        self.bench.clock.now_s += seconds
        self.bench.pump.expire(self.bench.clock())
        for wish in self.open:
            if wish.until_s is not None and self.bench.clock() >= wish.until_s:
                self.end(wish, Cause.CLIENT_GONE)

    def check(self) -> None:
        pump = self.bench.pump
        assert (pump.log.end is not None) is self.has_ended
        assert self.bench.generation.aborted == self.has_ended
        for wish in self.wishes:
            record = pump.record_of(wish.client.party)
            assert record.cause is wish.cause
            assert record.state.is_terminal is (wish.cause is not None)
            assert (record.ended_at is None) is (wish.cause is None)
            if wish is not self.wishes[0]:
                assert record.bill == (None if wish.cause is None else Bill())


LINGERS = st.sampled_from([None, 1.0, 3.0, 10.0])
STEPS = st.one_of(
    st.tuples(st.just("join"), LINGERS),
    st.tuples(st.sampled_from(["leave", "come_back", "stop"]), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 2.0, 5.0])),
)


@settings(max_examples=200, deadline=None)
@given(LINGERS, st.lists(STEPS, max_size=25))
def test_the_engine_works_exactly_as_long_as_anybody_wants_the_log(linger_s: float | None, steps: list[Any]) -> None:
    model = Model(bench(linger_s=linger_s))
    model.wishes.append(Wish(first_of(model.bench), linger_s))
    for name, value in steps:
        chosen = model.wishes[value % len(model.wishes)] if isinstance(value, int) else value
        getattr(model, name)(chosen)
        model.check()


@pytest.mark.parametrize("count", [2, 500])
def test_many_leave_in_any_order_and_the_last_one_stops_the_engine(count: int) -> None:
    run = bench()
    clients = [first_of(run), *(joined_to(run, f"other-{number}") for number in range(count - 1))]
    for client in (*clients[::2], *reversed(clients[1::2])):
        assert not run.generation.aborted
        client.leave()
    assert run.generation.aborted == 1
