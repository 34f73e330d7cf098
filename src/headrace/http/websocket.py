"""uvicorn's WebSocket protocol with bounds, and with a way to write many frames at once.

What differs from the class it extends:

- A connection counts as one of ``Connections`` until it is lost, as it did before it was upgraded.
- ``scope["extensions"]["headrace.connection"]`` is a ``SocketConnection``, which writes frames that are encoded already.
- A shutdown is an event to the session, which closes the connection itself.
- A peer that breaks the protocol learns why: what it still sends is thrown away until it closes.
- A message has at most ``MAX_FRAGMENTS`` frames: empty ones would add to no limit on its size.
- Nothing is logged about requests: their URLs may hold tickets.
- A peer that sends pings and takes no pongs is not read from.
- Every handshake is answered, what is wrong with it in OpenAI's error shape. The extended class leaves one that it cannot
  read (a body, too many or too long headers) open for ever.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.transports import BaseTransport
from typing import Any, ClassVar, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import StatusLike

from headrace.errors import ClientRequestError, RelayError
from headrace.http.protocol import MAX_DEAF_BYTES, Connections
from headrace.protocol.errors import error_body

WRITE_HIGH_WATER_BYTES = 64 * 1024
"""Unsent bytes from which writers wait."""

TURN_BYTES = 64 * 1024
"""A read of this size or more is followed by the turn of other connections: a frame may be as short as six bytes."""

DEAF_S = 5.0
"""How long a peer that broke the protocol may take to close."""

MAX_FRAGMENTS = 1000
"""Frames of one message."""

SHUTDOWN = "headrace.shutdown"
"""Type of the event by which a session learns that the server goes down."""

_SILENT = logging.getLogger(f"{__name__}.silent")
_SILENT.disabled = True


class SocketConnection:
    """What a session may know of and do with its connection.

    What its streams write in one round of the event loop goes out in one write.
    """

    __slots__ = ("_gathered", "_gathered_bytes", "_protocol")

    def __init__(self, protocol: RelayWebSocket) -> None:
        self._protocol = protocol
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0

    def abort(self) -> None:
        """Drop it at once, with everything still unsent."""
        self._protocol.transport.abort()

    def write_buffer_bytes(self) -> int:
        """Return how much waits in this process because the peer does not take it."""
        return self._gathered_bytes + self._protocol.transport.get_write_buffer_size()

    async def write(self, frames: bytes) -> None:
        """Write whole frames; waits while the peer takes nothing. What is written to a lost connection is dropped."""
        await self._protocol.writable.wait()
        if not self._gathered:
            self._protocol.loop.call_soon(self.flush)
        self._gathered.append(frames)
        self._gathered_bytes += len(frames)
        if self._gathered_bytes >= WRITE_HIGH_WATER_BYTES:
            # Now, so that the next writer sees whether the peer takes it.
            self.flush()

    def is_gone(self) -> bool:
        """Return whether the connection is closing or closed: what is written now goes nowhere."""
        return self._protocol.close_sent or self._protocol.transport.is_closing()

    def flush(self) -> None:
        """Hand over to the transport what was written."""
        protocol = self._protocol
        if self._gathered and not self.is_gone():
            protocol.transport.write(b"".join(self._gathered))
        self._gathered.clear()
        self._gathered_bytes = 0


class Handshaking(ServerProtocol):
    """The protocol without I/O; refuses in OpenAI's error shape."""

    def reject(self, status: StatusLike, text: str) -> Response:
        response = super().reject(status, text)
        # What stands in the header at fault may be a ticket, or a key in the wrong place.
        reason = text.partition("\n")[0].partition(" header: ")[0] or "a WebSocket may not be opened here"
        kind = ClientRequestError if response.status_code < 500 else RelayError
        response.body = error_body(message=reason, type=kind.type, code="handshake_refused", param=None)
        # These have one value each; setting one would add another.
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(response.body)))):
            del response.headers[name]
            response.headers[name] = value
        return response


class RelayWebSocket(WebSocketsSansIOProtocol):
    """One connection. Made by ``relay_websocket``."""

    shared: ClassVar[Connections]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = _SILENT
        self.conn = Handshaking(max_size=self.config.ws_max_size, logger=_SILENT)
        self._connection = SocketConnection(self)
        self._is_deaf = False
        self._deaf_bytes = 0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.shared.adopt(self)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self._deaf_bytes += len(data)
            if self._deaf_bytes > MAX_DEAF_BYTES:
                self.transport.abort()
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_unreadable()
        elif len(data) >= TURN_BYTES and not self.read_paused:
            # uvloop reads a full socket up to 32 times before it looks at another one; these would be seconds of parsing.
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)

    def _refuse_unreadable(self) -> None:
        """Answer a handshake that could not even be read."""
        refusal = b"".join(self.conn.data_to_send())
        if not refusal:
            refusal = self.conn.reject(400, "this is not a valid WebSocket handshake").serialize()
        self.transport.write(refusal)
        self.transport.close()

    def _read_on(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.shared.forget(self)
        super().connection_lost(exc)

    def eof_received(self) -> None:
        # What was written before the peer left counts as delivered, and the connection closes now.
        self._connection.flush()

    def handle_close(self, event: Frame) -> None:
        self._connection.flush()
        super().handle_close(event)

    async def send(self, message: Any) -> None:
        # A close frame must not overtake what was written before it.
        self._connection.flush()
        await super().send(message)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self.transport.resume_reading()

    def handle_ping(self) -> None:
        if self.close_sent:
            return
        super().handle_ping()
        if not self.writable.is_set() and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def shutdown(self) -> None:
        """Let the session say how its streams ended, and close; the extended class would cut it off."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait(cast("Any", {"type": SHUTDOWN}))
        else:
            super().shutdown()

    def handle_parser_exception(self) -> None:
        """Send the close frame that says what is wrong, and throw away what still comes.

        The extended class closes at once: then whatever is on its way here resets the connection, and the peer never
        learns why.
        """
        close = self.conn.close_sent
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": 1006 if close is None else close.code, "reason": ""}
        )
        self.close_sent = self._is_deaf = True
        if self.transport.is_closing():
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_timer = self.loop.call_later(DEAF_S, self.transport.abort)
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def handle_cont(self, event: Frame) -> None:
        if self.close_sent:
            return
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        else:
            self.conn.fail(1009, f"a message has more than {MAX_FRAGMENTS} frames")
            self.handle_parser_exception()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[str, Any] = {
                **(self.scope["extensions"] or {}),
                "headrace.connection": self._connection,
            }
            self.scope["extensions"] = extensions


def relay_websocket(connections: Connections) -> type[asyncio.Protocol]:
    """Return the protocol class of one server, for ``uvicorn.Config(ws=…)``."""

    class ServerWebSocket(RelayWebSocket):
        shared = connections

    return ServerWebSocket
