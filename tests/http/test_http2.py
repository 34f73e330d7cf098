"""HTTP/2 over a real socket, in frames of our own: what peers get, and what they cannot do."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import hpack
import httpx2
import msgspec
import pytest
import uvicorn
from uvicorn.server import ServerState

from headrace.errors import ClientRequestError
from headrace.http.asgi import Receive, Scope, Send
from headrace.http.h2_allowance import Allowance
from headrace.http.h2_connection import CONNECTION_WINDOW_BYTES, FRAME_BYTES, MAX_STREAMS, STREAM_WINDOW_BYTES
from headrace.http.h2_request import read_head
from headrace.http.h2_stream import MAX_WAITING_BYTES
from headrace.http.http2 import CONTROL_BURST, MAX_SETTINGS, RESET_BURST
from headrace.http.negotiation import PREFACE, negotiating_protocol
from headrace.http.protocol import MAX_HEADERS, Connections

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
UNKNOWN = 0x77
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 2, 7, 8, 11

LONG_S = 60.0
MOST_S = 5.0
QUICK_S = 0.05

PSEUDO = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/")]


# --- both sides


class App:
    """Answers by path; keeps what it saw.

    ``/N`` is N bytes at once, ``/stream`` sends what it is told to, ``/deaf`` reads nothing, ``/broken`` fails in the
    middle, ``/empty`` is a 204.
    """

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.gone: list[Scope] = []
        self.sent: dict[str, int] = {}
        """Bytes by query string that ``send`` has taken."""
        self.parts: dict[str, Iterable[bytes]] = {}
        """What ``/stream`` sends, by query string; forever when nothing is said."""
        self.go = asyncio.Event()

    def peer(self, query: str) -> Any:
        """Return the connection of the request with this query string."""
        scope = next(scope for scope in self.scopes if scope["query_string"] == query.encode())
        return scope["extensions"]["headrace.connection"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        path = scope["path"]
        if path == "/stream":
            await self._watched(scope, receive, self._stream(scope["query_string"].decode(), send))
        elif path == "/deaf":
            await self.go.wait()
            await self._answer(send, b"not read")
        elif path == "/broken":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise RuntimeError(path)
        elif path == "/empty":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b"never sent"})
        else:
            body = await self._read(scope, receive)
            if body is not None:
                self.bodies.append(body)
                await self._answer(send, b"x" * int(path[1:] or 2))

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.append(scope)
                return None
            body += bytes(message["body"])
            if not message["more_body"]:
                return body

    async def _answer(self, send: Send, body: bytes) -> None:
        headers = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _watched(self, scope: Scope, receive: Receive, answer: Any) -> None:
        task = asyncio.ensure_future(answer)
        watcher = asyncio.ensure_future(self._watch(receive))
        await asyncio.wait([task, watcher], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            self.gone.append(scope)
        watcher.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _stream(self, name: str, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.go.wait()
        self.sent[name] = 0
        for part in self.parts.get(name) or iter(lambda: b"f" * 1000, b""):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            self.sent[name] += len(part)
        await send({"type": "http.response.body", "body": b""})


class Served:
    """One listening server that speaks both."""

    def __init__(self, **limits: Any) -> None:
        self.app = App()
        self.refused: list[int] = []
        defaults: dict[str, Any] = {"max_connections": 100, "max_head_bytes": 2000, "head_timeout_s": LONG_S}
        settings = defaults | limits
        self.connections = Connections(**settings, on_refused=self.refused.append)
        self.protocol = negotiating_protocol(self.connections, head_timeout_s=settings["head_timeout_s"])
        self.state = ServerState()
        self.port = 0
        self.faults: list[dict[str, Any]] = []
        """What the event loop had to say of exceptions that nobody took."""

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Served]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, fault: self.faults.append(fault))
        config = uvicorn.Config(self.app, http=self.protocol, ws="none", lifespan="off", log_config=None)
        server = await loop.create_server(lambda: self.protocol(config, self.state, {}, loop), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            # pytest's own timeout does not reach into this event loop.
            async with asyncio.timeout(MOST_S):
                yield self
        finally:
            server.close()
            for connection in tuple(self.state.connections):
                connection.transport.abort()
            for task in tuple(self.state.tasks):
                task.cancel()
            await asyncio.gather(*self.state.tasks, return_exceptions=True)
            await server.wait_closed()
        assert self.faults == []

    @asynccontextmanager
    async def peer(
        self, *, settings: dict[int, int] | None = None, preface: bytes = PREFACE, reads: bool = True
    ) -> AsyncIterator[Peer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        if not reads:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer = Peer(reader, writer)
        reading = asyncio.ensure_future(peer.read())
        try:
            peer.send(preface)
            if preface == PREFACE:
                peer.send(settings_frame(settings or {}))
            yield peer
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            writer.transport.abort()

    def shut_down(self) -> None:
        """Do what uvicorn does when it ends."""
        for connection in tuple(self.state.connections):
            connection.shutdown()


class Recorder:
    """A transport that notes the size of each write."""

    def __init__(self, transport: asyncio.Transport, writes: list[int]) -> None:
        self._transport = transport
        self._writes = writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._writes.append(len(data))
        self._transport.write(data)


class Frame(NamedTuple):
    type: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM and GOAWAY."""
        return int.from_bytes(self.payload[-4:] if self.type == RST_STREAM else self.payload[4:8])


