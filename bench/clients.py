"""Clients that follow a stream in each of the relay's protocols, over raw sockets: cheap beside what they measure.

A client counts tokens by ``MARK``, which stands once in each token of the text that the simulator is asked for, and nowhere
else. So it counts them alike whatever they come in: one chunk each, several merged into one, bare text, or one object for
all. All times are of ``time.perf_counter``, in seconds.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import time
import zlib
from collections.abc import Callable
from typing import cast

import brotli
import httptools
import msgspec
import zstandard
from bench.frames import client_frame, http2_frame, http2_frames, socket_frames
from bench.load import Result
from bench.prose import MARK

TAIL_BYTES = 1024
"""End of a stream that is kept, for ``Answer.ending``; its last line has a usage object in it."""

OK = 200
GZIP_BITS = 31
"""``zlib``'s window bits that read gzip of any window."""


class Received(Result, kw_only=True):
    """What came back."""

    reads: int = 0
    """Arrivals of data; as long as clients keep up, about one for each write of the server."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks, whatever its protocol."""

    authority: str
    """Host and port."""
    path: str
    body: bytes = b""
    """A request without one is a GET."""
    headers: dict[str, str] = {}
    ending: bytes = b""
    """Stands within the last ``TAIL_BYTES`` of a whole answer."""
    coding: str = "identity"
    """The content coding of the answer."""
    tokens: int = 0
    """How many it must have."""


class Answer:
    """One stream as its client gets it: counted while it comes, judged at its end.

    Args:
        request: What was asked.
        result: Where it is counted.
    """

    def __init__(self, request: Request, result: Received) -> None:
        self.over = asyncio.Event()
        self._request = request
        self._result = result
        self._decoded = DECODERS[request.coding]()
        self._tail = b""
        self._tokens = 0
        self._began_s = self._last_s = time.perf_counter()

    def receive(self, body: bytes, now_s: float) -> None:
        """Take a part of the body that arrived at ``now_s``."""
        text = self._decoded(body)
        self._tail = (self._tail + text)[-TAIL_BYTES:]
        count = text.count(MARK)
        if not count:
            return
        if not self._tokens:
            self._result.ttft_s.append(now_s - self._began_s)
        elif now_s != self._last_s:
            # One read may hold many pieces of the body.
            self._result.gap_s.append(now_s - self._last_s)
        self._last_s = now_s
        self._tokens += count
        self._result.tokens += count

    def finish(self, status: int = OK) -> None:
        """Learn that nothing more comes, and say whether that was all."""
        if status != OK:
            self.fail(f"status {status}")
        elif self._tokens != self._request.tokens:
            self.fail("the stream ended")
        elif self._request.ending not in self._tail:
            self.fail(f"no {self._request.ending!r}")
        elif not self.over.is_set():
            self._result.completed += 1
            self.over.set()

    def fail(self, reason: str) -> None:
        """Learn that the stream broke. Says nothing of one that is over."""
        if not self.over.is_set():
            got = f"{self._tokens} of {self._request.tokens} tokens"
            self._result.fail(f"{reason}, after {got}: {self._tail[-200:]!r}")
            self.over.set()


def _identity() -> Callable[[bytes], bytes]:
    return bytes


def _gzip() -> Callable[[bytes], bytes]:
    return zlib.decompressobj(GZIP_BITS).decompress


def _brotli() -> Callable[[bytes], bytes]:
    decode: Callable[[bytes], bytes] = brotli.Decompressor().process
    return decode


def _zstd() -> Callable[[bytes], bytes]:
    return zstandard.ZstdDecompressor().decompressobj().decompress


DECODERS: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
    "identity": _identity,
    "gzip": _gzip,
    "zstd": _zstd,
    "br": _brotli,
}
"""By content coding: makes what undoes it, piece by piece."""


class Client(asyncio.Protocol):
    """One connection. What is different is said by ``greet``, ``ask``, ``receive``.

    Args:
        authority: Host and port of the server.
        result: Where everything is counted.
    """

    def __init__(self, authority: str, result: Received) -> None:
        self.ready = asyncio.Event()
        """Set once requests can be made, or never will."""
        self._authority = authority
        self._result = result
        self._now_s = 0.0
        self._answers: list[Answer] = []
        self._loss: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, but have its methods.
        self._transport = cast(asyncio.Transport, transport)
        self.greet()

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(f"connection lost ({exc})")

    def data_received(self, data: bytes) -> None:
        self._now_s = time.perf_counter()
        self._result.reads += 1
        self._result.bytes += len(data)
        self.receive(data)

    def start(self, request: Request) -> Answer:
        """Make a request; its answer fails when the connection is lost."""
        answer = Answer(request, self._result)
        self._answers.append(answer)
        if self._loss is None:
            self.ask(request, answer)
        else:
            answer.fail(self._loss)
        return answer

    def fail(self, reason: str) -> None:
        """Give the connection up."""
        self._loss = self._loss or reason
        self.ready.set()
        for answer in self._answers:
            answer.fail(self._loss)
        self._transport.close()

    def greet(self) -> None:
        """Say what comes before any request."""
        self.ready.set()

    def ask(self, request: Request, answer: Answer) -> None:
        """Send a request."""
        raise NotImplementedError

    def receive(self, data: bytes) -> None:
        """Take what arrived at ``_now_s``."""
        raise NotImplementedError


