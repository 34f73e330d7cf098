"""One request of an HTTP/2 connection, as its application sees it."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from h2.errors import ErrorCodes

from headrace.http.asgi import Application, Headers, Message, Scope

logger = logging.getLogger(__name__)

MAX_WAITING_BYTES = 64 * 1024
"""How much of a response may wait in one stream before its application waits too, give or take one write."""

_BODYLESS = frozenset({204, 304})


class Carrier(Protocol):
    """The connection that carries streams."""

    def send_head(self, stream: Stream, status: int, headers: Headers) -> None:
        """Send a response head."""

    def send_body(self, stream: Stream) -> None:
        """Send what waits in a stream when the peer takes it."""

    def take_body(self, stream: Stream, size: int) -> None:
        """Let the peer send so many more bytes of the request, since so many were read."""

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a stream at once, with everything still unsent."""

    def release(self, stream: Stream) -> None:
        """Forget a stream that is over and whose application has returned."""

    def unsent_bytes(self, mark: int) -> int:
        """Return how much of the first ``mark`` bytes of this connection still waits in this process."""


class Stream:
    """One request and its response.

    To the application it is ``receive`` and ``send``, and ``scope["extensions"]["headrace.connection"]``.

    Args:
        stream_id: The number in its frames.
        carrier: The connection.
        is_head: Whether the method is HEAD, so that the response has no body.
    """

    __slots__ = (
        "_carrier",
        "_heard",
        "_incoming",
        "_is_bodyless",
        "_room",
        "_uncredited_bytes",
        "has_returned",
        "is_complete",
        "is_over",
        "is_request_whole",
        "mark",
        "outgoing",
        "stream_id",
    )

    def __init__(self, stream_id: int, carrier: Carrier, *, is_head: bool) -> None:
        self.stream_id = stream_id
        self.outgoing = bytearray()
        """Response body that waits."""
        self.mark = 0
        """How many bytes the connection had written with the last ones of this stream."""
        self.is_request_whole = False
        self.is_complete = False
        """Whether the application has given all of the response."""
        self.is_over = False
        """Whether all of it was framed, or the stream was reset, or its connection is lost."""
        self.has_returned = False
        """Whether the application has returned."""
        self._carrier = carrier
        self._incoming = bytearray()
        self._uncredited_bytes = 0
        self._is_bodyless = is_head
        self._heard = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    # --- what the application may know of its peer, and do with it

    def abort(self) -> None:
        """Reset this stream at once, with everything still unsent; the others of its connection go on."""
        self._carrier.reset(self, ErrorCodes.CANCEL)

    def write_buffer_bytes(self) -> int:
        """Return how much waits in this process because the peer does not take it.

        What the connection has framed goes out in one line: what stands before the last byte of this stream is counted.
        """
        return len(self.outgoing) + self._carrier.unsent_bytes(self.mark)

    def is_gone(self) -> bool:
        """Return whether this stream was ended from outside, so that what is written now goes nowhere."""
        return self.is_over and not self.is_complete

    # --- what the connection asks and tells

    @property
    def has_more(self) -> bool:
        """Whether anything of the response is still to be framed."""
        return not self.is_over and (self.is_complete or bool(self.outgoing))

    def feed(self, data: bytes, credit: int) -> None:
        """Take a part of the request body; ``credit`` is what it took of the windows, padding included."""
        self._incoming += data
        self._uncredited_bytes += credit
        self._heard.set()

    def end_request(self) -> None:
        """Learn that the request is whole."""
        self.is_request_whole = True
        self._heard.set()

    def leave(self) -> int:
        """Learn that nothing more comes or goes; returns how much of the windows the unread body holds."""
        self.is_over = True
        self.outgoing.clear()
        self._heard.set()
        self._room.set()
        credit, self._uncredited_bytes = self._uncredited_bytes, 0
        return credit

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes to send; the application may go on when nothing is left."""
        data = bytes(self.outgoing[:size])
        del self.outgoing[:size]
        if self.outgoing:
            self._room.clear()
        else:
            self._room.set()
        return data

    def block(self) -> None:
        """Learn that what waits cannot be sent for now."""
        self._room.clear()

    def expire(self) -> None:
        """Give up a peer that took too long to take the end of its response."""
        self._carrier.reset(self, ErrorCodes.CANCEL)

    # --- the application

    async def run(self, app: Application, scope: Scope) -> None:
        """Let an application answer. A response that it leaves unfinished resets the stream."""
        try:
            await app(scope, self.receive, self.send)
            if not (self.is_complete or self.is_over):
                logger.error("a request was not answered to its end")
        except Exception:
            # The boundary of one request: the others of the connection go on.
            logger.exception("a request failed")
        finally:
            self.has_returned = True
            if not self.is_complete:
                self._carrier.reset(self, ErrorCodes.INTERNAL_ERROR)
            self._carrier.release(self)

    async def receive(self) -> Message:
        """ASGI's ``receive``. Cancelling it loses nothing."""
        await self._heard.wait()
        if self.is_over:
            return {"type": "http.disconnect"}
        self._heard.clear()
        body = bytes(self._incoming)
        self._incoming.clear()
        credit, self._uncredited_bytes = self._uncredited_bytes, 0
        if credit:
            self._carrier.take_body(self, credit)
        return {"type": "http.request", "body": body, "more_body": not self.is_request_whole}

    async def send(self, message: Message) -> None:
        """ASGI's ``send``. It waits while the peer takes nothing of what was sent before; cancelled, it sent nothing."""
        await self._room.wait()
        if self.is_over:
            # An application that only sends must still give way to whoever watches for its client to leave.
            await asyncio.sleep(0)
            return
        if message["type"] == "http.response.start":
            status: int = message["status"]
            self._is_bodyless = self._is_bodyless or status in _BODYLESS
            self._carrier.send_head(self, status, message["headers"])
            return
        if not self._is_bodyless:
            self.outgoing += message.get("body", b"")
        self.is_complete = not message.get("more_body", False)
        if len(self.outgoing) > MAX_WAITING_BYTES:
            self._room.clear()
        self._carrier.send_body(self)
