"""The engine as a whole: connections that outlive a request, requests that fail to connect, and what is left at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from headrace.engines.openai import OpenAIEngine
from headrace.errors import ClientRequestError, SettingsError
from headrace.types.engine import Engine, EngineRequest
from headrace.types.outcome import Cause

if TYPE_CHECKING:
    from tests.engines.openai.conftest import Authority, EngineDouble, Eventually, Handler, Listener, Peer, Serve, Wire


KEY = "sk-0123456789"
WAIT_S = 10


def answering(wire: type[Wire], requests: list[bytes] | None = None) -> Handler:
    """Return an engine that answers every request on a connection."""

    async def engine(peer: Peer) -> None:
        while True:
            _, _, body = await peer.request()
            if requests is not None:
                requests.append(body)
            await peer.send(wire.answer("a"))

    return engine


async def finish(listener: Listener, engine: OpenAIEngine, body: bytes = b"{}") -> None:
    listener.start(engine, body)
    await listener.ended()
    assert listener.end.cause is None


async def test_it_is_an_engine() -> None:
    engine: Engine = OpenAIEngine("http://127.0.0.1:1")
    assert engine.name == "openai"
    assert engine.capabilities.reports_usage


@pytest.mark.parametrize(("url", "key"), [("http://user:hunter2@host", None), ("http://host", "hunter2\n")])
def test_bad_settings_are_refused_without_being_shown(url: str, key: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        OpenAIEngine(url, api_key=key)
    assert "hunter2" not in str(caught.value)


def test_the_key_is_not_in_the_repr() -> None:
    assert KEY not in repr(OpenAIEngine("http://127.0.0.1:1", api_key=KEY))


async def test_request_arrives_as_given(serve: Serve, wire: type[Wire], listener: Listener) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def engine(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(wire.answer("a"))

    async with OpenAIEngine((await serve(engine)).url, api_key=KEY) as engine_:
        listener.start(engine_, b'{"model":"m"}', headers=(("x-title", "t"),))
        await listener.ended()
    line, headers, body = seen[0]
    assert (line, body) == ("POST /v1/chat/completions HTTP/1.1", b'{"model":"m"}')
    assert (headers["authorization"], headers["x-title"]) == (f"Bearer {KEY}", "t")


async def test_a_request_of_20_mib_arrives_whole(serve: Serve, wire: type[Wire], listener: Listener) -> None:
    requests: list[bytes] = []
    body = bytes(range(256)) * (20 * 4096)
    async with OpenAIEngine((await serve(answering(wire, requests))).url) as engine:
        await finish(listener, engine, body)
    assert requests == [body]


async def test_an_engine_may_reject_a_request_that_it_has_not_read(
    serve: Serve, wire: type[Wire], listener: Listener
) -> None:
    async def engine(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\nbig")
        await peer.gone()

    async with OpenAIEngine((await serve(engine)).url) as engine_:
        listener.start(engine_, b"x" * (20 << 20))
        await listener.ended()
        assert engine_.idle_connections == 0
    assert (listener.end.status, listener.end.message) == (413, "big")


async def test_a_bad_header_starts_nothing(listener: Listener) -> None:
    async with OpenAIEngine("http://127.0.0.1:1") as engine:
        with pytest.raises(ClientRequestError):
            engine.start(EngineRequest(body=b"{}", headers=(("x", "a\r\nb: c"),)), listener.ready)
        assert engine.active() == 0


# Connections.


async def test_a_connection_is_used_again_and_then_written_to_at_once(
    serve: Serve, wire: type[Wire], listener: Listener
) -> None:
    double = await serve(answering(wire))
    async with OpenAIEngine(double.url) as engine:
        for _ in range(3):
            await finish(listener, engine)
            assert engine.idle_connections == 1
        assert double.connections == 1
        listener.start(engine)
        assert engine.idle_connections == 0
        assert engine._connector._tasks._tasks == set(), "no task stands between a request and a pooled connection"
        await listener.ended()
    assert listener.lines == [wire.line("a")] * 4


@pytest.mark.parametrize(
    "tail", [[b"0\r\n", b"\r\n"], [b"0\r\nx: y\r\n", b"\r\n"]], ids=["split framing", "split trailers"]
)
async def test_framing_after_done_delays_the_connection_not_the_end(
    serve: Serve, wire: type[Wire], listener: Listener, tail: list[bytes], eventually: Eventually
) -> None:
    go = asyncio.Event()

    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.HEAD + wire.chunk(wire.DONE), tail[0])
        await go.wait()
        await peer.send(tail[1])
        await peer.gone()

    async with OpenAIEngine((await serve(engine)).url) as engine_:
        await finish(listener, engine_)
        assert (engine_.active(), engine_.idle_connections) == (0, 0)
        go.set()
        await eventually(lambda: engine_.idle_connections)


async def test_leaving_while_framing_is_awaited_closes_the_connection(
    serve: Serve, wire: type[Wire], listener: Listener
) -> None:
    gone = asyncio.Event()

    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.HEAD + wire.chunk(wire.DONE))
        await peer.gone()
        gone.set()

    async with OpenAIEngine((await serve(engine)).url) as engine_:
        await finish(listener, engine_)
    await asyncio.wait_for(gone.wait(), WAIT_S)


@pytest.mark.parametrize(
    "extra", [b"stray", b"HTTP/1.1 408 Timeout\r\n\r\n", None], ids=["bytes", "a response", "an end"]
)
async def test_an_idle_connection_is_dropped_when_anything_happens_on_it(
    serve: Serve, wire: type[Wire], listener: Listener, extra: bytes | None, eventually: Eventually
) -> None:
    go = asyncio.Event()

    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.answer("a"))
        await go.wait()
        if extra is not None:
            await peer.send(extra)
            await peer.gone()

    async with OpenAIEngine((await serve(engine)).url) as engine_:
        await finish(listener, engine_)
        assert engine_.idle_connections == 1
        go.set()
        await eventually(lambda: not engine_.idle_connections)


async def test_excess_bytes_keep_a_connection_out_of_the_pool(
    serve: Serve, wire: type[Wire], listener: Listener
) -> None:
    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.answer("a") + b"HTTP")
        await peer.gone()

    async with OpenAIEngine((await serve(engine)).url) as engine_:
        await finish(listener, engine_)
        assert engine_.idle_connections == 0


async def test_a_pooled_connection_found_dead_is_redialled_once(
    serve: Serve, wire: type[Wire], listener: Listener
) -> None:
    requests: list[bytes] = []
    double: EngineDouble

    async def engine(peer: Peer) -> None:
        requests.append((await peer.request())[2])
        if double.connections != 2:
            await peer.send(wire.answer("a"))
            if double.connections == 1:
                await peer.request()  # the second request dies with the connection
        else:
            await peer.send(wire.answer("b"))
            await peer.gone()

    double = await serve(engine)
    async with OpenAIEngine(double.url) as engine_:
        await finish(listener, engine_, b"1")
        await finish(listener, engine_, b"2")
        assert engine_.redials == 1
    assert listener.lines == [wire.line("a"), wire.line("b")]
    assert requests == [b"1", b"2"]
    assert double.connections == 2


async def test_a_redialled_request_that_dies_again_ends(serve: Serve, wire: type[Wire], listener: Listener) -> None:
    double: EngineDouble

    async def engine(peer: Peer) -> None:
        await peer.request()
        if double.connections == 1:
            await peer.send(wire.answer("a"))
            await peer.request()
        # without an answer: the fresh connection dies as well

    double = await serve(engine)
    async with OpenAIEngine(double.url) as engine_:
        await finish(listener, engine_)
        listener.start(engine_)
        await listener.ended()
    assert listener.end.cause is Cause.UPSTREAM_CLOSED
    assert double.connections == 2


async def test_a_pooled_connection_that_dies_after_a_byte_is_not_redialled(
    serve: Serve, wire: type[Wire], listener: Listener
) -> None:
    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.answer("a"))
        await peer.request()
        await peer.send(b"H")

    double = await serve(engine)
    async with OpenAIEngine(double.url) as engine_:
        await finish(listener, engine_)
        listener.start(engine_)
        await listener.ended()
        assert engine_.redials == 0
    assert listener.end.cause is Cause.UPSTREAM_CLOSED
    assert double.connections == 1


async def test_a_refused_connection_is_unreachable(listener: Listener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with OpenAIEngine(f"http://127.0.0.1:{port}") as engine:
        generation = listener.start(engine)
        assert generation.read() is None
        await listener.ended()
        assert engine.active() == 0
    end = listener.end
    assert (end.cause, end.status) == (Cause.UPSTREAM_UNREACHABLE, 502)
    assert "refused" in (end.message or "")


# TLS.


async def test_over_tls_everything_is_the_same(
    serve: Serve, wire: type[Wire], listener: Listener, authority: Authority
) -> None:
    double = await serve(answering(wire), tls=authority.server("127.0.0.1"))
    url = f"https://127.0.0.1:{double.port}/v1"
    async with OpenAIEngine(url, ssl_context=authority.client()) as engine:
        for _ in range(3):
            await finish(listener, engine)
    assert listener.lines == [wire.line("a")] * 3
    assert double.connections == 1


async def test_over_tls_unwatched_events_come_in_one_read(
    serve: Serve, wire: type[Wire], listener: Listener, authority: Authority
) -> None:
    go, sent = asyncio.Event(), asyncio.Event()

    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.HEAD + wire.chunk(wire.event("0")))
        await go.wait()
        await peer.send(*(wire.chunk(wire.event(str(number))) for number in range(1, 20)))
        await peer.arrived()
        sent.set()
        await peer.gone()

    double = await serve(engine, tls=authority.server("127.0.0.1"))
    async with OpenAIEngine(f"https://127.0.0.1:{double.port}", ssl_context=authority.client()) as engine_:
        generation = listener.start(engine_)
        await listener.until(lambda: listener.lines)
        generation.watch(None)
        calls = listener.calls
        go.set()
        await sent.wait()
        await asyncio.sleep(0.01)
        assert listener.calls == calls
        listener.take(generation.read())
        assert len(listener.lines) == 20


async def test_over_tls_an_abort_is_seen_at_once(
    serve: Serve, wire: type[Wire], listener: Listener, authority: Authority
) -> None:
    gone = asyncio.Event()

    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.HEAD + wire.chunk(wire.event("0")))
        await peer.gone()
        gone.set()

    double = await serve(engine, tls=authority.server("127.0.0.1"))
    async with OpenAIEngine(f"https://127.0.0.1:{double.port}", ssl_context=authority.client()) as engine_:
        generation = listener.start(engine_)
        await listener.until(lambda: listener.lines)
        generation.abort()
        await asyncio.wait_for(gone.wait(), WAIT_S)


async def test_an_untrusted_certificate_is_unreachable_and_says_why(
    serve: Serve, wire: type[Wire], listener: Listener, authority: Authority
) -> None:
    double = await serve(answering(wire), tls=authority.server("127.0.0.1"))
    async with OpenAIEngine(f"https://127.0.0.1:{double.port}", api_key=KEY) as engine:
        listener.start(engine)
        await listener.ended()
    end = listener.end
    assert end.cause is Cause.UPSTREAM_UNREACHABLE
    assert "certificate" in (end.message or "")
    assert KEY not in repr(end)


# Models, and leaving.


async def test_models_that_were_given_are_not_asked_for() -> None:
    async with OpenAIEngine("http://127.0.0.1:1", models=["m"]) as engine:
        assert list(await engine.models()) == ["m"]


async def test_models_are_asked_for_otherwise(serve: Serve) -> None:
    async def engine(peer: Peer) -> None:
        assert (await peer.request())[0] == "GET /v1/models HTTP/1.1"
        await peer.send(b'HTTP/1.1 200 OK\r\n\r\n{"data":[{"id":"m"}]}')

    async with OpenAIEngine((await serve(engine)).url) as engine_:
        assert list(await engine_.models()) == ["m"]


async def test_leaving_aborts_and_closes_everything(
    serve: Serve, wire: type[Wire], listener: Listener, open_descriptors: Callable[[], int], eventually: Eventually
) -> None:
    async def engine(peer: Peer) -> None:
        _, _, body = await peer.request()
        await peer.send(wire.answer("a") if body == b"whole" else wire.HEAD)
        await peer.gone()

    double = await serve(engine)
    before = open_descriptors()
    tasks = len(asyncio.all_tasks())
    async with OpenAIEngine(double.url) as engine_:
        await finish(listener, engine_, b"whole")
        streaming = [listener.start(engine_, b"half") for _ in range(3)]
        await listener.until(lambda: all(generation.is_accepted for generation in streaming[-1:]))
        dialling = engine_.start(EngineRequest(body=b"{}"), lambda: None)
        assert engine_.active() == 4
        calls = listener.calls
    assert engine_.active() == 0
    assert listener.calls == calls
    assert dialling.end is None
    await eventually(lambda: open_descriptors() <= before and len(asyncio.all_tasks()) <= tasks)


async def test_an_error_inside_the_block_is_passed_on_as_it_is(
    serve: Serve, wire: type[Wire], listener: Listener
) -> None:
    double = await serve(answering(wire))

    async def fail() -> None:
        async with OpenAIEngine(double.url) as engine:
            listener.start(engine)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
