from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from headrace.engines.scripted import Script, ScriptedEngine, ScriptedGeneration
from headrace.engines.scripted.generation import READ_BYTES
from headrace.errors import ClientRequestError, Overloaded
from headrace.types.chunk import Chunks
from headrace.types.engine import Capabilities, Continuation, Engine, EngineEnd, EngineRequest, Generation
from headrace.types.outcome import Cause

Body = Callable[..., bytes]


def ignore() -> None:
    """Watch without looking."""


def start(engine: ScriptedEngine, body: bytes, on_ready: Callable[[], None] = ignore) -> ScriptedGeneration:
    return engine.start(EngineRequest(body=body), on_ready)


def contents(chunks: Chunks | None) -> list[Any]:
    return [choice.delta.content for view in chunks.views for choice in view.choices] if chunks else []


def drained(engine: ScriptedEngine, generation: ScriptedGeneration) -> tuple[list[Any], EngineEnd]:
    """Play to the end; return all contents, and how it ended."""
    engine.advance(86_400)
    got: list[Any] = []
    while generation.end is None:
        got += contents(generation.read())
    return got, generation.end


async def test_it_is_an_engine(body_of: Body) -> None:
    async with ScriptedEngine(manual=True) as scripted:
        engine: Engine = scripted
        generation: Generation = engine.start(EngineRequest(body=body_of()), ignore)
        assert (engine.name, await engine.models(), engine.active()) == ("scripted", ("scripted",), 1)
        assert generation.end is None


async def test_tokens_come_as_time_passes(body_of: Body) -> None:
    async with ScriptedEngine(Script(text="a b c", ttft_ms=100, itl_ms=20), manual=True) as engine:
        calls: list[str] = []
        generation = start(engine, body_of(), lambda: calls.append("ready"))
        assert not generation.is_accepted
        engine.advance(0)
        assert generation.is_accepted
        assert calls == ["ready"]
        assert generation.read() is None
        engine.advance(0.099)
        assert calls == ["ready"]
        engine.advance(0.001)
        assert contents(generation.read()) == ["", "a"]
        engine.advance(0.020)
        assert contents(generation.read()) == [" b"]
        engine.advance(0.020)
        assert generation.end is None
        assert contents(generation.read()) == [" c", None]
        assert generation.end == EngineEnd()
        assert len(calls) == 4
        assert engine.active() == 0


async def test_stepping_goes_from_moment_to_moment(body_of: Body) -> None:
    async with ScriptedEngine(Script(text="a b c", ttft_ms=100, itl_ms=20), manual=True) as engine:
        got: list[list[Any]] = []
        generation = start(engine, body_of(), lambda: got.append(contents(generation.read())))
        while generation.end is None:
            engine.advance()
        assert got == [[], ["", "a"], [" b"], [" c", None]]


async def test_read_on_the_tick_needs_no_calls(body_of: Body) -> None:
    async with ScriptedEngine(Script(text="a b c d", itl_ms=20), manual=True) as engine:
        calls: list[str] = []
        generation = start(engine, body_of(), lambda: calls.append("ready"))
        generation.watch(None)
        engine.advance(0.050)
        assert calls == []
        assert contents(generation.read()) == ["", "a", " b", " c"]
        assert generation.is_accepted
        generation.watch(lambda: calls.append("ready"))
        engine.advance(0.010)
        assert calls == ["ready"]
        assert contents(generation.read()) == [" d", None]


async def test_lines_belong_to_views(body_of: Body) -> None:
    async with ScriptedEngine(manual=True) as engine:
        generation = start(engine, body_of({"deltas": ["a\n", "\r\n\u2028", "é"]}))
        chunks = generation.read()
        assert chunks is not None
        assert len(chunks.lines()) == len(chunks.views)
        for line, view in zip(chunks.lines(), chunks.views, strict=True):
            assert json.loads(line)["choices"][0]["delta"].get("content") == view.choices[0].delta.content


async def test_a_full_read_says_so_and_loses_nothing(body_of: Body) -> None:
    async with ScriptedEngine(manual=True) as engine:
        calls: list[str] = []
        generation = start(engine, body_of({"tokens": 1000}), lambda: calls.append("ready"))
        engine.advance(0)
        first = generation.read()
        assert first is not None
        assert generation.is_saturated
        assert READ_BYTES <= len(first.data) < READ_BYTES + 1000
        engine.advance(0.001)
        assert calls == ["ready", "ready"]
        count = len(first.views)
        while generation.end is None:
            count += len(contents(generation.read()))
        assert count == 1002
        assert not generation.is_saturated


