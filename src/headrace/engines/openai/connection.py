"""One TCP connection whose socket is ours.

The event loop's transports read whenever data arrive. Here the owner decides: with a callback the loop says when the
socket is readable, without one the socket is out of the loop and the kernel gathers what arrives until ``receive``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable

# Linger on, for 0 s: closing discards what is unsent and sends RST.
_RESET = struct.pack("ii", 1, 0)


class Connection:
    """A connected, non-blocking socket. All methods must run on the event loop's thread and never block."""

    __slots__ = ("_buffer", "_descriptor", "_is_writing", "_loop", "_socket", "_wire", "has_more", "is_closed")

    def __init__(self, sock: socket.socket, buffer: memoryview, loop: asyncio.AbstractEventLoop) -> None:
        """Take over a socket.

        Args:
            sock: Connected and non-blocking; closed by this object from now on.
            buffer: Where data are received; may be shared by all connections of a thread.
            loop: The running loop.
        """
        self._socket = sock
        self._descriptor = sock.fileno()
        self._buffer = buffer
        self._loop = loop
        self._wire: deque[memoryview] = deque()
        self._is_writing = False
        self.has_more = False
        """The last ``receive`` filled the buffer, so more is probably waiting."""
        self.is_closed = False

    @property
    def is_sent(self) -> bool:
        """True when the kernel has all that was given to ``send``."""
        return not self._wire

    @property
    def is_quiet(self) -> bool:
        """True when nothing waits to be received: no data, no end, no error."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def watch(self, on_readable: Callable[[], None] | None) -> None:
        """Have ``on_readable`` called for as long as there is something to receive; None takes the socket off the loop."""
        if self.is_closed:
            return
        if on_readable is None:
            self._loop.remove_reader(self._descriptor)
        else:
            self._loop.add_reader(self._descriptor, on_readable)

    def send(self, *parts: bytes) -> None:
        """Send what the kernel takes now, and the rest as it makes room.

        A failure is not reported here: the engine may have answered before it closed, and ``receive`` brings the answer
        first and the failure after it.
        """
        self._wire.extend(memoryview(part) for part in parts if part)
        self._flush()

    def receive(self, most_bytes: int | None = None) -> memoryview | bytes | None:
        """Return what has arrived, at most so many bytes of it, empty at the end of the connection, None when nothing has arrived.

        The result is valid until anything else is received into the same buffer.

        Raises:
            OSError: The connection broke.
        """
        try:
            count = self._socket.recv_into(self._buffer, most_bytes or 0)
        except BlockingIOError:
            self.has_more = False
            return None
        self.has_more = count == (most_bytes or len(self._buffer))
        return self._buffer[:count]

    def close(self) -> None:
        """Close in an orderly way. Idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.remove_reader(self._descriptor)
        if self._is_writing:
            self._loop.remove_writer(self._descriptor)
        self._wire.clear()
        self._socket.close()

    def abort(self) -> None:
        """Close so that the engine notices at once. Idempotent.

        RST rather than FIN: an engine may take a FIN for a half-closed client that still listens, and generate on.
        """
        if not self.is_closed:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def _refill(self) -> bool:
        """Move more bytes into an empty ``_wire``; for subclasses that encode what they send. False: there are none."""
        return False

    def _flush(self) -> None:
        wire = self._wire
        try:
            while wire or self._refill():
                # Several buffers in one call: a body of megabytes is never copied to stand behind its head.
                self._drop_sent(self._socket.sendmsg(wire))
        except BlockingIOError:
            if not self._is_writing:
                self._is_writing = True
                self._loop.add_writer(self._descriptor, self._flush)
            return
        except OSError:
            wire.clear()
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._descriptor)

    def _drop_sent(self, count: int) -> None:
        wire = self._wire
        while wire and count >= len(wire[0]):
            count -= len(wire.popleft())
        if count:
            wire[0] = wire[0][count:]
