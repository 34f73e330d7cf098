"""Requests that go from key to key: against the simulator, which knows keys, and against bytes on a socket."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from headrace.engines.openai import KeyRing, OpenAIEngine, UpstreamKey
from headrace.engines.openai.connector import Connector
from headrace.engines.openai.dialect import OPENAI
from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.generation import HTTPGeneration
from headrace.engines.openai.limits import Limits
from headrace.engines.openai.url import BaseURL
from headrace.engines.scripted import SimulatorServer
from headrace.protocol.chat import ChatStreamDecoder
from headrace.types.engine import EngineRequest
from headrace.types.outcome import Cause

if TYPE_CHECKING:
    from tests.engines.openai.conftest import Eventually, Listener, Peer, Serve, Wire


WAIT_S = 10


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorServer]:
    async with SimulatorServer() as server:
        yield server


def secret(name: str) -> str:
    return f"sk-hunter2-{name}"


def ring(names: str, clock: Callable[[], float] = time.monotonic) -> KeyRing:
    return KeyRing([UpstreamKey(f"env:{name}", secret(name)) for name in names], clock=clock)


def teach(simulator: SimulatorServer, **keys: dict[str, Any]) -> None:
    """Have the simulator treat each key so."""
    known = [{"name": name, "key": secret(name), **treatment} for name, treatment in keys.items()]
    simulator.keys.set(json.dumps({"keys": known}).encode(), now_s=time.monotonic())


def chat(**script: Any) -> bytes:
    messages = [{"role": "user", "content": "x"}]
    return json.dumps({"model": "scripted", "stream": True, "messages": messages, "simulate": script}).encode()


def content(listener: Listener) -> str:
    deltas = [choice["delta"] for line in listener.lines for choice in json.loads(line)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def running(keys: KeyRing) -> list[int]:
    return [found.running for found in keys.states()]


async def test_a_request_moves_to_the_next_key_and_has_one_answer(
    simulator: SimulatorServer, listener: Listener
) -> None:
    teach(simulator, a={"status": 429, "retry_after": 9}, b={"status": 403}, c={"status": 401}, d={})
    keys = ring("abcd")
    async with OpenAIEngine(simulator.url, keys=keys) as engine:
        generation = listener.start(engine, chat(text="Hello there"))
        end = await listener.ended()
        assert end.cause is None
        assert content(listener) == "Hello there"
        assert isinstance(generation, HTTPGeneration)
        assert generation.key_name == "env:d"
        assert engine.active() == 0
        assert engine.redials == 0
    found = [(record.key, record.status, record.body_bytes) for record in simulator.records.all()]
    size = len(chat(text="Hello there"))
    assert found == [("a", 429, size), ("b", 403, size), ("c", 401, size), ("d", 200, size)]
    assert running(keys) == [0, 0, 0, 0]
    assert [(s.is_resting, s.is_retired, s.rejected) for s in keys.states()] == [
        (True, False, 1),
        (False, False, 1),
        (False, True, 1),
        (False, False, 0),
    ]


async def test_a_request_that_nobody_watches_moves_as_well(
    simulator: SimulatorServer, listener: Listener, eventually: Eventually
) -> None:
    teach(simulator, a={"status": 429}, b={})
    async with OpenAIEngine(simulator.url, keys=ring("ab")) as engine:
        generation = listener.start(engine, chat(text="Hello"))
        generation.watch(None)

        def has_ended() -> bool:
            listener.take(generation.read())
            return generation.end is not None

        await eventually(has_ended)
    assert (listener.end.cause, content(listener), listener.calls) == (None, "Hello", 0)


async def test_one_refused_key_is_one_loud_line_without_its_value(
    simulator: SimulatorServer, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    teach(simulator, a={"status": 401}, b={})
    async with OpenAIEngine(simulator.url, keys=ring("ab")) as engine:
        listeners = [listener, *(type(listener)() for _ in range(9))]
        for one in listeners:
            one.start(engine, chat(text="Hello"))
        for one in listeners:
            assert (await one.ended()).cause is None
        listener.start(engine, chat(text="Hello"))
        await listener.until(lambda: content(listener) == "HelloHello")
    assert [record.getMessage().count("env:a") for record in caplog.records if record.levelno >= logging.ERROR] == [1]
    assert "hunter2" not in caplog.text
    assert [record.key for record in simulator.records.all()].count("a") == 5


async def test_running_streams_do_not_notice_new_keys(
    serve: Serve,
    wire: type[Wire],
    listener: Listener,
    open_descriptors: Callable[[], int],
    eventually: Eventually,
) -> None:
    go = asyncio.Event()
    seen: list[str] = []

    async def engine(peer: Peer) -> None:
        seen.append((await peer.request())[1]["authorization"][-1])
        await peer.send(wire.HEAD + wire.chunk(wire.event("one")))
        await go.wait()
        await peer.send(wire.chunk(wire.event("two")) + wire.chunk(wire.DONE) + wire.END)
        await peer.gone()

    double = await serve(engine)
    before = open_descriptors()
    keys = ring("ab")
    async with OpenAIEngine(double.url, keys=keys) as engine_:
        listeners = [type(listener)() for _ in range(200)]
        for one in listeners:
            one.start(engine_)
        await eventually(lambda: all(one.lines for one in listeners))
        assert (running(keys), seen.count("a"), seen.count("b")) == ([100, 100], 100, 100)
        keys.replace([UpstreamKey("env:c", secret("c")), UpstreamKey("env:b", secret("d"))])
        listeners.append(type(listener)())
        listeners[-1].start(engine_)
        await eventually(lambda: len(seen) == 201)
        assert seen[-1] == "c", "the key that is new has the least to do"
        assert all(one.generation is not None and one.generation.end is None for one in listeners)
        go.set()
        for one in listeners:
            assert (await one.ended()).cause is None
            assert one.lines == [wire.line("one"), wire.line("two")]
    assert running(keys) == [0, 0]
    await eventually(lambda: open_descriptors() <= before)


async def test_load_is_even(simulator: SimulatorServer, listener: Listener, eventually: Eventually) -> None:
    keys = ring("abc")
    teach(simulator, a={}, b={}, c={})
    async with OpenAIEngine(simulator.url, keys=keys) as engine:
        body = chat(fault={"kind": "silence_before"})
        generations = [engine.start(EngineRequest(body=body), lambda: None) for _ in range(60)]
        assert running(keys) == [20, 20, 20]
        await eventually(lambda: len(simulator.records.all()) == 60)
        for generation in generations:
            generation.abort()
        assert running(keys) == [0, 0, 0]
        await eventually(lambda: simulator.records.summary().outcomes == {"client_closed": 60})
    names = [record.key for record in simulator.records.all()]
    assert sorted(map(names.count, "abc")) == [20, 20, 20]


# When no key is left.


async def test_while_all_keys_rest_nothing_is_asked(simulator: SimulatorServer, listener: Listener) -> None:
    teach(simulator, a={"status": 429, "retry_after": 30}, b={"status": 429, "retry_after": 20})
    now_s = 0.0
    keys = ring("ab", clock=lambda: now_s)
    async with OpenAIEngine(simulator.url, keys=keys) as engine:
        listener.start(engine, chat(text="Hello"))
        end = await listener.ended()
        assert (end.cause, end.status, end.retry_after_s) == (Cause.UPSTREAM_REJECTED, 429, 20.0)
        assert end.error_code == "rate_limit_exceeded"
        assert len(simulator.records.all()) == 2
        now_s = 5.0
        refused = type(listener)()
        generation = refused.start(engine, chat(text="Hello"))
        assert generation.end is not None
        assert (refused.calls, engine.active()) == (0, 0), "nobody is called from inside start"
        end = await refused.ended()
        await refused.until(lambda: refused.calls)
        assert (end.cause, end.status, end.retry_after_s) == (Cause.UPSTREAM_REJECTED, 429, 15.0)
        assert (generation.is_accepted, generation.malformed_chunks, generation.is_saturated) == (False, 0, False)
        assert len(simulator.records.all()) == 2
        now_s = 20.0
        teach(simulator, a={}, b={})
        listener.start(engine, chat(text="Hello"))
        await listener.until(lambda: content(listener) == "Hello")
    assert simulator.records.all()[-1].key == "b"


async def test_a_refused_request_may_be_aborted_before_it_learns_so(listener: Listener) -> None:
    keys = ring("a", clock=lambda: 0.0)
    lease = keys.take()
    assert lease is not None
    assert not lease.move(429, 5.0)
    async with OpenAIEngine("http://127.0.0.1:1", keys=keys) as engine:
        listener.start(engine).abort()
        again = listener.start(engine)
        again.watch(None)
        await asyncio.sleep(0.01)
        assert not listener.calls
        again.watch(listener.ready)
        await listener.until(lambda: listener.calls)


async def test_a_listener_that_fails_to_learn_of_a_refusal_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    keys = ring("a", clock=lambda: 0.0)
    lease = keys.take()
    assert lease is not None
    assert not lease.move(401, None)
    async with OpenAIEngine("http://127.0.0.1:1", keys=keys) as engine:
        assert engine.start(EngineRequest(body=b"{}"), fail).end is not None
        await asyncio.sleep(0.01)
    assert "ZeroDivisionError" in caplog.text


async def test_when_all_keys_have_retired_the_relay_is_at_fault(simulator: SimulatorServer, listener: Listener) -> None:
    teach(simulator, a={"status": 401}, b={"status": 401})
    keys = ring("ab")
    async with OpenAIEngine(simulator.url, keys=keys) as engine:
        for _ in range(2):
            one = type(listener)()
            one.start(engine, chat(text="Hello"))
            end = await one.ended()
            assert (end.cause, end.status, end.retry_after_s) == (Cause.UPSTREAM_REJECTED, 502, None)
            assert "check the key" in (end.message or "")
            assert "hunter2" not in repr(end)
        assert len(simulator.records.all()) == 2
        keys.replace([UpstreamKey("env:a", secret("new"))])
        teach(simulator, new={})
        listener.start(engine, chat(text="Hello"))
        assert (await listener.ended()).cause is None


@pytest.mark.parametrize(
    ("treatments", "status", "retry_after_s"),
    [
        ([{"status": 429, "retry_after": 8}, {"status": 401}], 429, 8.0),
        ([{"status": 401}, {"status": 429, "retry_after": 8}], 429, 8.0),
        ([{"status": 403}, {"status": 429}], 429, 1.0),
        ([{"status": 403}, {"status": 401}], 502, None),
        ([{"status": 429}, {"status": 400}], 400, None),
        ([{"status": 401}, {"status": 500}], 502, None),
    ],
    ids=str,
)
async def test_the_end_is_the_one_that_helps_most(
    simulator: SimulatorServer,
    listener: Listener,
    treatments: list[dict[str, Any]],
    status: int,
    retry_after_s: float | None,
) -> None:
    first, second = treatments
    teach(simulator, a=first, b=second)
    async with OpenAIEngine(simulator.url, keys=ring("ab", clock=lambda: 0.0)) as engine:
        listener.start(engine, chat(text="Hello"))
        end = await listener.ended()
    assert (end.cause, end.status, end.retry_after_s) == (Cause.UPSTREAM_REJECTED, status, retry_after_s)
    assert [record.key for record in simulator.records.all()] == ["a", "b"]


async def test_of_no_key_a_message_shows_anything(simulator: SimulatorServer, listener: Listener) -> None:
    body = json.dumps({"error": {"message": f"{secret('a')} {secret('ab')}", "code": secret("b")}})
    keys = KeyRing([UpstreamKey(name, secret(name)) for name in ("a", "ab", "b")], clock=lambda: 0.0)
    async with OpenAIEngine(simulator.url, keys=keys) as engine:
        listener.start(engine, chat(fault={"kind": "status", "code": 400, "body": body}))
        end = await listener.ended()
    assert (end.message, end.error_code) == ("*** ***", "***")


async def test_keys_and_one_key_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude"):
        OpenAIEngine("http://127.0.0.1:1", api_key="sk-a", keys=ring("a"))


# On the way from one key to the next.


async def test_reasons_that_do_not_come_hold_up_the_move_for_a_while_only(serve: Serve, wire: type[Wire]) -> None:
    async def engine(peer: Peer) -> None:
        _, headers, _ = await peer.request()
        if headers["authorization"].endswith("a"):
            await peer.send(b"HTTP/1.1 429 Slow\r\nContent-Length: 9\r\n\r\nsoon")
            await peer.gone()
        else:
            await peer.send(wire.answer("b"))

    limits = Limits(error_body_timeout_s=0.02)
    dialler = Dialler(BaseURL.parse((await serve(engine)).url), timeout_s=10, ssl_context=None)
    lease = ring("ab").take()
    assert lease is not None
    ended = asyncio.Event()
    lines: list[bytes] = []
    generation: HTTPGeneration | None = None

    def ready() -> None:
        assert generation is not None
        chunks = generation.read()
        lines.extend(chunks.lines() if chunks else ())
        if generation.end is not None:
            ended.set()

    async with Connector(dialler, limits) as connector:
        generation = HTTPGeneration(
            (b"POST / HTTP/1.1\r\n", b""),
            ready,
            connector=connector,
            limits=limits,
            lease=lease,
            dialect=OPENAI,
            decoder=lambda: ChatStreamDecoder(max_event_bytes=1000),
            on_over=lambda _: None,
        )
        await asyncio.wait_for(ended.wait(), WAIT_S)
    assert generation.end is not None
    assert (generation.end.cause, lines) == (None, [wire.line("b")])


async def test_a_pooled_connection_that_is_dead_is_redialled_with_the_same_key(
    serve: Serve, wire: type[Wire], listener: Listener
) -> None:
    seen: list[str] = []

    async def engine(peer: Peer) -> None:
        seen.append((await peer.request())[1]["authorization"][-1])
        if seen[-1] == "a":
            await peer.send(b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n")
            seen.append((await peer.request())[1]["authorization"][-1])
            # and closes without an answer
        else:
            await peer.send(wire.answer("b"))

    keys = ring("ab")
    async with OpenAIEngine((await serve(engine)).url, keys=keys) as engine_:
        listener.start(engine_)
        assert (await listener.ended()).cause is None
        assert engine_.redials == 1
    assert (seen, listener.lines, running(keys)) == (["a", "b", "b"], [wire.line("b")], [0, 0])


@pytest.mark.parametrize("phase", ["reading reasons", "dialling", "waiting"])
async def test_abort_on_the_way_is_seen_at_once_and_leaves_nothing(
    serve: Serve, listener: Listener, phase: str, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def engine(peer: Peer) -> None:
        _, headers, _ = await peer.request()
        if headers["authorization"].endswith("b"):
            reached.set()
        elif phase == "reading reasons":
            await peer.send(b"HTTP/1.1 429 Slow\r\nContent-Length: 9\r\n\r\n")
        else:
            if phase == "dialling":
                monkeypatch.setattr(Dialler, "dial", never)
            await peer.send(b"HTTP/1.1 429 Slow\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return
        await peer.gone()
        gone.set()

    async def never(_self: Dialler) -> None:
        try:
            reached.set()
            await asyncio.Event().wait()
        finally:
            gone.set()

    keys = ring("ab")
    async with OpenAIEngine((await serve(engine)).url, keys=keys) as engine_:
        generation = listener.start(engine_)
        if phase == "reading reasons":
            await listener.until(lambda: listener.calls)
            assert running(keys) == [1, 0]
        else:
            await asyncio.wait_for(reached.wait(), WAIT_S)
            assert running(keys) == [0, 1]
        calls = listener.calls
        generation.abort()
        generation.abort()
        assert (running(keys), engine_.active()) == ([0, 0], 0)
        await asyncio.wait_for(gone.wait(), WAIT_S)
        await eventually(lambda: not engine_._connector._tasks._tasks)
        assert (listener.calls, generation.end, engine_.idle_connections) == (calls, None, 0)


async def test_an_engine_that_goes_away_on_the_way_returns_the_key(
    serve: Serve, wire: type[Wire], listener: Listener
) -> None:
    async def engine(peer: Peer) -> None:
        _, headers, _ = await peer.request()
        if headers["authorization"].endswith("a"):
            await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            await peer.request()
            await peer.send(wire.HEAD + wire.chunk(wire.event("x")))

    keys = ring("ab")
    async with OpenAIEngine((await serve(engine)).url, keys=keys) as engine_:
        listener.start(engine_)
        assert (await listener.ended()).cause is Cause.UPSTREAM_CLOSED
    assert (running(keys), listener.lines) == ([0, 0], [wire.line("x")])


async def test_leaving_the_engine_returns_the_keys(simulator: SimulatorServer, listener: Listener) -> None:
    keys = ring("ab")
    async with OpenAIEngine(simulator.url, keys=keys) as engine:
        for _ in range(4):
            listener.start(engine, chat(fault={"kind": "silence_before"}))
        assert running(keys) == [2, 2]
    assert running(keys) == [0, 0]


async def test_models_are_asked_for_with_a_key_that_is_good(simulator: SimulatorServer) -> None:
    teach(simulator, a={"status": 401}, b={})
    keys = ring("ab")
    async with OpenAIEngine(simulator.url, keys=keys) as engine:
        assert list(await engine.models()) == ["scripted"]
        assert engine.keys is keys
    assert [found.is_retired for found in keys.states()] == [True, False]