async def test_abort_is_silent_and_frees(body_of: Body) -> None:
    async with ScriptedEngine(Script(itl_ms=10), manual=True) as engine:
        calls: list[str] = []
        generation = start(engine, body_of(), lambda: calls.append("ready"))
        generation.abort()
        generation.abort()
        engine.advance(10)
        assert (calls, generation.read(), engine.active()) == ([], None, 0)


async def test_leaving_the_engine_aborts(body_of: Body) -> None:
    async with ScriptedEngine(manual=True) as engine:
        generation = start(engine, body_of({"fault": {"kind": "silence_before"}}))
    assert engine.active() == 0
    assert generation.read() is None


async def test_a_full_engine_refuses(body_of: Body) -> None:
    async with ScriptedEngine(manual=True, max_active=1) as engine:
        generation = start(engine, body_of())
        with pytest.raises(Overloaded):
            start(engine, body_of())
        generation.abort()
        start(engine, body_of())


@pytest.mark.parametrize("wrong", [{"simulate": {"itl_ms": "x"}}, {"model": "other"}, {"stream": False}])
async def test_what_can_never_be_served_is_refused(body_of: Body, wrong: dict[str, Any]) -> None:
    async with ScriptedEngine(manual=True) as engine:
        with pytest.raises(ClientRequestError):
            start(engine, body_of(**wrong))
        assert engine.active() == 0


async def test_only_manual_time_can_be_advanced() -> None:
    async with ScriptedEngine() as engine:
        with pytest.raises(RuntimeError, match="manual"):
            engine.advance(1)


ALL = ["", "a", " b", " c"]
CLOSED = Cause.UPSTREAM_CLOSED


