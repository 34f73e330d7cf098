"""The attempts of one stream: how the pump goes from one to the next, and what is noted of each."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.pump.fakes import Bench, FakeEngine, FakeGeneration, ManualClock, Road, text

from headrace.errors import Overloaded
from headrace.policy.quote import Quote, Rate
from headrace.policy.retry import RetryPolicy
from headrace.policy.timeouts import Timeouts
from headrace.pump.attempts import Attempts
from headrace.pump.part import Part
from headrace.types.attempt import Attempt, AttemptKind
from headrace.types.engine import Capabilities, EngineEnd
from headrace.types.ids import Offset
from headrace.types.outcome import Cause, End, State, TokenSource
from headrace.types.record import Record

CLOSED = EngineEnd(cause=Cause.UPSTREAM_CLOSED)
ORDERLY = EngineEnd()
SERVER_ERROR = EngineEnd(cause=Cause.UPSTREAM_REJECTED, upstream_status=503, message="no room")
REFUSED = EngineEnd(cause=Cause.UPSTREAM_REJECTED, upstream_status=400, status=400)

CHEAP = Quote(input=Rate(Decimal(1)), cached_input=Rate(Decimal(1)), output=Rate(Decimal(2)))
DEAR = Quote(input=Rate(Decimal(30)), cached_input=Rate(Decimal(30)), output=Rate(Decimal(90)))

# Notes


def part(tokens: int = 0, usage: dict[str, Any] | None = None) -> Part:
    return Part(engine_usage=usage, tokens=tokens, unlogged_tokens=0, prompt_bytes=40)


def usage_of(prompt: int, completion: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def begun() -> Attempts:
    return Attempts("a", "a-model", started_at=100.0)


def next_of(attempts: Attempts, engine: str, kind: AttemptKind) -> None:
    attempts.next(engine, f"{engine}-model", kind, at=110.0, waited_s=0.12345)


def test_one_attempt_is_no_list() -> None:
    attempts = begun()
    attempts.answered(at=101.0, offset=Offset(1))
    assert attempts.rows(part(5), None, ended_at=102.0, cause=Cause.STOP) == []
    assert len(attempts) == 1


def test_each_attempt_has_its_row() -> None:
    attempts = begun()
    attempts.failed(SERVER_ERROR, part(), None, at=105.0)
    next_of(attempts, "b", AttemptKind.FAILOVER)
    first, second = attempts.rows(part(), None, ended_at=None, cause=None)
    assert first == Attempt(
        engine="a",
        model="a-model",
        kind=AttemptKind.FIRST,
        started_at=100.0,
        ended_at=105.0,
        cause=Cause.UPSTREAM_REJECTED,
        status=503,
        message="no room",
    )
    assert second == Attempt(engine="b", model="b-model", kind=AttemptKind.FAILOVER, started_at=110.0, waited_s=0.123)
    assert (len(attempts), attempts.engine, attempts.model, attempts.kind) == (2, "b", "b-model", AttemptKind.FAILOVER)


def test_while_the_next_one_is_waited_for_there_are_only_those_that_ended() -> None:
    attempts = begun()
    attempts.failed(CLOSED, part(), None, at=105.0)
    assert [row.ended_at for row in attempts.rows(part(), None, ended_at=None, cause=None)] == [105.0]


def test_an_end_without_a_word_is_a_closed_connection() -> None:
    attempts = begun()
    attempts.failed(ORDERLY, part(), None, at=105.0)
    (row,) = attempts.rows(part(), None, ended_at=None, cause=None)
    assert row.cause is Cause.UPSTREAM_CLOSED


def test_what_gave_no_answer_costs_nothing_and_the_rest_its_own_price() -> None:
    attempts = begun()
    attempts.failed(CLOSED, part(), DEAR, at=105.0)
    next_of(attempts, "b", AttemptKind.RETRY)
    attempts.answered(at=111.0, offset=Offset(0))
    attempts.failed(CLOSED, part(3), DEAR, at=112.0)
    next_of(attempts, "c", AttemptKind.CONTINUATION)
    attempts.answered(at=113.0, offset=Offset(4))
    rows = attempts.rows(part(2, usage_of(20, 4)), CHEAP, ended_at=114.0, cause=Cause.STOP)
    assert [(row.prompt_tokens, row.completion_tokens, row.nano_usd) for row in rows] == [
        (0, 0, 0),
        (10, 3, DEAR.cost(10, 0, 3)),
        (20, 4, CHEAP.cost(20, 0, 4)),
    ]
    assert [row.tokens_source for row in rows][1:] == [TokenSource.COUNTED, TokenSource.ENGINE]


def test_one_that_had_nothing_to_add_to_a_whole_answer_is_paid_for_what_it_says_it_read() -> None:
    attempts = begun()
    attempts.answered(at=101.0, offset=Offset(1))
    attempts.failed(CLOSED, part(3), CHEAP, at=105.0)
    next_of(attempts, "b", AttemptKind.CONTINUATION)
    for cause, usage, tokens in (
        (Cause.STOP, usage_of(20, 0), 20),
        (Cause.STOP, None, 0),
        (Cause.UPSTREAM_CLOSED, usage_of(20, 0), 0),
    ):
        last = attempts.rows(part(0, usage), CHEAP, ended_at=112.0, cause=cause)[-1]
        assert (last.prompt_tokens, last.nano_usd) == (tokens, CHEAP.cost(tokens, 0, 0))


def test_without_a_price_only_what_gave_no_answer_has_a_cost() -> None:
    attempts = begun()
    attempts.answered(at=101.0, offset=Offset(1))
    attempts.failed(CLOSED, part(3), None, at=105.0)
    next_of(attempts, "b", AttemptKind.CONTINUATION)
    rows = attempts.rows(part(), None, ended_at=None, cause=None)
    assert [row.nano_usd for row in rows] == [None, 0]


def test_a_seam_is_between_two_attempts_that_have_answered() -> None:
    attempts = begun()
    attempts.answered(at=101.0, offset=Offset(1))
    attempts.failed(SERVER_ERROR, part(3), None, at=105.0)
    next_of(attempts, "b", AttemptKind.CONTINUATION)
    attempts.failed(CLOSED, part(), None, at=106.0)
    next_of(attempts, "c", AttemptKind.REPLAY)
    assert attempts.seams == []
    attempts.answered(at=111.0, offset=Offset(4))
    (seam,) = attempts.seams
    assert (seam.offset, seam.at, seam.kind, seam.cause) == (4, 111.0, AttemptKind.REPLAY, Cause.UPSTREAM_REJECTED)
    assert (seam.from_engine, seam.to_engine, seam.to_model) == ("a", "c", "c-model")


@pytest.mark.parametrize("kind", [AttemptKind.RETRY, AttemptKind.FAILOVER])
def test_an_answer_that_begins_later_has_no_seam(kind: AttemptKind) -> None:
    attempts = begun()
    attempts.failed(CLOSED, part(), None, at=105.0)
    next_of(attempts, "b", kind)
    attempts.answered(at=111.0, offset=Offset(1))
    assert attempts.seams == []


# The way from one to the next


class Reader:
    """Keeps the log in memory from its beginning."""

    def __init__(self) -> None:
        self.position = Offset(0)

    def wake(self) -> None: ...


class Way:
    """A pump on a road of fake engines.

    Args:
        attempts: Name of the engine of each attempt, in their order.
        refuses: Number of an attempt whose engine is full.
        timeouts: Of the pump.
        road: More arguments of ``Road``.
    """

    def __init__(
        self, attempts: str, *, refuses: int | None = None, timeouts: Timeouts | None = None, **road: Any
    ) -> None:
        clock = ManualClock()
        self.generations = [FakeGeneration() for _ in attempts]
        given: dict[str, list[Any]] = {}
        for number, name in enumerate(attempts):
            refusal = Overloaded("full", retry_after_s=1) if number == refuses else None
            given.setdefault(name, []).append(refusal or self.generations[number])
        self.engines = {name: FakeEngine(*brought, name=name) for name, brought in sorted(given.items())}
        self.road = Road(self.engines, clock=clock, **road)
        self.bench = Bench(clock=clock, course=self.road.course, wants_usage=True, timeouts=timeouts)
        self.bench.log.follow(Reader())

    def bring(self, number: int, *objects: dict[str, Any], end: EngineEnd | None = None) -> None:
        """Let an attempt bring something, and perhaps end behind it."""
        generation = self.generations[number]
        generation.bring(*objects, end=end)
        for _ in range(2):
            self.bench.pump.tick(self.bench.clock())

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The chunks in the log."""
        self.bench.publish()
        segments = self.bench.log.window(Offset(0), 1 << 20) or []
        return [msgspec.json.decode(line) for segment in segments for line in segment.data.splitlines()]

    @property
    def text(self) -> str:
        choices = [choice for line in self.lines for choice in line.get("choices", [])]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def end(self) -> End:
        end = self.bench.log.end
        assert end is not None
        return end

    @property
    def record(self) -> Record:
        return self.bench.pump.record()

    @property
    def asked(self) -> int:
        return sum(len(engine.requests) for engine in self.engines.values())


