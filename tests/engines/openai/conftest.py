"""An engine made of raw sockets that plays bytes, and a listener that does what the pump does."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
import trustme
import uvloop

from headrace.engines.openai import OpenAIEngine
from headrace.types.chunk import Chunks
from headrace.types.engine import EngineEnd, EngineRequest, Generation

WAIT_S = 10.0


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every coroutine here runs on both loops: they differ in what they allow with descriptors."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Peer:
    """The engine's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[str, dict[str, str], bytes]:
        """Return request line, headers and body of the next request."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return head[0], headers, body

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def arrived(self) -> None:
        """Wait until all that was sent is in the other side's kernel: nothing is unacknowledged any more."""
        descriptor = self.writer.transport.get_extra_info("socket").fileno()
        async with asyncio.timeout(WAIT_S):
            while struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.001)

    async def gone(self) -> None:
        """Wait until the other side has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Break the connection with RST."""
        transport = self.writer.transport
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()


Handler = Callable[[Peer], Awaitable[None]]


class EngineDouble:
    """Listens on loopback; each connection is one call of the handler, after which it is closed."""

    def __init__(self, handler: Handler) -> None:
        self.connections = 0
        self.port = 0
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handler(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 (the test's own assertions: raised again in ``close``)
            self._errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for error in self._errors:
            raise error


Serve = Callable[..., Awaitable[EngineDouble]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts doubles, with TLS if given a context; all are stopped after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(handler: Handler, *, tls: ssl.SSLContext | None = None) -> EngineDouble:
            double = EngineDouble(handler)
            server = await asyncio.start_server(double.serve, "127.0.0.1", 0, ssl=tls)
            double.port = server.sockets[0].getsockname()[1]
            stack.push_async_callback(double.close)
            stack.callback(server.close)
            return double

        yield start


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Listener:
    """Reads whenever it is told to, like a pump before the first content."""

    def __init__(self) -> None:
        self.generation: Generation | None = None
        self.lines: list[bytes] = []
        self.calls = 0
        self._changed = asyncio.Event()

    def start(
        self, engine: OpenAIEngine, body: bytes = b"{}", *, headers: tuple[tuple[str, str], ...] = ()
    ) -> Generation:
        self.generation = engine.start(EngineRequest(body=body, headers=headers), self.ready)
        return self.generation

    @property
    def end(self) -> EngineEnd:
        assert self.generation is not None
        assert self.generation.end is not None
        return self.generation.end

    def ready(self) -> None:
        self.calls += 1
        assert self.generation is not None
        self.take(self.generation.read())
        self._changed.set()

    def take(self, chunks: Chunks | None) -> None:
        if chunks is not None:
            assert len(chunks.views) == len(chunks.lines())
            self.lines += chunks.lines()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def ended(self) -> EngineEnd:
        await self.until(lambda: self.generation is not None and self.generation.end is not None)
        return self.end


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def eventually() -> Eventually:
    """Waits for what no event announces."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110 (nobody could set an event)
                await asyncio.sleep(0.001)

    return wait


class Wire:
    """Bytes as engines send them."""

    HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    END = b"0\r\n\r\n"
    DONE = b"data: [DONE]\n\n"

    @staticmethod
    def line(text: str) -> bytes:
        return b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % text.encode()

    @classmethod
    def event(cls, text: str) -> bytes:
        return b"data: " + cls.line(text) + b"\n\n"

    @staticmethod
    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    @classmethod
    def answer(cls, *texts: str) -> bytes:
        """Return a whole chunked response, each event in a chunk of its own."""
        events = [cls.event(text) for text in texts]
        return cls.HEAD + b"".join(map(cls.chunk, [*events, cls.DONE])) + cls.END


@pytest.fixture
def wire() -> type[Wire]:
    return Wire


class Authority:
    """A certificate authority and contexts for both sides."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def server(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    return lambda: len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (names only)