@pytest.mark.parametrize(
    ("fault", "got", "cause"),
    [
        ({"kind": "close_before_head"}, [], CLOSED),
        ({"kind": "reset_before_head"}, [], CLOSED),
        ({"kind": "early_eof_head"}, [], CLOSED),
        ({"kind": "silence_before", "ms": 5000}, [*ALL, None], None),
        ({"kind": "redirect"}, [], Cause.UPSTREAM_REJECTED),
        ({"kind": "status", "code": 200, "body": "<html>"}, [], Cause.UPSTREAM_PROTOCOL),
        ({"kind": "fin", "at": 1}, ["", "a"], CLOSED),
        ({"kind": "rst", "at": 0}, [], CLOSED),
        ({"kind": "cut_chunked", "at": 1}, ["", "a"], CLOSED),
        ({"kind": "cut_close_framed", "at": 1, "inside": True}, ["", "a"], None),
        ({"kind": "clean_end"}, ALL, None),
        ({"kind": "broken_framing", "at": 1}, ["", "a"], Cause.UPSTREAM_PROTOCOL),
        ({"kind": "compressed_bomb"}, [], Cause.UPSTREAM_PROTOCOL),
        ({"kind": "silence", "ms": 5000, "at": 1}, [*ALL, None], None),
        ({"kind": "keepalive", "for_ms": 5000, "at": 1}, [*ALL, None], None),
        ({"kind": "no_done"}, [*ALL, None], None),
        ({"kind": "split_utf8"}, [*ALL, None], None),
        ({"kind": "repeat_event_id", "at": 1}, [*ALL, None], None),
        ({"kind": "repeat_text", "at": 1}, ["", "a", "ha", "ha", " b", " c", None], None),
        ({"kind": "malformed_json", "at": 1}, [*ALL, None], None),
        ({"kind": "huge_event", "at": 1, "bytes": 3}, ["", "a", "xxx", " b", " c", None], None),
        ({"kind": "huge_event", "at": 1}, ["", "a"], Cause.EVENT_TOO_LARGE),
        ({"kind": "burst", "at": 1, "events": 2}, ["", "a", " 0", " 1", " b", " c", None], None),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
async def test_faults_end_as_they_deserve(
    body_of: Body, fault: dict[str, Any], got: list[Any], cause: Cause | None
) -> None:
    async with ScriptedEngine(manual=True) as engine:
        generation = start(engine, body_of({"text": "a b c", "fault": fault}))
        contents, end = drained(engine, generation)
        assert (contents, end.cause) == (got, cause)
        assert (end.message is None) == (cause is None)
        assert generation.malformed_chunks == (fault["kind"] == "malformed_json")


async def test_a_rejection_keeps_what_the_engine_said(body_of: Body) -> None:
    async with ScriptedEngine(manual=True) as engine:
        generation = start(engine, body_of({"fault": {"kind": "status", "code": 429, "retry_after": 1.5}}))
        _, end = drained(engine, generation)
        assert end == EngineEnd(
            cause=Cause.UPSTREAM_REJECTED,
            message="simulated status 429",
            status=429,
            upstream_status=429,
            retry_after_s=1.5,
            error_type="rate_limit_error",
        )
        assert not generation.is_accepted


async def test_an_overloaded_engine_says_so_in_its_own_words(body_of: Body) -> None:
    fault = {"kind": "status", "code": 529, "error_type": "overloaded_error", "message": "Overloaded"}
    body = '{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    async with ScriptedEngine(manual=True) as engine:
        for said in (fault, {"kind": "status", "code": 529, "body": body}):
            _, end = drained(engine, start(engine, body_of({"fault": said})))
            assert (end.upstream_status, end.error_type, end.message) == (529, "overloaded_error", "Overloaded")


async def test_capabilities_follow_the_default_unless_told() -> None:
    default = Script(continues=Continuation.PREFIX, context_tokens=9, usage="never")
    found = ScriptedEngine(default).capabilities
    assert found == Capabilities(reports_usage=False, continuation=Continuation.PREFIX, context_tokens=9)
    assert ScriptedEngine(default, capabilities=Capabilities()).capabilities == Capabilities()


async def test_a_rejection_may_say_anything(body_of: Body) -> None:
    fault = {"kind": "status", "code": 503, "retry_after": "Fri, 31 Dec 1999 23:59:59 GMT", "body": "<html>"}
    async with ScriptedEngine(manual=True) as engine:
        _, end = drained(engine, start(engine, body_of({"fault": fault})))
        assert (end.status, end.retry_after_s, end.error_type) == (503, None, None)
        assert end.message == "the engine answered with status 503"


async def test_an_error_event_is_seen_by_the_reader(body_of: Body) -> None:
    async with ScriptedEngine(manual=True) as engine:
        generation = start(engine, body_of({"text": "a b", "fault": {"kind": "error_event", "at": 1, "message": "oh"}}))
        engine.advance(1)
        chunks = generation.read()
        assert chunks is not None
        assert chunks.views[-1].error["message"] == "oh"
        assert generation.end == EngineEnd()


@pytest.mark.parametrize("fault", [{"kind": "silence", "at": 1}, {"kind": "keepalive", "at": 1}])
async def test_endless_silence_never_calls(body_of: Body, fault: dict[str, Any]) -> None:
    async with ScriptedEngine(manual=True) as engine:
        calls: list[str] = []
        generation = start(engine, body_of({"text": "a b", "fault": fault}), lambda: calls.append("ready"))
        engine.advance(0)
        assert contents(generation.read()) == ["", "a"]
        engine.advance(100)
        assert calls == ["ready"]
        assert generation.read() is None
        assert generation.end is None
        assert engine.active() == 1


async def test_chunks_may_bear_the_time(body_of: Body) -> None:
    async with ScriptedEngine(manual=True) as engine:
        engine.advance(12.5)
        generation = start(engine, body_of({"tokens": 1, "timestamps": True}))
        chunks = generation.read()
        assert chunks is not None
        assert {json.loads(line)["sent_at"] for line in chunks.lines()} == {12.5}


async def test_it_runs_on_the_loop(body_of: Body) -> None:
    async with ScriptedEngine(Script(tokens=3, itl_ms=1)) as engine:
        done = asyncio.Event()
        got: list[Any] = []

        def on_ready() -> None:
            got.extend(contents(generation.read()))
            if generation.end is not None:
                done.set()

        generation = start(engine, body_of(), on_ready)
        await done.wait()
        assert len(got) == 5
