"""The Messages API on loopback, and a listener that does what the pump does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.engines.anthropic import shapes

from headrace.engines.anthropic import AnthropicEngine
from headrace.types.chunk import Chunks, ChunkView
from headrace.types.engine import EngineEnd, EngineRequest, Generation

WAIT_S = 10.0
KEY = "sk-ant-0123456789"


class Asked:
    """One request as it arrived."""

    def __init__(self, head: str, body: bytes) -> None:
        self.line, *lines = head.split("\r\n")
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }
        self.body: dict[str, Any] = json.loads(body) if body else {}


class FakeMessages:
    """Plays what it is told to, whatever is asked; each request to generate is checked against the SDK's types."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[Asked] = []
        self._plays: list[list[bytes]] = []

    @property
    def root(self) -> str:
        """As the SDK wants it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def stream(self, *events: shapes.Event, is_cut: bool = False) -> None:
        """Answer the next request with events, each checked; ``is_cut`` closes the connection behind them."""
        parts = [shapes.sse(shapes.checked(event)) for event in events]
        chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self._plays.append([head, *chunks, *([] if is_cut else [b"0\r\n\r\n"])])

    def reject(self, status: int, kind: str, message: str, **headers: str) -> None:
        """Answer the next request with an error, checked too where the SDK knows its type."""
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_01"}
        self.reply(status, json.dumps(body if kind == "request_too_large" else shapes.checked(body)), **headers)

    def reply(self, status: int, body: str, **headers: str) -> None:
        """Answer the next request with JSON."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        self._plays.append([head.encode(), body.encode()])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while self._plays:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
                asked = Asked(head, b"")
                size = int(asked.headers.get("content-length", "0"))
                self.asked.append(Asked(head, await reader.readexactly(size)))
                for part in (play := self._plays.pop(0)):
                    writer.write(part)
                    await writer.drain()
                if play[0].endswith(b"chunked\r\n\r\n") and play[-1] != b"0\r\n\r\n":
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def fake() -> AsyncIterator[FakeMessages]:
    double = FakeMessages()
    server = await asyncio.start_server(double.serve, "127.0.0.1", 0)
    double.port = server.sockets[0].getsockname()[1]
    yield double
    server.close()


class Answer:
    """What a pump has read of one generation."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.views: list[ChunkView] = []
        self.malformed = 0
        self.end = EngineEnd()

    def take(self, chunks: Chunks | None) -> None:
        if chunks is not None:
            assert len(chunks.views) == len(chunks.lines())
            self.lines += chunks.lines()
            self.views += chunks.views

    @property
    def usage(self) -> dict[str, Any] | None:
        """The last usage that any view carried: what a bill is made of."""
        return next((view.usage for view in reversed(self.views) if view.usage is not None), None)


@pytest.fixture
async def engine(fake: FakeMessages) -> AsyncIterator[AnthropicEngine]:
    async with AnthropicEngine(fake.url, api_key=KEY, wall_time=lambda: 1_700_000_000.5) as built:
        yield built


async def ask(engine: AnthropicEngine, *, headers: tuple[tuple[str, str], ...] = (), **fields: Any) -> Answer:
    """Send a chat request and read the answer to its end."""
    asked = {"model": "claude-opus-4-8", "messages": [{"role": "user", "content": "hi"}], **fields}
    request = EngineRequest(body=json.dumps(asked).encode(), headers=headers)
    answer, ended = Answer(), asyncio.Event()
    generation: Generation

    def ready() -> None:
        answer.take(generation.read())
        if generation.end is not None:
            ended.set()

    generation = engine.start(request, ready)
    await asyncio.wait_for(ended.wait(), WAIT_S)
    assert generation.end is not None
    answer.end, answer.malformed = generation.end, generation.malformed_chunks
    return answer
