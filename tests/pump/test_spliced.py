"""A later attempt as the pump reads it."""

from __future__ import annotations

import msgspec
from tests.pump.fakes import FakeGeneration, text

from headrace.protocol.splice import Mode, Splice
from headrace.pump.spliced import SplicedGeneration
from headrace.types.engine import EngineEnd
from headrace.types.outcome import Cause


def spliced(mode: Mode = Mode.CONTINUE, delivered: str = "one ") -> tuple[FakeGeneration, SplicedGeneration]:
    generation = FakeGeneration()
    return generation, SplicedGeneration(generation, Splice(mode=mode, delivered=delivered, roles={0}, id="x"))


def read(later: SplicedGeneration) -> str:
    """Return the text of the next chunks."""
    chunks = later.read()
    lines = [] if chunks is None else [msgspec.json.decode(line) for line in chunks.lines()]
    assert {line["id"] for line in lines} <= {"x"}
    return "".join(line["choices"][0]["delta"]["content"] or "" for line in lines)


def test_chunks_go_on_where_the_log_stands_and_what_came_once_more_is_counted() -> None:
    generation, later = spliced()
    generation.bring(text(" "), text("two"))
    assert read(later) == "two"
    assert later.dropped_tokens == 1


def test_chunks_of_which_nothing_follows_are_none_but_counted() -> None:
    generation, later = spliced(Mode.REPLAY, "one two")
    generation.bring(text("one"), text(" "))
    assert later.read() is None
    generation.bring(text("two"), text(" three"))
    assert read(later) == " three"
    assert later.dropped_tokens == 3


def test_nothing_there_is_nothing() -> None:
    _, later = spliced()
    assert later.read() is None
    assert later.end is None
    assert later.dropped_tokens == 0


def test_an_answer_that_differs_ends_there_although_its_engine_goes_on() -> None:
    generation, later = spliced(Mode.REPLAY, "one two")
    generation.bring(text("one"), text(" three"))
    assert later.read() is None
    assert generation.end is None
    assert later.end is not None
    assert later.end.cause is Cause.UPSTREAM_PROTOCOL
    assert "differs" in (later.end.message or "")


def test_its_engines_end_is_its_own_otherwise() -> None:
    generation, later = spliced()
    end = EngineEnd(cause=Cause.UPSTREAM_CLOSED)
    generation.bring(text("two"), end=end)
    assert read(later) == "two"
    assert later.end is end


def test_all_else_is_the_generations() -> None:
    generation, later = spliced()
    told: list[int] = []
    later.watch(lambda: told.append(1))
    assert not later.is_accepted
    generation.bring(text("two"))
    assert (later.is_accepted, told) == (True, [1])
    later.watch(None)
    generation.bring(text("three"))
    assert told == [1]
    later.read(77)
    assert generation.asked_bytes == 77
    generation.malformed_chunks, generation.is_saturated = 3, True
    assert (later.malformed_chunks, later.is_saturated) == (3, True)
    later.abort()
    assert generation.aborted == 1
