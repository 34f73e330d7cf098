"""One small HTTP request, for what the load generator does not do: other routes, and bodies as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools


async def fetch(port: int, request: bytes, *, on_body: Callable[[bytes], None]) -> int:
    """Send ``request`` to loopback and hand over each part of the body, unframed, as it comes.

    Returns:
        The status.

    Raises:
        ConnectionError: The response was cut short.
        OSError: There is no connection.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        listener = _Listener(on_body)
        parser = httptools.HttpResponseParser(listener)
        while not listener.is_complete:
            data = await reader.read(64 * 1024)
            if not data:
                raise ConnectionError("the response was cut short")
            parser.feed_data(data)
        status: int = parser.get_status_code()
        return status
    finally:
        writer.close()


class _Listener:
    def __init__(self, on_body: Callable[[bytes], None]) -> None:
        self.on_body = on_body
        self.is_complete = False

    def on_message_complete(self) -> None:
        self.is_complete = True


async def get(port: int, path: str) -> bytes:
    """Return the body of a GET request.

    Raises:
        ConnectionError: The answer is no 200, or was cut short.
    """
    parts: list[bytes] = []
    status = await fetch(port, get_request(port, path), on_body=parts.append)
    body = b"".join(parts)
    if status != 200:
        raise ConnectionError(f"{path}: {status}: {body[:200]!r}")
    return body


def get_request(port: int, path: str) -> bytes:
    """Return a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
