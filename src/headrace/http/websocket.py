"""uvicorn's WebSocket protocol with bounds, and with a way to write many frames at once.

What differs from the class it extends:

- A connection counts as one of ``Connections`` until it is lost, as it did before it was upgraded.
- ``scope["extensions"]["headrace.connection"]`` is a ``SocketConnection``, which writes frames that are encoded already.
- A shutdown is an event to the session, which closes the connection itself.
- Nothing is logged about requests: their URLs may hold tickets.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.transports import BaseTransport
from typing import Any, ClassVar, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from headrace.http.protocol import Connections

WRITE_HIGH_WATER_BYTES = 64 * 1024
"""Unsent bytes from which writers wait."""

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

    def flush(self) -> None:
        """Hand over to the transport what was written."""
        protocol = self._protocol
        if self._gathered and not protocol.close_sent and not protocol.transport.is_closing():
            protocol.transport.write(b"".join(self._gathered))
        self._gathered.clear()
        self._gathered_bytes = 0


class RelayWebSocket(WebSocketsSansIOProtocol):
    """One connection. Made by ``relay_websocket``."""

    shared: ClassVar[Connections]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = _SILENT
        self._connection = SocketConnection(self)

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.shared.adopt(self)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self.shared.forget(self)
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        # A close frame must not overtake what was written before it.
        self._connection.flush()
        await super().send(message)

    def shutdown(self) -> None:
        """Let the session say how its streams ended, and close; the extended class would cut it off."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait(cast("Any", {"type": SHUTDOWN}))
        else:
            super().shutdown()

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
