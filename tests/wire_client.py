"""A client over a bare socket: sees every byte, leaves when it is told to, and knows when it did.

SDKs buffer, retry and reconnect; tests of what happens on the wire must not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

import httptools
import msgspec

from headrace.protocol.sse import SSEDecoder, SSEEvent

MAX_EVENT_BYTES = 16 * 1024 * 1024


class WireClient(asyncio.Protocol):
    """One connection with one request on it. Made by ``Wire``."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.events: list[SSEEvent] = []
        """Of a response that is an event stream."""
        self.is_complete = False
        """Whether the response came to its proper end."""
        self.is_closed = False
        self.left_at: float | None = None
        """When this side closed, by CLOCK_MONOTONIC, just before it did."""
        self.longest_pause_s = 0.0
        """Between two arrivals of data, since the first."""
        self._arrived_at: float | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._decoder = SSEDecoder(max_event_bytes=MAX_EVENT_BYTES)
        self._transport: asyncio.Transport | None = None
        self._changed = asyncio.Event()

    # What a test does

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        assert self._transport is not None
        lines = [
            f"{method} {path} HTTP/1.1",
            "host: 127.0.0.1",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if body:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        self._transport.write("\r\n".join([*lines, "", ""]).encode() + body)

    def expect_another(self) -> None:
        """Forget the response, so that another request can go over this connection."""
        self.status, self.is_complete = None, False
        self.headers.clear()
        self.body.clear()

    def leave(self) -> None:
        """Close the connection now."""
        if self.left_at is None:
            self.left_at = time.monotonic()
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read nothing more."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    async def until(self, is_reached: Callable[[], bool], *, within_s: float = 30.0) -> None:
        """Wait until something is true of this client.

        Raises:
            AssertionError: It is not, in time or when the connection has closed.
        """
        try:
            async with asyncio.timeout(within_s):
                while not is_reached():
                    assert not self.is_closed, f"closed after {self.status}, {len(self.events)} events: {self.text}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not within {within_s} s: {self.status}, {len(self.events)} events") from None

    async def events_seen(self, count: int, *, within_s: float = 30.0) -> None:
        await self.until(lambda: len(self.events) >= count, within_s=within_s)

    async def completed(self, *, within_s: float = 30.0) -> None:
        """Wait for the end of the response."""
        await self.until(lambda: self.is_complete, within_s=within_s)

    async def response(self, *, within_s: float = 30.0) -> WireClient:
        """Wait for the whole response, and close."""
        await self.completed(within_s=within_s)
        self.leave()
        return self

    async def closed(self, *, within_s: float = 30.0) -> None:
        """Wait until the connection is gone."""
        await self.until(lambda: self.is_closed, within_s=within_s)

    def forget_body(self) -> int:
        """Forget what has come of the body and its events, and return how many bytes that were."""
        size = len(self.body)
        self.body.clear()
        self.events.clear()
        return size

    @property
    def text(self) -> str:
        """The body so far."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport by class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if self._arrived_at is not None:
            self.longest_pause_s = max(self.longest_pause_s, now - self._arrived_at)
        self._arrived_at = now
        self._parser.feed_data(data)
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        self._transport = None
        self._changed.set()

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.body += body
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            self.events += self._decoder.receive_data(body)

    def on_message_complete(self) -> None:
        self.is_complete = True


class Wire:
    """The connections of one test to one server; leaving the context closes those that are still open.

    Args:
        port: On 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._clients: list[WireClient] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.leave()
        for client in self._clients:
            await client.closed()

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> WireClient:
        """Connect, send one request, and return without waiting for the answer.

        Args:
            method: HTTP method.
            path: With its query.
            headers: Beside ``host`` and those of the body.
            body: Sent as JSON; None sends none.
        """
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(WireClient, "127.0.0.1", self._port)
        self._clients.append(client)
        client.send(method, path, headers or {}, b"" if body is None else msgspec.json.encode(body))
        return client

    async def chat(
        self,
        simulate: Mapping[str, Any] | None = None,
        *,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> WireClient:
        """Ask for an answer that the simulator plays as ``simulate`` says."""
        asked: dict[str, Any] = {"model": "sim", "stream": stream, "messages": [{"role": "user", "content": "Go on."}]}
        if simulate is not None:
            asked["simulate"] = simulate
        return await self.request("POST", "/v1/chat/completions", headers=headers, body=asked | fields)

    async def fetch(self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> WireClient:
        """Return a whole response."""
        client = await self.request(method, path, headers=headers)
        return await client.response()