class Peer:
    """An HTTP/2 client that sends what it likes, opens no window by itself, and keeps every frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.frames: list[Frame] = []
        self.is_closed = False
        self._reader = reader
        self._encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self._heads: dict[int, dict[str, str]] = {}
        self._next_id = 1

    # what it says

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    def head(self, fields: Iterable[tuple[str, str]]) -> bytes:
        return self._encoder.encode(fields)

    def request(self, path: str = "/", *fields: tuple[str, str], method: str = "GET", ends: bool = True) -> int:
        """Send the head of a request and return its stream."""
        stream_id, self._next_id = self._next_id, self._next_id + 2
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        flags = END_HEADERS | (END_STREAM if ends else 0)
        self.send(frame(HEADERS, flags, stream_id, self.head([*pseudo, *fields])))
        return stream_id

    def open_window(self, stream_id: int, size: int) -> None:
        self.send(frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", size)))

    def reset(self, stream_id: int) -> None:
        self.send(frame(RST_STREAM, 0, stream_id, struct.pack(">I", CANCEL)))

    # what it hears

    async def read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3]))
                found = Frame(head[3], head[4], int.from_bytes(head[5:]), payload)
                if found.type == HEADERS:
                    self._heads[found.stream_id] = {
                        str(name): str(value) for name, value in self.decoder.decode(payload)
                    }
                self.frames.append(found)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            self.is_closed = True

    async def answer(self, stream_id: int) -> tuple[dict[str, str], bytes]:
        """Wait for the end of a response."""
        await until(lambda: any(found.flags & END_STREAM for found in self.of(stream_id, DATA)))
        return self._heads[stream_id], self.body(stream_id)

    async def begun(self, stream_id: int) -> None:
        await until(lambda: stream_id in self._heads)

    async def reset_with(self, stream_id: int) -> int:
        """Wait for a reset and return its code."""
        await until(lambda: self.of(stream_id, RST_STREAM))
        return self.of(stream_id, RST_STREAM)[0].code

    async def dismissed(self) -> int:
        """Wait for GOAWAY and the end of the connection; returns the code."""
        await until(lambda: self.is_closed)
        return self.of(0, GOAWAY)[-1].code

    async def echo(self) -> None:
        """Wait until all that was sent so far has been handled."""
        token = struct.pack(">Q", random.getrandbits(64))
        self.send(frame(PING, 0, 0, token))
        await until(lambda: any(found.payload == token for found in self.of(0, PING)))

    def of(self, stream_id: int, kind: int) -> list[Frame]:
        return [found for found in self.frames if (found.stream_id, found.type) == (stream_id, kind)]

    def body(self, stream_id: int) -> bytes:
        return b"".join(found.payload for found in self.of(stream_id, DATA))


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream_id.to_bytes(4) + payload


def settings_frame(settings: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *item) for item in settings.items()))


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0.001)


async def settled(value: Callable[[], int]) -> None:
    """Wait until something has not changed for a while."""
    before = -1
    while before != (before := value()):  # noqa: ASYNC110 (it has no event)
        await asyncio.sleep(QUICK_S)


# --- requests and responses


async def test_requests_share_a_connection() -> None:
    async with Served()() as served, served.peer() as peer:
        for path, body in (("/3", b"xxx"), ("/", b"xx"), ("/1", b"x")):
            head, found = await peer.answer(peer.request(path))
            assert (head[":status"], found) == ("200", body)
            assert "connection" not in head
        assert len(served.connections.served) == 1
    await until(lambda: not served.connections.served)


async def test_a_request_in_single_bytes_is_whole() -> None:
    async with Served()() as served, served.peer(preface=b"") as peer:
        head = frame(HEADERS, END_HEADERS, 1, peer.head([(":method", "POST"), *PSEUDO[1:]]))
        for byte in PREFACE + settings_frame({}) + head + frame(DATA, END_STREAM, 1, b"abc"):
            peer.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await peer.answer(1))[1] == b"xx"
        assert served.app.bodies == [b"abc"]


async def test_the_scope_says_what_asgi_asks_for() -> None:
    async with Served()() as served, served.peer() as peer:
        await peer.answer(peer.request("/%33?q=%20", ("x-a", "b")))
        scope = served.app.scopes[0]
    assert scope["type"] == "http"
    assert scope["http_version"] == "2"
    assert scope["method"] == "GET"
    assert scope["scheme"] == "http"
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/3", b"/%33", b"q=%20")
    assert scope["headers"] == [(b"host", b"localhost"), (b"x-a", b"b")]
    assert scope["client"][0] == "127.0.0.1"


async def test_a_body_larger_than_all_windows_arrives() -> None:
    body = random.Random(7).randbytes(CONNECTION_WINDOW_BYTES + 100_000)
    async with Served()() as served, httpx2.AsyncClient(http1=False, http2=True) as client:
        response = await client.post(f"http://127.0.0.1:{served.port}/1", content=body)
        assert response.http_version == "HTTP/2"
        assert served.app.bodies == [body]


async def test_a_response_larger_than_all_windows_arrives() -> None:
    async with Served()() as served, httpx2.AsyncClient(http1=False, http2=True) as client:
        response = await client.get(f"http://127.0.0.1:{served.port}/3000000")
        assert response.content == b"x" * 3_000_000


async def test_a_body_that_nobody_reads_is_not_credited_to_its_stream_and_does_not_hold_the_connection() -> None:
    async with Served()() as served, served.peer() as peer:
        for _ in range(2 * CONNECTION_WINDOW_BYTES // STREAM_WINDOW_BYTES):
            served.app.go.clear()
            stream_id = peer.request("/deaf", method="POST", ends=False)
            for _ in range(STREAM_WINDOW_BYTES // FRAME_BYTES):
                peer.send(frame(DATA, 0, stream_id, b"b" * FRAME_BYTES))
            await peer.echo()
            assert peer.of(stream_id, WINDOW_UPDATE) == []
            served.app.go.set()
            # The response is whole before the request is: nobody wants the rest.
            assert (await peer.answer(stream_id))[1] == b"not read"
            assert await peer.reset_with(stream_id) == NO_ERROR
        assert peer.of(0, WINDOW_UPDATE)


async def test_trailers_are_dropped() -> None:
    async with Served()() as served, served.peer() as peer:
        stream_id = peer.request("/", method="POST", ends=False)
        peer.send(frame(DATA, 0, stream_id, b"abc"))
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, peer.head([("origin", "b")])))
        await peer.answer(stream_id)
        assert served.app.bodies == [b"abc"]
        assert [name for name, _ in served.app.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


async def test_responses_without_a_body_have_none() -> None:
    async with Served()() as served, served.peer() as peer:
        head, body = await peer.answer(peer.request("/30", method="HEAD"))
        assert (head["content-length"], body) == ("30", b"")
        head, body = await peer.answer(peer.request("/empty"))
        assert (head[":status"], body) == ("204", b"")


async def test_a_failing_application_resets_its_stream_only(caplog: pytest.LogCaptureFixture) -> None:
    async with Served()() as served, served.peer() as peer:
        assert await peer.reset_with(peer.request("/broken")) == INTERNAL_ERROR
        assert (await peer.answer(peer.request("/")))[1] == b"xx"
    assert "a request failed" in caplog.text


# --- who leaves, and who is slow


async def test_a_reset_reaches_the_application_at_once() -> None:
    async with Served()() as served, served.peer() as peer:
        left, other = peer.request("/stream?left"), peer.request("/stream?other")
        await peer.begun(left)
        await peer.begun(other)
        peer.reset(left)
        await until(lambda: served.app.gone)
        assert [scope["query_string"] for scope in served.app.gone] == [b"left"]
        served.app.parts["other"] = [b"whole"]
        served.app.go.set()
        assert (await peer.answer(other))[1] == b"whole"


@pytest.mark.parametrize("path", ["/stream?a", "/"])
async def test_a_lost_connection_reaches_every_application_at_once(path: str) -> None:
    async with Served()() as served, served.peer() as peer:
        for _ in range(3):
            peer.request(path, method="POST", ends=False)
        await until(lambda: len(served.app.scopes) == 3)
        peer.writer.transport.abort()
        await until(lambda: len(served.app.gone) == 3)
        await until(lambda: not served.state.tasks)
        assert served.connections.served == set()


async def test_a_stream_without_window_makes_its_application_wait_and_no_other() -> None:
    async with Served()() as served, served.peer(settings={4: 0}) as peer:
        stuck, moving = peer.request("/stream?stuck"), peer.request("/stream?moving")
        served.app.parts = {"moving": [b"m" * 1000] * 100}
        peer.open_window(moving, 200_000)
        peer.open_window(0, 200_000)
        served.app.go.set()
        assert (await peer.answer(moving))[1] == b"m" * 100_000
        assert served.app.sent["stuck"] <= MAX_WAITING_BYTES + 1000
        assert served.app.peer("stuck").write_buffer_bytes() == served.app.sent["stuck"] > 0
        assert served.app.peer("moving").write_buffer_bytes() == 0
        # As far as the window opens, the stream goes on.
        before = served.app.sent["stuck"]
        peer.open_window(stuck, before + 5000)
        await until(lambda: len(peer.body(stuck)) == before + 5000)
        await peer.echo()
        assert before + 5000 <= served.app.sent["stuck"] <= before + 5000 + MAX_WAITING_BYTES + 1000


async def test_a_used_up_connection_window_makes_all_wait_until_it_opens() -> None:
    async with Served()() as served, served.peer(settings={4: 1_000_000}) as peer:
        streams = [peer.request(f"/stream?{name}") for name in "ab"]
        served.app.parts = {name: [b"p" * 1000] * 300 for name in "ab"}
        served.app.go.set()
        await until(lambda: sum(len(peer.body(stream)) for stream in streams) == 65_535)
        await peer.echo()
        assert sum(served.app.sent.values()) <= 65_535 + 2 * (MAX_WAITING_BYTES + 1000)
        # They took turns.
        assert all(len(peer.body(stream)) > 20_000 for stream in streams)
        peer.open_window(0, 1_000_000)
        for stream in streams:
            assert len((await peer.answer(stream))[1]) == 300_000


async def test_settings_that_open_the_windows_let_streams_go_on() -> None:
    async with Served()() as served, served.peer(settings={4: 0}) as peer:
        stream_id = peer.request("/50")
        await peer.begun(stream_id)
        assert peer.body(stream_id) == b""
        peer.send(settings_frame({4: 100}))
        assert (await peer.answer(stream_id))[1] == b"x" * 50


async def test_a_small_response_overtakes_a_large_one() -> None:
    async with Served()() as served, served.peer(settings={4: 10_000_000}) as peer:
        peer.open_window(0, 10_000_000)
        large = peer.request("/3000000")
        small = peer.request("/10")
        await peer.answer(large)
        ends = [found.stream_id for found in peer.frames if found.type == DATA and found.flags & END_STREAM]
        assert ends == [small, large]


async def test_a_connection_that_takes_nothing_makes_its_streams_wait_and_is_seen_by_each() -> None:
    async with Served()() as served, served.peer(settings={4: 2**31 - 1}, reads=False) as peer:
        peer.open_window(0, 2**31 - 1 - 65_535)
        served.app.go.set()
        peer.request("/stream?flood")
        await until(lambda: served.app.scopes)
        flood = served.app.peer("flood")
        # The kernel takes some megabytes before everything waits here.
        await until(lambda: "flood" in served.app.sent)
        await settled(lambda: served.app.sent["flood"])
        assert flood.write_buffer_bytes() > MAX_WAITING_BYTES
        # One that has framed everything still sees that the peer has not taken it.
        served.app.parts["short"] = [b"short"]
        peer.request("/stream?short")
        await until(lambda: "short" in served.app.sent)
        short = served.app.peer("short")
        assert short.write_buffer_bytes() > 0
        flood.abort()
        await until(lambda: served.app.gone)
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await until(lambda: short.write_buffer_bytes() == 0)


async def test_abort_resets_one_stream() -> None:
    async with Served()() as served, served.peer(settings={4: 100}) as peer:
        stuck, other = peer.request("/stream?stuck"), peer.request("/stream?other")
        served.app.parts["other"] = [b"whole"]
        served.app.go.set()
        await until(lambda: len(peer.body(stuck)) == 100)
        served.app.peer("stuck").abort()
        assert await peer.reset_with(stuck) == CANCEL
        await until(lambda: served.app.gone)
        assert (await peer.answer(other))[1] == b"whole"
        assert served.app.peer("stuck").write_buffer_bytes() == 0


async def test_the_end_of_a_response_must_be_taken_in_time() -> None:
    async with Served(head_timeout_s=QUICK_S)() as served, served.peer(settings={4: 10}) as peer:
        stuck, other = peer.request("/100"), peer.request("/stream?other")
        assert await peer.reset_with(stuck) == CANCEL
        assert peer.body(stuck) == b"x" * 10
        served.app.parts["other"] = [b"whole"]
        served.app.go.set()
        assert (await peer.answer(other))[1] == b"whole"


async def test_what_many_streams_say_at_once_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    async with Served()() as served, served.peer() as peer:
        streams = [peer.request(f"/stream?{number}") for number in range(50)]
        served.app.parts = {str(number): [b"token"] for number in range(50)}
        for stream in streams:
            await peer.begun(stream)
        writer = next(iter(served.state.connections))._writer  # type: ignore[union-attr]
        monkeypatch.setattr(writer, "_transport", Recorder(writer._transport, writes))
        served.app.go.set()
        for stream in streams:
            await peer.answer(stream)
    assert len(writes) <= 3


# --- heads


async def test_a_host_beside_the_same_authority_is_one_host() -> None:
    async with Served()() as served, served.peer() as peer:
        await peer.answer(peer.request("/", ("host", "localhost")))
        assert served.app.scopes[0]["headers"] == [(b"host", b"localhost")]


async def test_a_host_alone_is_taken() -> None:
    async with Served()() as served, served.peer() as peer:
        fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "localhost:1")]
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, peer.head(fields)))
        await peer.answer(1)
        assert served.app.scopes[0]["headers"] == [(b"host", b"localhost:1")]


@pytest.mark.parametrize("hosts", [["evil"], ["localhost", "evil"], ["evil", "localhost"]])
async def test_a_host_that_contradicts_the_authority_ends_the_connection(hosts: list[str]) -> None:
    async with Served()() as served, served.peer() as peer:
        peer.request("/", *(("host", host) for host in hosts))
        assert await peer.dismissed() == PROTOCOL_ERROR
        assert served.app.scopes == []


def test_a_host_that_contradicts_the_authority_is_never_hidden() -> None:
    """The library refuses it; would it not, the guard refuses a head with two hosts."""
    fields = [
        *((name.encode(), value.encode()) for name, value in PSEUDO),
        (b"host", b"evil"),
        (b"host", b"localhost"),
    ]
    head = read_head(fields, max_head_bytes=1000, has_body=False)
    assert head.headers == [(b"host", b"localhost"), (b"host", b"evil")]


@pytest.mark.parametrize(
    ("fields", "added"),
    [([], [(b"transfer-encoding", b"chunked")]), ([(b"content-length", b"3")], [])],
)
def test_a_body_of_unknown_length_is_announced(
    fields: list[tuple[bytes, bytes]], added: list[tuple[bytes, bytes]]
) -> None:
    pseudo = [(name.encode(), value.encode()) for name, value in PSEUDO]
    head = read_head([*pseudo, *fields], max_head_bytes=1000, has_body=True)
    assert head.headers == [(b"host", b"localhost"), *fields, *added]


@pytest.mark.parametrize("name", [b":method", b":path"])
def test_what_is_not_ascii_is_refused(name: bytes) -> None:
    pseudo = {key.encode(): value.encode() for key, value in PSEUDO} | {name: b"/\xff"}
    with pytest.raises(ClientRequestError) as caught:
        read_head(pseudo.items(), max_head_bytes=1000, has_body=False)
    assert (caught.value.status, caught.value.code) == (400, "invalid_http")


@pytest.mark.parametrize(
    "fields", [[("x", "x" * 2000)], [(f"x{number}", "") for number in range(MAX_HEADERS + 1)]], ids=["bytes", "fields"]
)
async def test_a_head_that_is_too_large_is_refused_alone(fields: list[tuple[str, str]]) -> None:
    async with Served()() as served, served.peer() as peer:
        running = peer.request("/stream?a")
        head, body = await peer.answer(peer.request("/", *fields))
        assert head[":status"] == "431"
        assert msgspec.json.decode(body)["error"]["code"] == "head_too_large"
        assert served.refused == [431]
        assert len(served.app.scopes) == 1
        served.app.parts["a"] = [b"whole"]
        served.app.go.set()
        await peer.answer(running)


async def test_a_compressed_bomb_ends_the_connection() -> None:
    async with Served()() as served, served.peer() as peer:
        # One field in the table, then one byte each for thousands of its copies.
        peer.request("/stream?a", ("x", "y" * 1000))
        index = bytes([0x80 | 62])
        head = peer.head(PSEUDO)
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, head + index * 5000))
        assert await peer.dismissed() == ENHANCE_YOUR_CALM
        assert served.refused == [429]


@pytest.mark.parametrize("size", [0, 1, 1000, FRAME_BYTES])
async def test_a_head_that_never_ends_is_cut(size: int) -> None:
    async with Served()() as served, served.peer() as peer:
        peer.send(frame(HEADERS, END_STREAM, 1, peer.head(PSEUDO)))
        for _ in range(100):
            peer.send(frame(CONTINUATION, 0, 1, b"\x00" * size))
        assert await peer.dismissed() in (PROTOCOL_ERROR, ENHANCE_YOUR_CALM)
        assert served.app.scopes == []
        assert len(served.refused) == 1


# --- bounds


async def test_a_stream_too_many_is_refused_alone() -> None:
    async with Served()() as served, served.peer() as peer:
        streams = [peer.request(f"/stream?{number}") for number in range(MAX_STREAMS)]
        assert await peer.reset_with(peer.request("/")) == REFUSED_STREAM
        assert len(served.app.scopes) == MAX_STREAMS
        peer.reset(streams[0])
        # Its place is free when its application has returned.
        await until(lambda: len(served.state.tasks) < MAX_STREAMS)
        await peer.answer(peer.request("/"))
        told = dict(struct.iter_unpack(">HI", peer.of(0, SETTINGS)[0].payload))
        assert told[3] == MAX_STREAMS


async def test_too_many_resets_end_the_connection() -> None:
    async with Served()() as served, served.peer() as peer:
        for _ in range(2 * RESET_BURST):
            peer.reset(peer.request("/stream?a"))
        assert await peer.dismissed() == ENHANCE_YOUR_CALM
        assert served.refused == [429]
        assert len(served.app.scopes) <= 2 * RESET_BURST
        await until(lambda: not served.state.tasks)


async def test_resets_that_the_peer_provokes_count() -> None:
    async with Served()() as served, served.peer() as peer:
        for _ in range(2 * RESET_BURST):
            stream_id = peer.request("/stream?a")
            for _ in range(2):
                peer.open_window(stream_id, 2**31 - 1)
        assert await peer.dismissed() == ENHANCE_YOUR_CALM
        await until(lambda: not served.state.tasks)


FLOODS = {
    "ping": frame(PING, 0, 0, b"12345678"),
    "settings": settings_frame({4: 1000}),
    "empty settings": settings_frame({}),
    "priority": frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)),
    "window of the connection": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
    "window of the stream": frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)),
    "empty data": frame(DATA, 0, 1, b""),
    "padding alone": frame(DATA, PADDED, 1, b"\x05" + b"\x00" * 5),
    "unknown": frame(UNKNOWN, 0, 0, b""),
    "window of an old stream": frame(WINDOW_UPDATE, 0, 3, struct.pack(">I", 1)),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_frames_that_bring_nothing_are_bounded(flood: str) -> None:
    async with Served()() as served, served.peer() as peer:
        peer.request("/stream?a", method="POST", ends=False)
        await peer.answer(peer.request("/"))
        for _ in range(50):
            peer.send(FLOODS[flood] * (CONTROL_BURST // 10))
            await asyncio.sleep(0)
        assert await peer.dismissed() == ENHANCE_YOUR_CALM
        assert len(served.refused) == 1
        await until(lambda: not served.state.tasks)


async def test_who_takes_a_stream_may_open_windows_as_often() -> None:
    parts = CONTROL_BURST
    async with Served()() as served, served.peer(settings={4: 10}) as peer:
        stream_id = peer.request("/stream?a")
        served.app.parts["a"] = [b"t" * 10] * parts
        served.app.go.set()
        for number in range(parts):
            await until(lambda: len(peer.of(stream_id, DATA)) > number)  # noqa: B023 (awaited at once)
            peer.open_window(stream_id, 10)
            peer.open_window(0, 10)
        assert len((await peer.answer(stream_id))[1]) == 10 * parts


async def test_settings_that_nobody_knows_are_not_collected() -> None:
    async with Served()() as served, served.peer() as peer:
        peer.send(settings_frame({0x1000 + number: 1 for number in range(MAX_SETTINGS)}))
        assert await peer.dismissed() == ENHANCE_YOUR_CALM
        assert served.refused == [429]


async def test_the_compression_table_stays_small() -> None:
    async with Served()() as served, served.peer(settings={1: 65_536}) as peer:
        peer.decoder.max_allowed_table_size = 65_536
        await peer.answer(peer.request("/"))
        connection = next(iter(served.state.connections))
        assert connection._h2.encoder.header_table_size == 4096  # type: ignore[union-attr]


async def test_connections_beyond_the_limit_are_told_so() -> None:
    async with Served(max_connections=1)() as served, served.peer() as peer:
        await peer.echo()
        async with served.peer() as spare:
            assert await spare.dismissed() == ENHANCE_YOUR_CALM
            assert served.refused == [503]
        await peer.answer(peer.request("/"))
    await until(lambda: not served.connections.served)
    assert not served.connections.spare


# --- malformed frames


BROKEN = {
    "data of the connection": frame(DATA, 0, 0, b"x"),
    "data of a stream to come": frame(DATA, 0, 5, b"x"),
    "head of an even stream": frame(HEADERS, END_HEADERS, 2, b"\x82"),
    "no compression": frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    "no pseudo-headers": frame(HEADERS, END_HEADERS, 1, b"\x00\x01a\x01b"),
    "a capital letter": frame(HEADERS, END_HEADERS, 1, b"\x82\x84\x86\x41\x01a\x00\x01A\x01b"),
    "a line end": frame(HEADERS, END_HEADERS, 1, b"\x82\x84\x86\x41\x01a\x00\x01a\x03b\r\n"),
    "connection": frame(HEADERS, END_HEADERS, 1, b"\x82\x84\x86\x41\x01a\x00\x0aconnection\x01b"),
    "too large": frame(DATA, 0, 1, b"x" * (FRAME_BYTES + 1)),
    "a window of nothing": frame(WINDOW_UPDATE, 0, 0, b"\x00\x00\x00\x00"),
    "a window too large": frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
    "settings in pieces": frame(SETTINGS, 0, 0, b"12345"),
    "settings of a stream": frame(SETTINGS, 0, 1, b""),
    "settings out of range": settings_frame({4: 2**31}),
    "push": frame(PUSH_PROMISE, END_HEADERS, 1, b"\x00\x00\x00\x02\x82"),
    "ping of a stream": frame(PING, 0, 1, b"12345678"),
    "ping too short": frame(PING, 0, 0, b"1"),
    "reset of a stream to come": frame(RST_STREAM, 0, 9, b"\x00\x00\x00\x08"),
    "reset of the connection": frame(RST_STREAM, 0, 0, b"\x00\x00\x00\x08"),
    "reset too short": frame(RST_STREAM, 0, 1, b"\x00"),
    "continuation of nothing": frame(CONTINUATION, END_HEADERS, 1, b""),
    "padding larger than its frame": frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff\x82"),
    "priority of itself": frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 1)),
    "goaway too short": frame(GOAWAY, 0, 0, b"1"),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_what_breaks_the_protocol_ends_the_connection(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Served()() as served, served.peer() as peer:
        await peer.echo()
        peer.send(BROKEN[broken])
        assert await peer.dismissed() != NO_ERROR
        assert served.refused == [400]
        assert served.app.scopes == []
    assert caplog.text == ""


async def test_a_frame_that_would_be_too_large_is_not_collected() -> None:
    async with Served()() as served, served.peer() as peer:
        await peer.begun(peer.request("/stream?a"))
        # Read as a frame this has more than 4 MB.
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3000)
        assert await peer.dismissed() == ENHANCE_YOUR_CALM
        assert served.refused == [431]


async def test_what_breaks_the_protocol_reaches_every_application() -> None:
    async with Served()() as served, served.peer() as peer:
        for _ in range(3):
            peer.request("/stream?a")
        await until(lambda: len(served.app.scopes) == 3)
        peer.send(BROKEN["data of the connection"])
        await until(lambda: len(served.app.gone) == 3)


async def test_no_bytes_make_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(1)
    async with Served(max_connections=1000)() as served:
        for _ in range(150):
            async with served.peer(settings={4: chance.choice([0, 100, 2**31 - 1])}) as peer:
                for _ in range(chance.randrange(1, 30)):
                    if chance.random() < 0.3:
                        peer.request("/stream?a", ends=chance.random() < 0.5)
                    else:
                        kind, flags = chance.randrange(12), chance.choice([0, 1, 4, 5, 8, 32, chance.randrange(256)])
                        stream_id = chance.choice([0, 1, 3, chance.randrange(20), chance.getrandbits(31)])
                        peer.send(frame(kind, flags, stream_id, chance.randbytes(chance.choice([0, 4, 5, 6, 8, 40]))))
                peer.send(frame(DATA, 0, 0, b""))
                await until(lambda: peer.is_closed)
        await until(lambda: not served.state.tasks)
        assert len(served.refused) == 150
    assert caplog.text == ""


# --- times


async def test_a_silent_connection_is_told_and_closed() -> None:
    async with Served(head_timeout_s=QUICK_S)() as served, served.peer() as peer:
        await peer.answer(peer.request("/"))
        assert await peer.dismissed() == NO_ERROR
        assert served.refused == []


async def test_pings_keep_no_connection_alive() -> None:
    async with Served(head_timeout_s=QUICK_S)() as served, served.peer() as peer:
        while not peer.is_closed:
            peer.send(frame(PING, 0, 0, b"12345678"))
            await asyncio.sleep(QUICK_S / 5)
        assert await peer.dismissed() == NO_ERROR
        assert served.refused == []


async def test_a_head_that_does_not_come_in_time_closes_the_connection() -> None:
    async with Served(head_timeout_s=QUICK_S)() as served, served.peer() as peer:
        peer.send(frame(HEADERS, END_STREAM, 1, peer.head(PSEUDO)))
        assert await peer.dismissed() == NO_ERROR
        assert served.app.scopes == []


@pytest.mark.parametrize("sent", [b"", b"PRI * HTTP/2.0\r\n\r\nSM"])
async def test_a_preface_that_does_not_come_in_time_closes_the_connection(sent: bytes) -> None:
    async with Served(head_timeout_s=QUICK_S)() as served, served.peer(preface=sent) as peer:
        await until(lambda: peer.is_closed)
        assert served.connections.served == set()


async def test_a_stream_may_take_longer_than_a_head() -> None:
    async with Served(head_timeout_s=QUICK_S)() as served, served.peer() as peer:
        stream_id = peer.request("/stream?a")
        served.app.parts["a"] = [b"whole"]
        await asyncio.sleep(3 * QUICK_S)
        served.app.go.set()
        assert (await peer.answer(stream_id))[1] == b"whole"


# --- shutdown


async def test_a_shutdown_lets_streams_finish_and_takes_no_more() -> None:
    async with Served()() as served, served.peer() as peer:
        running = peer.request("/stream?a")
        await peer.begun(running)
        served.shut_down()
        await until(lambda: peer.of(0, GOAWAY))
        assert (peer.of(0, GOAWAY)[0].code, peer.of(0, GOAWAY)[0].payload[:4]) == (NO_ERROR, running.to_bytes(4))
        assert await peer.reset_with(peer.request("/")) == REFUSED_STREAM
        served.app.parts["a"] = [b"whole"]
        served.app.go.set()
        assert (await peer.answer(running))[1] == b"whole"
        assert await peer.dismissed() == NO_ERROR
        assert len(served.app.scopes) == 1
        assert not served.state.connections


async def test_a_shutdown_closes_what_is_silent() -> None:
    async with Served()() as served, served.peer() as peer, served.peer(preface=b"") as other:
        await peer.echo()
        await until(lambda: len(served.state.connections) == 2)
        served.shut_down()
        assert await peer.dismissed() == NO_ERROR
        await until(lambda: other.is_closed)


async def test_a_peer_that_goes_away_still_gets_its_answers() -> None:
    async with Served()() as served, served.peer() as peer:
        running = peer.request("/stream?a")
        peer.send(frame(GOAWAY, 0, 0, b"\x00" * 8))
        peer.open_window(0, 1000)
        served.app.parts["a"] = [b"whole"]
        served.app.go.set()
        assert (await peer.answer(running))[1] == b"whole"
        assert await peer.dismissed() == NO_ERROR
        assert served.refused == []


# --- both protocols on one port


@pytest.mark.parametrize("method", ["GET", "POST", "PRIVATE", "P"])
async def test_http_1_is_served_as_ever(method: str) -> None:
    async with Served()() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for byte in f"{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode():
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        status = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        assert status == (b"200" if method in {"GET", "POST"} else b"400")
        if status == b"200":
            assert await reader.readexactly(2) == b"xx"
        writer.transport.abort()


# --- allowances


def test_an_allowance_is_spent_and_comes_back() -> None:
    allowance = Allowance(3, per_s=2.0, now_s=10.0)
    assert [allowance.spend(1, 10.0) for _ in range(4)] == [True, True, True, False]
    assert [allowance.spend(1, 10.5) for _ in range(2)] == [True, False]
    allowance.earn(2)
    assert [allowance.spend(1, 10.5) for _ in range(3)] == [True, True, False]
    assert not allowance.spend(4, 99.0)
    assert allowance.spend(3, 99.0)