def role(content: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk as it begins an attempt, with an identity of its own."""
    return {"choices": [{"index": 0, "delta": {"role": "assistant", "content": content}}], **more}


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"choices": [], "usage": usage_of(prompt, completion)}


def test_a_broken_answer_goes_on_as_one_answer() -> None:
    way = Way("ab")
    way.bring(0, role(id="x", created=1), text("one"), text(" "), end=CLOSED)
    way.bring(1, role(id="y", created=2), text(" "), text("two", finish="stop"), usage(12, 2), end=ORDERLY)
    lines = way.lines
    assert (way.text, way.end.state, way.end.cause) == ("one two", State.COMPLETED, Cause.STOP)
    assert {line.get("id", "x") for line in lines} == {"x"}
    assert sum("role" in choice["delta"] for line in lines for choice in line["choices"]) == 1
    # One usage at the end, that of both: the first engine's is our count, since it never said.
    assert [line["usage"] for line in lines if line.get("usage")] == [way.end.usage]
    assert way.end.usage is not None
    assert way.end.usage["completion_tokens"] == 2 + 2
    assert way.end.usage["prompt_tokens"] == 12 + way.record.attempts[0].prompt_tokens > 12
    assert way.end.tokens_source is TokenSource.COUNTED
    record = way.record
    assert [(row.engine, row.kind.value, row.cause) for row in record.attempts] == [
        ("a", "first", Cause.UPSTREAM_CLOSED),
        ("b", "continuation", Cause.STOP),
    ]
    (seam,) = record.seams
    assert (
        "".join(choice["delta"].get("content") or "" for line in lines[: seam.offset] for choice in line["choices"])
        == "one "
    )
    assert (record.engine, record.engine_model) == ("b", "b-model")


def test_a_retry_waits_for_its_time_and_no_tick_reads_meanwhile() -> None:
    way = Way("aa", policy=RetryPolicy(backoff_s=4))
    way.bring(0, end=SERVER_ERROR)
    assert (way.asked, way.bench.log.end, way.bench.scheduler.joined) == (1, None, set())
    way.bench.pass_time(1.9)
    assert way.asked == 1
    way.bench.pass_time(0.2)
    assert way.asked == 2
    way.bring(1, role(), text("one", finish="stop"), end=ORDERLY)
    assert (way.text, way.end.state, way.record.seams) == ("one", State.COMPLETED, [])
    assert [(row.kind.value, row.waited_s) for row in way.record.attempts] == [("first", 0.0), ("retry", 2.0)]


@pytest.mark.parametrize("is_stopped", [True, False])
def test_what_ends_during_a_wait_ends_at_once_and_nobody_is_asked(is_stopped: bool) -> None:
    way = Way("aa", policy=RetryPolicy(backoff_s=20), timeouts=Timeouts(deadline_s=1))
    way.bring(0, end=SERVER_ERROR)
    if is_stopped:
        way.bench.pump.stop(Cause.CLIENT_STOP)
    else:
        way.bench.pass_time(1.5)
    assert way.end.cause is (Cause.CLIENT_STOP if is_stopped else Cause.DEADLINE)
    way.bench.pass_time(100)
    assert (way.asked, len(way.record.attempts)) == (1, 1)
    bill = way.record.bill
    assert bill is not None
    assert (bill.prompt_tokens, bill.completion_tokens) == (0, 0)


def test_a_stop_during_a_wait_to_go_on_bills_what_had_come() -> None:
    way = Way("ab")
    way.bring(0, text("one"), text("two"), end=CLOSED)
    way.bring(1, end=SERVER_ERROR)
    way.bench.pump.stop(Cause.CLIENT_STOP)
    record = way.record
    assert (way.text, way.end.state, way.asked) == ("onetwo", State.CANCELLED, 2)
    assert record.bill is not None
    assert (record.bill.prompt_tokens, record.bill.completion_tokens) == (record.attempts[0].prompt_tokens, 2)


def test_a_stop_during_a_continuation_aborts_it_and_bills_both() -> None:
    way = Way("ab")
    way.bring(0, text("one"), end=CLOSED)
    way.bring(1, text("two"))
    way.bench.pump.stop(Cause.CLIENT_STOP)
    record = way.record
    assert way.generations[1].aborted == 1
    assert record.bill is not None
    assert record.bill.completion_tokens == record.generated_tokens == 2
    assert record.bill.prompt_tokens == sum(row.prompt_tokens for row in record.attempts)
    assert [row.cause for row in record.attempts] == [Cause.UPSTREAM_CLOSED, Cause.CLIENT_STOP]


def test_the_attempt_that_is_left_is_aborted() -> None:
    way = Way("ab")
    way.bring(0, text("one"), {"error": {"message": "out of memory", "type": "server_error"}})
    assert (way.generations[0].aborted, way.asked) == (1, 2)
    way.bring(1, text("two", finish="stop"), end=ORDERLY)
    assert (way.text, way.end.state) == ("onetwo", State.COMPLETED)


def test_what_the_left_attempt_still_sends_is_nobodys() -> None:
    way = Way("ab", timeouts=Timeouts(idle_s=1))
    way.bring(0, text("one"))
    way.bench.pass_time(1.2)
    way.bring(0, text("late"))
    way.bring(1, text("two", finish="stop"), end=ORDERLY)
    assert way.text == "onetwo"
    assert way.record.attempts[0].cause is Cause.UPSTREAM_STALLED


def test_an_engine_that_is_full_is_an_attempt_too() -> None:
    way = Way("aba", refuses=1, policy=RetryPolicy(backoff_s=1))
    way.bring(0, text("one"), end=CLOSED)
    assert [row.cause for row in way.record.attempts] == [Cause.UPSTREAM_CLOSED, Cause.UPSTREAM_REJECTED]
    way.bench.pass_time(2.5)
    way.bring(2, text("two", finish="stop"), end=ORDERLY)
    assert (way.text, way.end.state) == ("onetwo", State.COMPLETED)


def test_when_no_engine_goes_on_the_client_learns_of_the_break_and_not_of_the_refusals() -> None:
    way = Way("ab", capabilities={"a": Capabilities()})
    way.bring(0, text("one"), end=EngineEnd(cause=Cause.UPSTREAM_PROTOCOL, message="broken"))
    way.bring(1, end=REFUSED)
    end = way.end
    assert (way.text, end.state, end.cause, end.message, end.status) == (
        "one",
        State.TRUNCATED,
        Cause.UPSTREAM_PROTOCOL,
        "broken",
        None,
    )
    assert [row.status for row in way.record.attempts] == [None, 400]


@pytest.mark.parametrize(
    "delta",
    [
        {"refusal": "I would rather not"},
        {"reasoning_content": "Let me think"},
        {"reasoning": "Let me think"},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "look", "arguments": "{"}}]},
        {"function_call": {"name": "look", "arguments": "{"}},
        {"audio": {"data": "aGE="}},
    ],
)
@pytest.mark.parametrize("beside", [None, "one", "a text that is longer than a token"])
@pytest.mark.parametrize("before", [(), ("one",)])
def test_more_than_text_ends_with_its_attempt(
    delta: dict[str, Any], beside: str | None, before: tuple[str, ...]
) -> None:
    way = Way("ab", fields={"temperature": 0}, route={"replays": True})
    chunk = {"choices": [{"index": 0, "delta": {"content": beside, **delta}}]}
    way.bring(0, role(), *map(text, before), chunk, text("more"), end=CLOSED)
    assert (way.end.state, way.end.cause, way.asked) == (State.TRUNCATED, Cause.UPSTREAM_CLOSED, 1)


@pytest.mark.parametrize("delta", [{"reasoning_content": "Hm"}, {"tool_calls": [{"index": 0}]}, {"refusal": "no"}])
def test_a_continuation_that_brings_more_than_text_is_left_before_it(delta: dict[str, Any]) -> None:
    way = Way("ab")
    way.bring(0, text("one"), end=CLOSED)
    way.bring(1, {"choices": [{"index": 0, "delta": delta}]}, text("two", finish="stop"), end=ORDERLY)
    assert (way.text, way.generations[1].aborted) == ("one", 1)
    assert way.record.seams == []


def test_of_a_replay_that_differs_nothing_follows_and_its_engine_is_not_asked_again() -> None:
    way = Way("aba", capabilities={name: Capabilities() for name in "ab"}, fields={"seed": 1}, route={"replays": True})
    way.bring(0, text("one"), text("two"), end=CLOSED)
    way.bring(1, text("one"), text("three"), text("four"))
    assert (way.text, way.generations[1].aborted) == ("onetwo", 1)
    way.bench.pass_time(5)
    way.bring(2, text("onetwothree", finish="stop"), end=ORDERLY)
    assert (way.text, way.end.state) == ("onetwothree", State.COMPLETED)
    assert [(row.kind.value, row.cause) for row in way.record.attempts] == [
        ("first", Cause.UPSTREAM_CLOSED),
        ("replay", Cause.UPSTREAM_PROTOCOL),
        ("replay", Cause.STOP),
    ]


def test_a_replay_in_other_pieces_is_one_answer() -> None:
    way = Way("ab", capabilities={name: Capabilities() for name in "ab"}, fields={"seed": 1}, route={"replays": True})
    way.bring(0, text("one"), text("two"), end=CLOSED)
    way.bring(1, text("o"), text("netw"), text("othree", finish="stop"), end=ORDERLY)
    assert (way.text, way.end.state, [seam.kind for seam in way.record.seams]) == (
        "onetwothree",
        State.COMPLETED,
        [AttemptKind.REPLAY],
    )


def test_a_budget_that_is_spent_ends_a_stream_whatever_could_follow() -> None:
    way = Way("ab")
    way.bring(0, text("one"))
    way.bench.pump.stop(Cause.BUDGET, "the budget is spent")
    assert (way.end.cause, way.asked) == (Cause.BUDGET, 1)


def test_silence_before_the_first_token_is_left_for_another_engine() -> None:
    way = Way("ab", policy=RetryPolicy(silence_s=5))
    way.bench.pass_time(5.2)
    assert (way.asked, way.generations[0].aborted) == (2, 1)
    way.bring(1, text("two", finish="stop"), end=ORDERLY)
    rows = way.record.attempts
    assert [(row.engine, row.kind.value, row.cause) for row in rows] == [
        ("a", "first", Cause.FIRST_TOKEN_TIMEOUT),
        ("b", "failover", Cause.STOP),
    ]
    assert way.record.retry_budget_s == 120.0