class Http1Client(Client):
    """HTTP/1.1, one request a connection."""

    def ask(self, request: Request, answer: Answer) -> None:
        self._answer = answer
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(http1_request(request))

    def receive(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(f"broken HTTP: {error}")

    # Called by the parser.

    def on_body(self, body: bytes) -> None:
        self._answer.receive(body, self._now_s)

    def on_message_complete(self) -> None:
        self._answer.finish(self._parser.get_status_code())


def http1_request(request: Request) -> bytes:
    """Return a request as HTTP/1.1."""
    fields = {"Host": request.authority, **request.headers}
    if request.body:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(request.body))}
    method = "POST" if request.body else "GET"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {request.path} HTTP/1.1\r\n{lines}\r\n".encode() + request.body


class SocketClient(Client):
    """The WebSocket protocol ``headrace.v1``. The relay's pings come too late to need an answer."""

    PATH = "/v1/stream"
    TEXT, CLOSE = 1, 8

    def greet(self) -> None:
        self._rest = b""
        self._by_name: dict[bytes, Answer] = {}
        self._names = (f"bench-{os.urandom(8).hex()}-{number}".encode() for number in itertools.count())
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": "headrace.v1",
        }
        self._transport.write(http1_request(Request(authority=self._authority, path=self.PATH, headers=upgrade)))

    def ask(self, request: Request, answer: Answer) -> None:
        name = next(self._names)
        self._by_name[name] = answer
        self._transport.write(client_frame(b'{"type":"start","stream":"%b","request":%b}' % (name, request.body)))

    def receive(self, data: bytes) -> None:
        data = self._rest + data
        if not self.ready.is_set():
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = data
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.fail(f"no WebSocket: {data[:200]!r}")
                return
            data = rest
            self.ready.set()
        frames, self._rest = socket_frames(data)
        for kind, payload in frames:
            if kind == self.TEXT:
                self._take(payload)
            elif kind == self.CLOSE:
                self.fail(f"closed: {payload!r}")

    def _take(self, message: bytes) -> None:
        # {"type":"entry","stream":"NAME",…
        parts = message.split(b'"', 8)
        answer = self._by_name.get(parts[7]) if len(parts) > 7 else None
        if answer is None:
            self.fail(f"of no stream: {message[:200]!r}")
            return
        answer.receive(message, self._now_s)
        if parts[3] != b"entry":
            answer.finish()


class Http2Client(Client):
    """HTTP/2 by prior knowledge, with windows that one answer never fills."""

    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
    END_STREAM, ACK, END_HEADERS = 1, 1, 4
    INITIAL_WINDOW_SIZE = 4
    MOST_WINDOW, FIRST_WINDOW = 2**31 - 1, 2**16 - 1

    def greet(self) -> None:
        # An extra of the relay: who measures without it has no need of it.
        import hpack

        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._rest = b""
        self._numbers = itertools.count(1, 2)
        self._by_number: dict[int, Answer] = {}
        self._statuses: dict[int, int] = {}
        settings = self.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + self.MOST_WINDOW.to_bytes(4, "big")
        window = (self.MOST_WINDOW - self.FIRST_WINDOW).to_bytes(4, "big")
        self._transport.write(
            self.PREFACE + http2_frame(self.SETTINGS, settings) + http2_frame(self.WINDOW_UPDATE, window)
        )
        super().greet()

    def ask(self, request: Request, answer: Answer) -> None:
        number = next(self._numbers)
        self._by_number[number] = answer
        pseudo = {":method": "POST", ":scheme": "http", ":authority": request.authority, ":path": request.path}
        fields = {"content-type": "application/json", "content-length": str(len(request.body))}
        named = {name.lower(): value for name, value in request.headers.items()}
        head = self._encoder.encode([*pseudo.items(), *fields.items(), *named.items()])
        self._transport.write(
            http2_frame(self.HEADERS, head, flags=self.END_HEADERS, number=number)
            + http2_frame(self.DATA, request.body, flags=self.END_STREAM, number=number)
        )

    def receive(self, data: bytes) -> None:
        frames, self._rest = http2_frames(self._rest + data)
        for kind, flags, number, payload in frames:
            if kind in (self.DATA, self.HEADERS):
                self._take(kind, flags, number, payload)
            elif kind in (self.SETTINGS, self.PING) and not flags & self.ACK:
                echo = payload if kind == self.PING else b""
                self._transport.write(http2_frame(kind, echo, flags=self.ACK))
            elif kind == self.RST_STREAM:
                self._by_number[number].fail(f"reset {payload!r}")
            elif kind == self.GOAWAY:
                self.fail(f"sent away: {payload!r}")

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        answer = self._by_number[number]
        if kind == self.DATA:
            answer.receive(payload, self._now_s)
        else:
            # The status comes first (RFC 9113 8.3.2).
            self._statuses[number] = int(next(iter(self._decoder.decode(payload)))[1])
        if flags & self.END_STREAM:
            answer.finish(self._statuses[number])
