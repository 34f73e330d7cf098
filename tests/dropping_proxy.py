"""A TCP proxy that does to connections what networks do: cuts, refuses, swallows, delays."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

START_S = 10.0
"""Longest wait for its thread."""


class DroppingProxy:
    """Forwards connections to a local port, from a thread of its own. Entering starts it; any thread may call its methods.

    It has a loopback address of its own, so that nobody takes its port while it refuses connections.

    Args:
        target_port: Where to, on 127.0.0.1.
        cut_after_bytes: Cut each connection once that many bytes went to its client; None never does.
        delay_s: How long each piece is held back on its way to the client.
    """

    def __init__(self, target_port: int, *, cut_after_bytes: int | None = None, delay_s: float = 0.0) -> None:
        self.host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(2, 254)}"
        self.port = 0
        self.connections = 0
        """Accepted so far."""
        self.cuts = 0
        """Connections cut so far."""
        self.cut_after_bytes = cut_after_bytes
        self.delay_s = delay_s
        self._target_port = target_port
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._started = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(START_S), "the proxy does not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(START_S)
        assert not self._thread.is_alive(), "the proxy does not end"
        self._loop.close()

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    def cut(self, *, reset: bool = True) -> None:
        """Cut all connections now, by RST or by FIN."""
        self._call(lambda: self._cut_all(reset=reset))

    def refuse(self) -> None:
        """Refuse new connections from now on, as a port does that nobody listens on."""
        self._call(self._stop_listening)

    def accept(self) -> None:
        """Take connections again."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(START_S)

    def swallow(self) -> None:
        """Forward nothing any more, in either direction, and tell nobody."""
        self._call(self._flows.clear)

    def flow(self) -> None:
        """Forward again, also what was swallowed."""
        self._call(self._flows.set)

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(START_S)

    async def _run(self) -> None:
        self._flows.set()
        await self._listen()
        self._started.set()
        await self._over.wait()
        self._stop_listening()
        self._flows.set()
        # A connection that was cut is out of the list before the task that serves it has seen that.
        while self._serving:
            self._cut_all(reset=True)
            await asyncio.wait(self._serving, timeout=0.01)
        # Transports close in the round after they were aborted.
        await asyncio.sleep(0.01)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _cut_all(self, *, reset: bool) -> None:
        for writer in list(self._open):
            self._cut(writer, reset=reset)

    def _cut(self, writer: asyncio.StreamWriter, *, reset: bool) -> None:
        self.cuts += 1
        self._open.discard(writer)
        if reset:
            sock = writer.get_extra_info("socket")
            if sock.fileno() < 0:
                return  # its client closed it first
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self.connections += 1
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            self._cut(writer, reset=True)
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, back))
                group.create_task(self._answer(there, writer))
        except* OSError:
            pass
        back.transport.abort()
        if writer in self._open:
            self._open.discard(writer)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what the client sends; its end is an end of the whole connection, as HTTP clients mean it."""
        while data := await reader.read(65536):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.cut_after_bytes
        while data := await reader.read(65536):
            await asyncio.sleep(self.delay_s)
            await self._flows.wait()
            writer.write(data if left is None else data[:left])
            await writer.drain()
            if left is not None:
                left -= len(data)
                if left <= 0:
                    self._cut(writer, reset=False)
                    raise ConnectionResetError
        raise ConnectionResetError
