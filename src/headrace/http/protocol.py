"""uvicorn's HTTP/1.1 protocol with bounds on what a peer sends, and on how long it takes.

What differs from the class it extends:

- A connection on which no request is being answered must send a whole head within ``head_timeout_s``; this is the
  keep-alive timeout too. One timer watches all connections. One that does not take the end of its response within
  that time is dropped.
- A head has at most ``max_head_bytes`` and ``MAX_HEADERS`` fields (431). Trailers are dropped.
- At most ``max_connections`` are served. The next ``SPARE_CONNECTIONS`` are told so (503), all others are dropped.
- A request that comes before the one in front of it is answered (pipelining, RFC 9112 9.3.2) is not served: the answer
  in front goes on, then the connection closes and the client asks again on another. The extended class stops reading
  there, and would no longer learn that the client has left while its stream runs.
- What is wrong with a request is said in OpenAI's error shape.
- ``scope["extensions"]["headrace.connection"]`` is a ``Connection``.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.errors import ClientRequestError, Overloaded, RelayError
from headrace.http.deadlines import Deadlines
from headrace.http.headers import retry_after
from headrace.protocol.errors import error_body

logger = logging.getLogger(__name__)

MAX_HEADERS = 256
"""Fields in one request head. Browsers and SDKs send about 20."""

SPARE_CONNECTIONS = 64
"""Connections beyond the limit that still learn why they are refused."""

MAX_DEAF_BYTES = 1024 * 1024
"""How much is thrown away behind a request that is not served, before the connection is dropped."""

REFUSED_TIMEOUT_S = 1.0
"""How long such a connection may take to send something: an answer before that could be lost."""


class Connection:
    """What an application may know of and do with the connection of its request."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def abort(self) -> None:
        """Drop it at once, with everything still unsent."""
        self._transport.abort()

    def write_buffer_bytes(self) -> int:
        """Return how much waits in this process because the peer does not take it."""
        return self._transport.get_write_buffer_size()

    def is_gone(self) -> bool:
        """Return whether the connection is closing or closed: what is written now goes nowhere."""
        return self._transport.is_closing()


