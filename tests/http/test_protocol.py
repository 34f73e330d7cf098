from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import uvicorn
from uvicorn.server import ServerState

from headrace.http.asgi import Receive, Scope, Send
from headrace.http.protocol import (
    MAX_DEAF_BYTES,
    MAX_HEADERS,
    SPARE_CONNECTIONS,
    Connections,
    RelayProtocol,
    relay_protocol,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONG_S = 60.0
MOST_S = 20.0


class App:
    """Answers at once, or streams until told to stop; keeps what it saw."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.is_streaming = asyncio.Event()
        self.finish = asyncio.Event()
        self.is_gone = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["path"] == "/stream":
            await self._stream(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.is_gone.set()
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        await self._answer(send, b"x" * int(scope["path"][1:] or 2))

    async def _answer(self, send: Send, body: bytes) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        self.is_streaming.set()
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch(receive))
            finisher = group.create_task(self.finish.wait())
            await asyncio.wait([watcher, finisher], return_when=asyncio.FIRST_COMPLETED)
            watcher.cancel()
            finisher.cancel()
        if not self.is_gone.is_set():
            await send({"type": "http.response.body", "body": b"ended"})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.is_gone.set()


class Served:
    """One listening server of the protocol."""

    def __init__(self, **limits: Any) -> None:
        self.app = App()
        self.refused: list[int] = []
        defaults: dict[str, Any] = {"max_connections": 100, "max_head_bytes": 2000, "head_timeout_s": LONG_S}
        self.connections = Connections(**(defaults | limits), on_refused=self.refused.append)
        self.port = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Served]:
        loop = asyncio.get_running_loop()
        protocol = relay_protocol(self.connections)
        config = uvicorn.Config(self.app, http=protocol, ws="none", lifespan="off", log_config=None)
        state = ServerState()
        server = await loop.create_server(lambda: protocol(config, state, {}, loop), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            # pytest's own timeout does not reach into this event loop.
            async with asyncio.timeout(MOST_S):
                yield self
        finally:
            server.close()
            for connection in tuple(state.connections):
                connection.transport.abort()
            for task in tuple(state.tasks):
                task.cancel()
            await asyncio.gather(*state.tasks, return_exceptions=True)
            await server.wait_closed()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


class Client:
    """A peer that sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer that has a length."""
        status, headers = await self.head()
        return status, headers, await self.reader.readexactly(int(headers["content-length"]))

    async def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines)

    async def is_closed(self) -> bool:
        return await self.reader.read() == b""

    async def error(self) -> tuple[int, str]:
        """Read a refusal, and the end of the connection."""
        status, headers, body = await self.answer()
        assert headers["connection"] == "close"
        assert headers["content-type"] == "application/json"
        assert await self.is_closed()
        return status, msgspec.json.decode(body)["error"]["code"]


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0.001)


# --- what is as it was


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with Served()() as served, served.client() as client:
        for path, body in ((b"/3", b"xxx"), (b"/", b"xx"), (b"/1", b"x")):
            client.send(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            assert (await client.answer())[::2] == (200, body)
        assert len(served.connections.awaiting_head) == 1
    await until(lambda: not served.connections.served)
    assert len(served.connections.awaiting_head) == 0


async def test_a_request_in_single_bytes_is_whole() -> None:
    async with Served()() as served, served.client() as client:
        for byte in b"\r\nPOST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer())[0] == 200
        assert served.app.bodies == [b"abc"]


async def test_a_body_may_be_larger_than_a_head() -> None:
    body = b"b" * 500_000
    async with Served()() as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert (await client.answer())[0] == 200
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (b"c" * 1000, b"d", b"e" * 3000))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks)
        assert (await client.answer())[0] == 200
    assert served.app.bodies == [body, b"c" * 1000 + b"d" + b"e" * 3000]


async def test_uvicorn_takes_the_class() -> None:
    served = Served()
    protocol = relay_protocol(served.connections)
    server = uvicorn.Server(
        uvicorn.Config(served.app, port=0, http=protocol, ws="none", lifespan="off", log_config=None)
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await until(lambda: server.started)
        served.port = server.servers[0].sockets[0].getsockname()[1]
        async with served.client() as client:
            client.send(GET)
            assert (await client.answer())[0] == 200
            server.should_exit = True
    assert served.connections.served == set()


# --- heads


async def test_a_head_that_never_ends_is_refused() -> None:
    async with Served()() as served, served.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1500)
        await asyncio.sleep(0.01)
        client.send(b"x" * 600)
        assert await client.error() == (431, "head_too_large")
        assert served.app.scopes == []
        assert served.refused == [431]


@pytest.mark.parametrize(
    "head", [b"/" + b"p" * 2000 + b" HTTP/1.1\r\n", b"/ HTTP/1.1\r\nX: " + b"x" * 2000 + b"\r\n"], ids=["url", "field"]
)
async def test_a_head_that_comes_whole_is_refused_when_it_is_too_large(head: bytes) -> None:
    async with Served()() as served, served.client() as client:
        client.send(b"GET " + head + b"Host: a\r\n\r\n")
        assert await client.error() == (431, "head_too_large")
        assert served.app.scopes == []


async def test_a_head_with_too_many_fields_is_refused() -> None:
    async with Served(max_head_bytes=100_000)() as served, served.client() as client:
        client.send(b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * (MAX_HEADERS + 1) + b"\r\n")
        assert await client.error() == (431, "head_too_large")
        assert served.app.scopes == []


async def test_empty_lines_without_end_are_refused() -> None:
    async with Served()() as served, served.client() as client:
        client.send(b"\r\n" * 1500)
        assert await client.error() == (431, "head_too_large")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_in_the_shape_of_openai(data: bytes) -> None:
    async with Served()() as served, served.client() as client:
        client.send(data)
        assert await client.error() == (400, "invalid_http")


async def test_a_failure_of_ours_is_no_fault_of_the_peer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Served()() as served, served.client() as client:
        monkeypatch.setattr("uvicorn.protocols.http.httptools_impl.RequestResponseCycle", None)
        client.send(GET)
        status, _, body = await client.answer()
    assert status == 500
    assert b"NoneType" not in body
    assert "could not be handled" in caplog.text


async def test_a_head_that_takes_too_long_is_refused() -> None:
    async with Served(head_timeout_s=0.05)() as served, served.client() as client:
        client.send(GET)
        await client.answer()
        client.send(GET[:10])
        assert await client.error() == (408, "head_timeout")


@pytest.mark.parametrize("first", [b"", b"\r\n", GET])
async def test_a_silent_connection_is_closed(first: bytes) -> None:
    async with Served(head_timeout_s=0.05)() as served, served.client() as client:
        client.send(first)
        if first == GET:
            await client.answer()
        assert await client.is_closed()
        assert served.refused == []


async def test_a_stream_may_take_longer_than_a_head() -> None:
    async with Served(head_timeout_s=0.03)() as served, served.client() as client:
        client.send(GET.replace(b"/", b"/stream", 1))
        await served.app.is_streaming.wait()
        await asyncio.sleep(0.1)
        served.app.finish.set()
        await client.head()
        assert (await client.reader.readuntil(b"0\r\n\r\n")).count(b"ended") == 1


async def test_a_body_behind_its_answer_must_end_in_time() -> None:
    async with Served(head_timeout_s=0.05)() as served, served.client() as client:
        client.send(b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
        served.app.finish.set()
        assert (await client.head())[0] == 200
        assert (await client.reader.read()).endswith(b"0\r\n\r\n")


async def test_a_peer_that_does_not_take_its_answer_is_dropped() -> None:
    async with Served(head_timeout_s=0.05)() as served:
        with socket.create_connection(("127.0.0.1", served.port)) as peer:
            peer.sendall(b"GET /30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: served.app.bodies)
            await until(lambda: not served.connections.served)


async def test_trailers_are_dropped() -> None:
    async with Served()() as served, served.client() as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nOrigin: b\r\nC: d\r\n\r\n"
        )
        assert (await client.answer())[0] == 200
        assert [name for name, _ in served.app.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("framing", [b"0\r\nX: " + b"x" * 3000, b"1;" + b"x" * 3000, b"0\r\n" + b"a: b\r\n" * 600])
async def test_framing_without_end_is_refused_and_the_app_learns_of_it(framing: bytes) -> None:
    async with Served()() as served, served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await until(lambda: served.app.scopes)
        client.send(framing)
        assert (await client.error())[0] == 431
        await served.app.is_gone.wait()


async def test_broken_framing_of_a_body_drops_an_answer_that_has_begun() -> None:
    async with Served()() as served, served.client() as client:
        client.send(b"POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await served.app.is_streaming.wait()
        client.send(b"zzz\r\n")
        await served.app.is_gone.wait()
        assert (await client.reader.read()).endswith(b"begun\r\n")


async def test_a_refusal_outlives_what_the_peer_still_sends() -> None:
    async with Served()() as served, served.client() as client:
        client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000)
        assert await client.error() == (431, "head_too_large")
        client.send(b"x" * (MAX_DEAF_BYTES + 1))
        await until(lambda: not served.connections.served)


# --- the number of connections


async def test_connections_beyond_the_limit_are_told_so() -> None:
    async with Served(max_connections=1)() as served, served.client() as first:
        first.send(GET)
        await first.answer()
        async with served.client() as second:
            second.send(GET)
            status, headers, _ = await second.answer()
            assert (status, headers["retry-after"]) == (503, "1")
            assert await second.is_closed()
        await until(lambda: not served.connections.spare)
        first.send(GET)
        assert (await first.answer())[0] == 200
    await until(lambda: not served.connections.served)
    assert served.refused == [503]


async def test_connections_far_beyond_the_limit_are_dropped() -> None:
    async with Served(max_connections=1)() as served:
        with contextlib.ExitStack() as peers:
            for _ in range(1 + SPARE_CONNECTIONS):
                peers.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            await until(lambda: len(served.connections.spare) == SPARE_CONNECTIONS)
            async with served.client() as last:
                assert await last.is_closed()
            assert served.refused == [503]
        await until(lambda: not served.connections.served and not served.connections.spare)
        async with served.client() as client:
            client.send(GET)
            assert (await client.answer())[0] == 200


# --- pipelining


@pytest.mark.parametrize("second", [GET, GET[:7], b"\x00garbage"])
async def test_a_client_that_sent_more_is_still_missed_when_it_leaves(second: bytes) -> None:
    async with Served()() as served:
        async with served.client() as client:
            client.send(GET.replace(b"/", b"/stream", 1))
            await served.app.is_streaming.wait()
            client.send(second)
            await asyncio.sleep(0.01)
        await served.app.is_gone.wait()
        assert len(served.app.scopes) == 1


async def test_the_answer_in_front_is_whole_and_then_the_connection_closes() -> None:
    async with Served()() as served, served.client() as client:
        client.send(GET.replace(b"/", b"/stream", 1) + GET)
        status, headers = await client.head()
        assert (status, headers["connection"]) == (200, "close")
        client.send(GET * 10)
        served.app.finish.set()
        body = await client.reader.read()
        assert b"begun" in body
        assert body.endswith(b"ended\r\n0\r\n\r\n")
        assert len(served.app.scopes) == 1


async def test_a_client_that_sends_without_end_is_dropped() -> None:
    async with Served()() as served, served.client() as client:
        client.send(GET.replace(b"/", b"/stream", 1) + GET)
        await served.app.is_streaming.wait()
        client.send(b"x" * (MAX_DEAF_BYTES + 1))
        await served.app.is_gone.wait()


# --- what the app may do


async def test_the_app_sees_what_a_client_does_not_take_and_can_drop_it() -> None:
    async with Served()() as served:
        with socket.create_connection(("127.0.0.1", served.port)) as peer:
            peer.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            await served.app.is_streaming.wait()
            connection = served.app.scopes[0]["extensions"]["headrace.connection"]
            assert connection.write_buffer_bytes() == 0
            [protocol] = served.connections.served
            assert isinstance(protocol, RelayProtocol)
            protocol.transport.write(b"x" * 30_000_000)
            await until(lambda: connection.write_buffer_bytes() > 0)
            connection.abort()
            await served.app.is_gone.wait()
