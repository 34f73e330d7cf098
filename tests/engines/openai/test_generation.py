"""One request at a time, as a pump sees it, against bytes on a socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from headrace.engines.openai import OpenAIEngine
from headrace.engines.openai.connector import Connector
from headrace.engines.openai.dialect import OPENAI
from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.generation import HTTPGeneration
from headrace.engines.openai.keys import KeyRing
from headrace.engines.openai.limits import Limits
from headrace.engines.openai.url import BaseURL
from headrace.protocol.chat import ChatStreamDecoder
from headrace.types.engine import EngineRequest
from headrace.types.outcome import Cause

if TYPE_CHECKING:
    from tests.engines.openai.conftest import Eventually, Handler, Listener, Peer, Serve, Wire


WAIT_S = 10


def playing(*parts: bytes, hold: bool = True) -> Handler:
    """Return an engine that answers one request with these writes, then waits or closes."""

    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(*parts)
        if hold:
            await peer.gone()

    return engine


async def outcome(
    serve: Serve,
    listener: Listener,
    *parts: bytes,
    hold: bool = False,
    max_head_bytes: int = 1000,
    max_event_bytes: int = 1000,
    max_error_body_bytes: int = 1000,
) -> tuple[Cause | None, list[bytes]]:
    double = await serve(playing(*parts, hold=hold))
    async with OpenAIEngine(
        double.url,
        max_head_bytes=max_head_bytes,
        max_event_bytes=max_event_bytes,
        max_error_body_bytes=max_error_body_bytes,
    ) as engine:
        generation = listener.start(engine)
        end = await listener.ended()
        assert engine.active() == 0
        assert generation.read() is None
        if end.cause not in (None, Cause.UPSTREAM_REJECTED):
            assert end.status == 502
        return end.cause, listener.lines


# The end of a stream.


async def test_done_ends_it_although_the_message_goes_on(serve: Serve, listener: Listener, wire: type[Wire]) -> None:
    parts = [wire.HEAD, wire.chunk(wire.event("a")), wire.chunk(wire.DONE)]
    assert await outcome(serve, listener, *parts, hold=True) == (None, [wire.line("a")])
    assert listener.generation is not None
    assert listener.generation.is_accepted


async def test_the_end_of_a_framed_body_is_an_orderly_end(serve: Serve, listener: Listener, wire: type[Wire]) -> None:
    parts = [wire.HEAD, wire.chunk(wire.event("a")), wire.END]
    assert await outcome(serve, listener, *parts, hold=True) == (None, [wire.line("a")])


async def test_the_end_of_an_unframed_body_is_an_orderly_end(
    serve: Serve, listener: Listener, wire: type[Wire]
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    assert await outcome(serve, listener, head + wire.event("a")) == (None, [wire.line("a")])


async def test_an_end_inside_the_body_loses_nothing_before_it(
    serve: Serve, listener: Listener, wire: type[Wire]
) -> None:
    cut = wire.HEAD + wire.chunk(wire.event("a")) + wire.chunk(wire.event("b"))[:30]
    assert await outcome(serve, listener, cut) == (Cause.UPSTREAM_CLOSED, [wire.line("a")])


async def test_a_reset_inside_the_body_loses_nothing_that_was_read(
    serve: Serve, listener: Listener, wire: type[Wire]
) -> None:
    go = asyncio.Event()

    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire.HEAD + wire.chunk(wire.event("a")))
        await go.wait()
        peer.reset()

    async with OpenAIEngine((await serve(engine)).url) as engine_:
        listener.start(engine_)
        await listener.until(lambda: listener.lines)
        go.set()
        await listener.ended()
    assert listener.end.cause is Cause.UPSTREAM_CLOSED


async def test_broken_framing_loses_nothing_before_it(serve: Serve, listener: Listener, wire: type[Wire]) -> None:
    data = wire.HEAD + wire.chunk(wire.event("a")) + b"zz\r\n"
    assert await outcome(serve, listener, data, hold=True) == (Cause.UPSTREAM_PROTOCOL, [wire.line("a")])


async def test_an_event_over_the_limit_loses_nothing_before_it(
    serve: Serve, listener: Listener, wire: type[Wire]
) -> None:
    data = wire.HEAD + wire.chunk(wire.event("a") + wire.event("b" * 500))
    found = await outcome(serve, listener, data, hold=True, max_event_bytes=200)
    assert found == (Cause.EVENT_TOO_LARGE, [wire.line("a")])


async def test_chunks_that_are_no_objects_are_counted(serve: Serve, listener: Listener, wire: type[Wire]) -> None:
    data = wire.HEAD + wire.chunk(b"data: nonsense\n\n" + wire.event("a") + wire.DONE) + wire.END
    assert await outcome(serve, listener, data) == (None, [wire.line("a")])
    assert listener.generation is not None
    assert listener.generation.malformed_chunks == 1


# The head.


async def test_a_head_alone_is_acceptance(serve: Serve, listener: Listener, wire: type[Wire]) -> None:
    async with OpenAIEngine((await serve(playing(wire.HEAD))).url) as engine:
        generation = listener.start(engine)
        assert not generation.is_accepted
        await listener.until(lambda: generation.is_accepted)
        assert generation.end is None
        assert generation.malformed_chunks == 0


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"choices":',
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 3000,
        b"220 mail.example ESMTP\r\n",
    ],
    ids=["json", "compressed", "untyped json", "no content", "long head", "no http"],
)
async def test_an_answer_that_is_no_stream_breaks_the_protocol(serve: Serve, listener: Listener, head: bytes) -> None:
    found = await outcome(serve, listener, head, hold=True)
    assert found == (Cause.UPSTREAM_PROTOCOL, [])


async def test_a_stream_without_content_type_is_known_by_its_beginning(
    serve: Serve, listener: Listener, wire: type[Wire]
) -> None:
    go = asyncio.Event()

    async def engine(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n\n")
        await go.wait()
        await peer.send(wire.event("a"))

    async with OpenAIEngine((await serve(engine)).url) as engine_:
        generation = listener.start(engine_)
        await listener.until(lambda: listener.calls)
        assert not generation.is_accepted
        go.set()
        assert (await listener.ended()).cause is None
    assert listener.lines == [wire.line("a")]


async def test_an_empty_stream_without_content_type_ends_orderly(serve: Serve, listener: Listener) -> None:
    assert await outcome(serve, listener, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", hold=True) == (None, [])


async def test_no_answer_at_all_on_a_fresh_connection_is_not_repeated(serve: Serve, listener: Listener) -> None:
    double = await serve(playing(hold=False))
    async with OpenAIEngine(double.url) as engine:
        listener.start(engine)
        await listener.ended()
        assert engine.redials == 0
    assert listener.end.cause is Cause.UPSTREAM_CLOSED
    assert double.connections == 1


# Rejections.

REASONS = b'{"error":{"message":"too long","type":"invalid_request_error","code":"context","param":"messages"}}'


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("is_watched", [True, False])
async def test_the_reasons_of_a_rejection_are_read_whether_or_not_anybody_watches(
    serve: Serve, listener: Listener, step: int, is_watched: bool
) -> None:
    data = b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: %d\r\n\r\n%s" % (len(REASONS), REASONS)
    parts = [data[start : start + step] for start in range(0, len(data), step)]
    async with OpenAIEngine((await serve(playing(*parts))).url) as engine:
        generation = listener.start(engine)
        if is_watched:
            await listener.ended()
        else:
            generation.watch(None)
            async with asyncio.timeout(WAIT_S):
                while generation.end is None:
                    assert generation.read() is None
                    await asyncio.sleep(0.001)
        assert engine.idle_connections == 1, "a whole error response leaves the connection usable"
    end = listener.end
    assert (end.cause, end.status, end.message) == (Cause.UPSTREAM_REJECTED, 429, "too long")
    assert (end.error_type, end.error_code, end.error_param, end.retry_after_s) == (
        "invalid_request_error",
        "context",
        "messages",
        3.0,
    )
    assert not generation.is_accepted


@pytest.mark.parametrize(
    ("rest", "hold"),
    [(b"Content-Length: 9999999\r\n\r\n" + b"x" * 9000, True), (b"Content-Length: 99\r\n\r\n" + REASONS[:50], False)],
    ids=["longer than the limit", "cut short"],
)
async def test_reasons_that_never_end_do_not_hold_up_the_end(
    serve: Serve, listener: Listener, rest: bytes, hold: bool
) -> None:
    found = await outcome(serve, listener, b"HTTP/1.1 500 Oops\r\n" + rest, hold=hold)
    assert found == (Cause.UPSTREAM_REJECTED, [])
    assert len(listener.end.message or "") < 2000


async def test_the_time_for_reasons_is_bounded(serve: Serve) -> None:
    double = await serve(playing(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nsoon"))
    limits = Limits(error_body_timeout_s=0.02)
    told = asyncio.Event()
    generation: HTTPGeneration | None = None

    def ready() -> None:
        assert generation is not None
        generation.read()
        if generation.end is not None:
            told.set()

    dialler = Dialler(BaseURL.parse(double.url), timeout_s=10, ssl_context=None)
    lease = KeyRing(clock=time.monotonic).take()
    assert lease is not None
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
        await asyncio.wait_for(told.wait(), WAIT_S)
    assert generation.end is not None
    assert (generation.end.cause, generation.end.status) == (Cause.UPSTREAM_REJECTED, 502)


# Who decides when to read.


async def test_unwatched_it_stays_silent_and_one_read_brings_everything(
    serve: Serve, listener: Listener, wire: type[Wire]
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

    async with OpenAIEngine((await serve(engine)).url) as engine_:
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
        assert generation.read() is None
        assert not generation.is_saturated


async def test_watching_again_tells_what_waits(serve: Serve, listener: Listener, wire: type[Wire]) -> None:
    async with OpenAIEngine((await serve(playing(wire.answer("a")))).url) as engine:
        generation = listener.start(engine)
        generation.watch(None)
        await asyncio.sleep(0.02)
        assert not listener.calls
        generation.watch(listener.ready)
        await listener.ended()
    assert listener.lines == [wire.line("a")]


async def test_an_end_that_came_unwatched_is_told_when_watched(
    serve: Serve, listener: Listener, wire: type[Wire]
) -> None:
    async with OpenAIEngine((await serve(playing(wire.answer("a")))).url) as engine:
        generation = listener.start(engine)
        generation.watch(None)
        async with asyncio.timeout(WAIT_S):
            while generation.end is None:
                listener.take(generation.read())
                await asyncio.sleep(0.001)
        generation.watch(listener.ready)
        await listener.until(lambda: listener.calls)


async def test_a_flood_is_read_in_bounded_portions(serve: Serve, listener: Listener, wire: type[Wire]) -> None:
    count = 300
    event = wire.event("x" * 16_000)

    async with OpenAIEngine((await serve(playing(wire.HEAD, *[wire.chunk(event)] * count, wire.END))).url) as engine:
        generation = listener.start(engine)
        await listener.until(lambda: generation.is_accepted)
        generation.watch(None)
        largest, was_saturated = 0, False
        async with asyncio.timeout(WAIT_S):
            while generation.end is None:
                chunks = generation.read()
                listener.take(chunks)
                largest = max(largest, len(chunks.data) if chunks else 0)
                was_saturated |= generation.is_saturated
                await asyncio.sleep(0.005)
    assert len(listener.lines) == count
    assert largest < 1_200_000
    assert was_saturated


# Abort, in every phase.


@pytest.mark.parametrize("phase", ["sending", "waiting", "streaming", "unwatched", "rejected"])
async def test_abort_is_seen_by_the_engine_at_once(
    serve: Serve, listener: Listener, wire: type[Wire], phase: str
) -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def engine(peer: Peer) -> None:
        if phase != "sending":
            await peer.request()
        if phase in ("streaming", "unwatched"):
            await peer.send(wire.HEAD + wire.chunk(wire.event("a")))
        elif phase == "rejected":
            await peer.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\n")
        reached.set()
        await peer.gone()
        gone.set()

    async with OpenAIEngine((await serve(engine)).url) as engine_:
        generation = listener.start(engine_, b"x" * ((20 << 20) if phase == "sending" else 10))
        await reached.wait()
        if phase in ("streaming", "unwatched"):
            await listener.until(lambda: listener.lines)
        elif phase == "rejected":
            await listener.until(lambda: listener.calls)
        if phase == "unwatched":
            generation.watch(None)
        calls = listener.calls
        generation.abort()
        generation.abort()
        assert engine_.active() == 0
        await asyncio.wait_for(gone.wait(), WAIT_S)
        assert listener.calls == calls
        assert generation.read() is None
        assert generation.end is None
        assert engine_.idle_connections == 0


async def test_abort_while_dialling_cancels_it(
    listener: Listener, open_descriptors: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = asyncio.Event()

    async def dial(self: Dialler) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    monkeypatch.setattr(Dialler, "dial", dial)
    async with OpenAIEngine("http://127.0.0.1:1") as engine:
        generation = listener.start(engine)
        await asyncio.sleep(0)
        assert engine.active() == 1
        generation.abort()
        assert engine.active() == 0
        await asyncio.wait_for(cancelled.wait(), WAIT_S)
    assert not listener.calls


async def test_abort_just_after_the_dial_closes_the_new_connection(serve: Serve, listener: Listener) -> None:
    asked = asyncio.Event()

    async def engine(peer: Peer) -> None:
        assert await peer.reader.read(1) == b""
        asked.set()

    double = await serve(engine)
    async with OpenAIEngine(double.url) as engine_:
        connection = await engine_._dialler.dial()
        generation = listener.start(engine_)
        assert isinstance(generation, HTTPGeneration)
        generation.abort()
        generation.connected(connection)
        assert connection.is_closed
    assert not listener.calls


async def test_abort_after_the_end_does_not_touch_the_connection(
    serve: Serve, listener: Listener, wire: type[Wire]
) -> None:
    async with OpenAIEngine((await serve(playing(wire.answer("a")))).url) as engine:
        generation = listener.start(engine)
        await listener.ended()
        generation.abort()
        assert engine.idle_connections == 1


# Faults of ours.


async def test_a_listener_that_fails_ends_its_own_generation_only(
    serve: Serve, wire: type[Wire], listener: Listener, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    double = await serve(playing(wire.answer("a")))
    async with OpenAIEngine(double.url) as engine:

        def fail() -> None:
            raise ZeroDivisionError

        broken = engine.start(EngineRequest(body=b"{}"), fail)
        listener.start(engine)
        await listener.ended()
        await eventually(lambda: broken.end is not None)
    assert broken.end is not None
    assert broken.end.cause is Cause.UPSTREAM_PROTOCOL
    assert "ZeroDivisionError" in caplog.text


async def test_a_decoder_that_fails_ends_its_own_generation_only(
    serve: Serve,
    wire: type[Wire],
    listener: Listener,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        is_done = False
        malformed_chunks = 0

        def __init__(self, **_settings: object) -> None:
            pass

        def receive_data(self, data: bytes) -> None:
            raise ZeroDivisionError

    monkeypatch.setattr("headrace.engines.openai.engine.ChatStreamDecoder", Broken)
    assert await outcome(serve, listener, wire.answer("a")) == (Cause.UPSTREAM_PROTOCOL, [])
    assert "ZeroDivisionError" in caplog.text