class Connections:
    """The connections of one server.

    Args:
        max_connections: How many are served at once.
        max_head_bytes: Bound on one request head.
        head_timeout_s: How long a connection may take to send one.
        on_refused: Told the HTTP status of each refusal.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        max_head_bytes: int,
        head_timeout_s: float,
        on_refused: Callable[[int], None],
    ) -> None:
        self.max_head_bytes = max_head_bytes
        self.on_refused = on_refused
        self.served: set[asyncio.Protocol] = set()
        self.spare: set[RelayProtocol] = set()
        self.awaiting_head = Deadlines[RelayProtocol](head_timeout_s, RelayProtocol.expire)
        self.awaiting_refusal = Deadlines[RelayProtocol](REFUSED_TIMEOUT_S, RelayProtocol.expire)
        self._max_connections = max_connections

    def admit(self, protocol: RelayProtocol) -> bool:
        """Count a new connection in. False when it is beyond the limit: it is told so when it asks, or dropped."""
        if len(self.served) < self._max_connections:
            self.served.add(protocol)
            self.awaiting_head.begin(protocol)
            return True
        if len(self.spare) < SPARE_CONNECTIONS:
            self.spare.add(protocol)
            self.awaiting_refusal.begin(protocol)
        else:
            self.on_refused(503)
            protocol.transport.abort()
        return False

    def adopt(self, protocol: asyncio.Protocol) -> None:
        """Count in what took a connection over that was admitted; ``forget`` counts it out."""
        self.served.add(protocol)

    def forget(self, protocol: asyncio.Protocol) -> None:
        """Count a connection out. Idempotent."""
        self.served.discard(protocol)
        if isinstance(protocol, RelayProtocol):
            self.spare.discard(protocol)
            self.awaiting_head.end(protocol)
            self.awaiting_refusal.end(protocol)


class _Phase(enum.Enum):
    """Where the peer is in what it sends."""

    BETWEEN = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    DEAF = enum.auto()
    """Nothing more is parsed: what comes is thrown away."""


class _Pipelined(Exception):
    """Stops the parser at a request that is not served."""


class RelayProtocol(HttpToolsProtocol):
    """One connection. Made by ``relay_protocol``."""

    shared: ClassVar[Connections]

    _phase = _Phase.BETWEEN
    _is_admitted = True
    _overhead_bytes = 0
    """Received since a head was complete, or a body brought something."""
    _deaf_bytes = 0
    _head_fields = 0
    """Fields in the head of the current request, without its trailers."""

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = {"headrace.connection": Connection(transport)}
        self._is_admitted = self.shared.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.shared.forget(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        # Another protocol takes the connection over, and counts it as its own.
        self.shared.forget(self)
        super().handle_websocket_upgrade()

    def expire(self) -> None:
        """End a connection that took too long to send a head, or to take the end of a response."""
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self._phase is _Phase.HEAD:
            self._refuse(ClientRequestError("the request head did not arrive in time", status=408, code="head_timeout"))
        else:
            self.transport.close()
            # Closing waits until the peer has taken all, which it may never do.
            self.shared.awaiting_head.begin(self)

    # --- what the peer sends

    def data_received(self, data: bytes) -> None:
        if self._phase is _Phase.DEAF:
            self._discard(data)
            return
        if not self._is_admitted:
            self._refuse(Overloaded("too many connections", status=503, code="too_many_connections", retry_after_s=1.0))
            return
        self._overhead_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        except httptools.HttpParserError as error:
            self._stop_parsing(error)
        else:
            if self._overhead_bytes > self.shared.max_head_bytes:
                self._refuse(_head_too_large(f"{self.shared.max_head_bytes} bytes"))

    def on_message_begin(self) -> None:
        if self._is_answering:
            self._phase = _Phase.DEAF
            self.cycle.keep_alive = False
            raise _Pipelined
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item] # (extensions hold any object)
        self._phase = _Phase.HEAD

    def on_headers_complete(self) -> None:
        self._head_fields = len(self.headers)
        if self._head_fields > MAX_HEADERS:
            raise _head_too_large(f"{MAX_HEADERS} header fields")
        # What came may be a body already: the head is added up only when all of it is too much.
        limit = self.shared.max_head_bytes
        if self._overhead_bytes > limit:
            head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if head_bytes > limit:
                raise _head_too_large(f"{limit} bytes")
        self._overhead_bytes = 0
        self._phase = _Phase.BODY
        self.shared.awaiting_head.end(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._overhead_bytes = 0
        self._phase = _Phase.BETWEEN
        # Trailers were collected behind the head, where nobody expects them to appear later.
        del self.headers[self._head_fields :]
        super().on_message_complete()

    # --- what is answered

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        # Also when the connection closes now: closing takes as long as the peer likes.
        self.shared.awaiting_head.begin(self)
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        self._refuse(ClientRequestError(msg, code="invalid_http"))

    def _stop_parsing(self, error: httptools.HttpParserError) -> None:
        """Act on what stopped the parser: the peer's bytes, or one of the callbacks above."""
        reason = error.__context__
        if isinstance(reason, _Pipelined):
            return
        if isinstance(reason, RelayError):
            self._refuse(reason)
        elif reason is None or isinstance(reason, UnicodeError | httptools.HttpParserError):
            self.send_400_response("this is not a valid HTTP request")
        else:
            logger.error("a request head could not be handled", exc_info=reason)
            self._refuse(RelayError("the relay failed on this request; its log says why"))

    def _refuse(self, error: RelayError) -> None:
        """Answer outside the application, and close.

        When the application has begun to answer, the connection is dropped: anything written now would become a part of
        that answer.
        """
        self.shared.on_refused(error.status)
        if self._is_answering:
            if self.cycle.response_started:
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._phase = _Phase.DEAF
        self.transport.write(_answer(error, self.server_state.default_headers))
        # RFC 9112 9.6: what is still on its way here would reset a closed connection, and the answer would be lost. So
        # only this side's half is closed, and the rest is thrown away until the peer closes or takes too long.
        self.shared.awaiting_head.begin(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _discard(self, data: bytes) -> None:
        self._deaf_bytes += len(data)
        if self._deaf_bytes > MAX_DEAF_BYTES:
            self.transport.abort()


def relay_protocol(connections: Connections) -> type[RelayProtocol]:
    """Return the protocol class of one server, for ``uvicorn.Config(http=…)``."""

    class ServerProtocol(RelayProtocol):
        shared = connections

    return ServerProtocol


def _head_too_large(limit: str) -> ClientRequestError:
    return ClientRequestError(f"the request head has more than {limit}", status=431, code="head_too_large")


def _answer(error: RelayError, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a whole HTTP/1.1 response."""
    body = error_body(message=error.message, type=error.type, code=error.code, param=error.param)
    headers = [
        *default_headers,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if error.retry_after_s is not None:
        headers.append(retry_after(error.retry_after_s))
    status = HTTPStatus(error.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), *(b"%s: %s" % header for header in headers)]
    return b"\r\n".join([*lines, b"", body])
