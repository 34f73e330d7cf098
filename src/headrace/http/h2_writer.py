"""Writes the frames of one HTTP/2 connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from h2.connection import H2Connection

from headrace.http.h2_connection import FRAME_BYTES
from headrace.http.h2_stream import Stream

WRITE_BYTES = 128 * 1024
"""About how much is framed in one round of the event loop."""


class FrameWriter:
    """Everything that is to be sent in one round of the event loop goes out in one write.

    Streams take turns, a frame each, so that a large response, or one that its reader does not take, holds nobody else
    back as far as the connection's window goes. What the transport does not take waits in the streams.

    Args:
        h2: The connection's state.
        transport: Where to write.
        loop: The event loop.
        on_framed: Told each frame's stream, and whether its response has ended with it.
        on_idle: Called when everything is handed to the transport, or waits for a window.
    """

    def __init__(
        self,
        h2: H2Connection,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        on_framed: Callable[[Stream, bool], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._h2 = h2
        self._transport = transport
        self._loop = loop
        self._on_framed = on_framed
        self._on_idle = on_idle
        self._ready = bytearray()
        """Frames of this round."""
        self._waiting: dict[Stream, None] = {}
        """Streams with something to send that no window holds back, in the order of their turns."""
        self._written_bytes = 0
        self._is_due = False
        self._is_paused = False
        """Whether the transport has enough."""

    def queue(self, stream: Stream) -> None:
        """Give a stream its turn, when it has anything to send."""
        if stream.has_more:
            self._waiting[stream] = None

    def hold(self) -> None:
        """Take over what h2 has framed: it throws that away when a GOAWAY comes."""
        self._ready += self._h2.data_to_send()

    def wake(self) -> None:
        """Write when all that is ready in this round of the event loop has spoken."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.flush)

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self.wake()

    def unsent_bytes(self, mark: int) -> int:
        """Return how much of the first ``mark`` bytes ever written still waits in this process."""
        return max(0, mark - self._written_bytes + self._transport.get_write_buffer_size())

    def flush(self) -> None:
        """Write now."""
        self._is_due = False
        if self._transport.is_closing():
            return
        framed = self._frame()
        self.hold()
        if self._ready:
            self._written_bytes += len(self._ready)
            for stream in framed:
                stream.mark = self._written_bytes
            data, self._ready = self._ready, bytearray()
            self._transport.write(data)
        if self._waiting and not self._is_paused:
            self.wake()
        else:
            self._on_idle()

    def _frame(self) -> list[Stream]:
        """Frame what the windows and the transport have room for; returns whose it is."""
        framed: list[Stream] = []
        left_bytes = 0 if self._is_paused else WRITE_BYTES
        while self._waiting and left_bytes > 0:
            stream = next(iter(self._waiting))
            del self._waiting[stream]
            if not stream.has_more:
                continue
            window = self._h2.local_flow_control_window(stream.stream_id)
            size = max(0, min(len(stream.outgoing), window, FRAME_BYTES))
            if stream.outgoing and not size:
                # It gets its next turn when a window opens.
                stream.block()
                continue
            data = stream.take(size)
            is_last = stream.is_complete and not stream.outgoing
            self._h2.send_data(stream.stream_id, data, end_stream=is_last)
            left_bytes -= size
            framed.append(stream)
            self._on_framed(stream, is_last)
            self.queue(stream)
        return framed
