"""A simulator on a real socket, and a client that sees every byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from headrace.engines.scripted import SimulatorServer


class Response(msgspec.Struct):
    """What came over the wire until ``end``: ``fin``, ``rst``, ``kept`` (a whole answer), or ``silent``."""

    raw: bytes
    end: str

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    @property
    def wire_body(self) -> bytes:
        """The body with its framing."""
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.wire_body
        wire, parts, at = self.wire_body, [], 0
        while at < len(wire):
            start = wire.index(b"\r\n", at) + 2
            size = int(wire[at : start - 2], 16)
            parts.append(wire[start : start + size])
            at = start + size + 2
        return b"".join(parts)

    @property
    def data(self) -> list[bytes]:
        """The data of every event."""
        return data_of(self.body)

    @property
    def text(self) -> str:
        return text_of(self.data)


def data_of(body: bytes) -> list[bytes]:
    blocks = body.split(b"\n\n")
    lines = [line for block in blocks[:-1] for line in block.split(b"\n")]
    return [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]


def text_of(data: list[bytes]) -> str:
    """Return the text of choice 0."""
    deltas = [
        choice["delta"]
        for chunk in data
        if chunk != b"[DONE]"
        for choice in json.loads(chunk)["choices"]
        if choice["index"] == 0
    ]
    return "".join(delta.get("content") or "" for delta in deltas)


def request_body(simulate: dict[str, Any] | None = None, **fields: Any) -> bytes:
    body: dict[str, Any] = {
        "model": "scripted",
        "stream": True,
        "messages": [{"role": "user", "content": "one two"}],
        **fields,
    }
    if simulate is not None:
        body["simulate"] = simulate
    return json.dumps(body).encode()


def http_request(
    body: bytes, *, path: str = "/v1/chat/completions", method: str = "POST", version: str = "1.1"
) -> bytes:
    head = f"{method} {path} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer sk-secret\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _is_whole(raw: bytes) -> bool:
    head, found, body = raw.partition(b"\r\n\r\n")
    lowered = head.lower()
    if not found or b"connection: close" in lowered:
        return False
    if b"transfer-encoding: chunked" in lowered:
        return body.endswith(b"0\r\n\r\n")
    if b"content-length: " in lowered:
        return len(body) >= int(lowered.partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head.split(b" ")[1] in {b"204", b"304"}


async def receive(reader: asyncio.StreamReader, *, quiet_s: float | None = None) -> Response:
    """Read until the answer is whole or the connection ends; with ``quiet_s``, also until nothing came for so long."""
    raw = b""
    while not _is_whole(raw):
        try:
            data = await asyncio.wait_for(reader.read(1 << 20), quiet_s)
        except TimeoutError:
            return Response(raw, "silent")
        except ConnectionResetError:
            return Response(raw, "rst")
        if not data:
            return Response(raw, "fin")
        raw += data
    return Response(raw, "kept")


Ask = Callable[..., Awaitable[Response]]


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorServer]:
    async with SimulatorServer() as server:
        yield server


@pytest.fixture
def ask(simulator: SimulatorServer) -> Ask:
    """Send one request on its own connection, and return what came back."""

    async def ask(
        simulate: dict[str, Any] | None = None,
        *,
        raw: bytes | None = None,
        quiet_s: float | None = None,
        version: str = "1.1",
        port: int | None = None,
        **fields: Any,
    ) -> Response:
        reader, writer = await asyncio.open_connection("127.0.0.1", port or simulator.port)
        try:
            writer.write(raw or http_request(request_body(simulate, **fields), version=version))
            return await receive(reader, quiet_s=quiet_s)
        finally:
            writer.close()

    return ask


@pytest.fixture
def body_of() -> Callable[..., bytes]:
    """Build a chat request's JSON."""
    return request_body
