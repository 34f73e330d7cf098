"""What tests behind reverse proxies share: requests through them, and ways to look at what comes back and who leaves."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

from tests.processes import Simulator
from tests.proxy import NAME, HTTP2Exchange, Proxy, TimedExchange, connect
from tests.system.wire import JSON, chat_body, text_of, wait_for
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Subprotocol

CHAT = "/v1/chat/completions"
EVENT_SOURCE = "/v1/completions/stream"

ENVIRON = {"HEADRACE_SERVER__ALLOWED_HOSTS": NAME}
"""What the configurations ask of the relay."""

SPOKEN: dict[str, Any] = {"fault": {"kind": "silence", "at": 1}}
"""Falls silent, for ever: that a client has left is then seen by nobody who only writes."""
PACED: dict[str, Any] = {"ttft_ms": 20, "itl_ms": 50, "tokens": 12, "timestamps": True}


def post(proxy: Proxy, body: bytes, *, path: str = CHAT, headers: Mapping[str, str] | None = None) -> TimedExchange:
    return TimedExchange(proxy.connect(), "POST", path, headers={**JSON, **(headers or {})}, body=body)


def get(proxy: Proxy, path: str, *, headers: Mapping[str, str] | None = None) -> TimedExchange:
    return TimedExchange(proxy.connect(), "GET", path, headers=headers or {})


# What comes back


class Token(NamedTuple):
    """One chunk of content. Times are of CLOCK_MONOTONIC."""

    text: str
    sent_at: float
    """When the engine wrote it."""
    arrived_at: float


def tokens_of(pieces: Iterable[bytes]) -> list[Token]:
    """Return the content of a chat stream with the times of its arrival."""
    tokens = []
    rest = b""
    for piece in pieces:
        arrived_at = time.monotonic()
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: {"):
                tokens += token_of(json.loads(event.removeprefix(b"data: ")), arrived_at)
    assert rest == b"", "the body ends inside an event"
    return tokens


def tokens_of_lines(pieces: Iterable[bytes]) -> list[Token]:
    """Return the content of NDJSON from the events route, likewise."""
    tokens = []
    rest = b""
    for piece in pieces:
        arrived_at = time.monotonic()
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b'{"offset"') and b'"chunk":' in line:
                tokens += token_of(json.loads(line)["chunk"], arrived_at)
    assert rest == b"", "the body ends inside a line"
    return tokens


def token_of(chunk: dict[str, Any], arrived_at: float) -> list[Token]:
    """Return the one token of a chunk, or none."""
    text = text_of([chunk])
    return [Token(text, chunk["sent_at"], arrived_at)] if text else []


def assert_one_by_one(tokens: list[Token]) -> None:
    """Each token is here before the engine sends the next one. A busy machine may miss it now and then."""
    assert len(tokens) >= 9
    in_time = sum(token.arrived_at < following.sent_at for token, following in itertools.pairwise(tokens))
    assert in_time >= 0.8 * (len(tokens) - 1), [token.arrived_at - token.sent_at for token in tokens]


def text_of_tokens(tokens: list[Token]) -> str:
    return "".join(token.text for token in tokens)


def unzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what can be read of a gzip body as it comes."""
    decompressor = zlib.decompressobj(31)
    for piece in pieces:
        yield decompressor.decompress(piece)
    assert decompressor.eof, "the gzip body has no end"


# Who leaves


def leave_streaming(proxy: Proxy, simulator: Simulator) -> float:
    """Begin a request, read some of it, close the connection; returns when, by CLOCK_MONOTONIC."""
    with post(proxy, chat_body(simulate=SPOKEN)) as exchange:
        exchange.read_until(b'"content":')
        return time.monotonic()


def leave_ndjson(proxy: Proxy, simulator: Simulator) -> float:
    with post(proxy, chat_body(simulate=SPOKEN), headers={"accept": "application/x-ndjson"}) as exchange:
        assert exchange.headers["content-type"].startswith("application/x-ndjson")
        exchange.read_until(b'"content":')
        return time.monotonic()


def leave_http2(proxy: Proxy, simulator: Simulator) -> float:
    with HTTP2Exchange(proxy.connect(alpn="h2"), CHAT, chat_body(simulate=SPOKEN)) as exchange:
        exchange.read_until(b'"content":')
        left_at = time.monotonic()
        exchange.cancel()
        wait_for(lambda: simulator.requests()[0]["outcome"], what="the abort")
        return left_at


def leave_before_the_first_token(proxy: Proxy, simulator: Simulator) -> float:
    with post(proxy, chat_body(simulate={"fault": {"kind": "silence_before"}})):
        wait_for(simulator.requests, what="the request")
        return time.monotonic()


def leave_blocking(proxy: Proxy, simulator: Simulator) -> float:
    with post(proxy, chat_body(stream=False, simulate=SPOKEN)):
        wait_for(simulator.requests, what="the request")
        return time.monotonic()


def leave_event_source(proxy: Proxy, simulator: Simulator) -> float:
    """The route lingers by default, for a page that comes back; this one does not."""
    with get(proxy, f"{EVENT_SOURCE}?prompt=Go%20on.&max_tokens=100000&linger=0") as exchange:
        exchange.read_until(b'"token":')
        return time.monotonic()


# WebSocket


@contextmanager
def websocket(proxy: Proxy) -> Iterator[ClientConnection]:
    with connect_websocket(
        f"wss://{NAME}/v1/stream",
        sock=connect(proxy.port),
        ssl=proxy.context(),
        proxy=None,
        subprotocols=[Subprotocol("headrace.v1")],
        close_timeout=1,
    ) as connected:
        yield connected


def start_frame(simulate: Mapping[str, Any], *, stream: str, linger: float | None = None) -> str:
    request = json.loads(chat_body(simulate=simulate))
    return json.dumps({"type": "start", "stream": stream, "request": request, "linger": linger})


# An engine that breaks


class HangingUp:
    """An upstream that answers ``/healthz``, and closes the connection on any other request."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        """How many it has accepted."""
        self.asked: list[bytes] = []
        """First lines of the requests that it has not answered."""
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(10)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        while request := connection.recv(65536):
            line = request.partition(b"\r\n")[0]
            if b"/healthz" not in line:
                self.asked.append(line)
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def ask_for_health(proxy: Proxy) -> None:
    """Leave a proxy with an idle connection to its upstream: when one of those breaks, proxies like to ask again."""
    with get(proxy, "/healthz") as exchange:
        assert exchange.status == 200
        exchange.read()
