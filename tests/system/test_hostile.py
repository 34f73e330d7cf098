"""Ten thousand hostile inputs at every door of a real relay, with an honest client beside them.

``HOSTILE_SEED`` changes what is sent, ``HOSTILE_INPUTS`` how much. The seed is printed; the same seed sends the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Protocol, Self, cast

import httptools
import msgspec
import psutil  # type: ignore[import-untyped]  # (stubs are another package)
import pytest
from tests.processes import Relay, Simulator
from tests.system import hostile, hostile_http2
from tests.system.hostile import SECRET, Input, Known
from tests.waiting import until
from tests.wire_client import Wire

SEED = int(os.environ.get("HOSTILE_SEED", "1"))
INPUTS = int(os.environ.get("HOSTILE_INPUTS", "10000"))
"""At each door."""
CONNECTIONS = 24
"""Hostile ones at once."""
ANSWER_S = 5.0
"""How long an answer, or at least the end of the connection, may take."""
HEALTHY_S = 2.0
"""How long ``/healthz`` may take in the middle of it all, when both sides share the machine's cores with others."""
LEFT_DESCRIPTORS = 4
GROWTH_BYTES = 32 * 1024 * 1024
"""What the relay's memory may grow by over one test: records, tickets and what the allocator keeps."""
FLOODED_BYTES = 8 * 1024 * 1024
"""Likewise, for one WebSocket connection."""
WORDS = " ".join(f"word{number}" for number in range(60))
"""What the honest client hears, again and again."""
INTERNAL_ERROR = 2
"""RFC 9113 7."""
CLOSE_CODES = {1000, 1002, 1003, 1007, 1009, 4400, 4401, 4409}
"""Those that tell a client what it did wrong, and 1000 for one that closed without a code."""

Generator = Callable[[Random, Known], Iterator[Input]]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator("--tokens", "1") as simulator:
        yield simulator


@pytest.fixture(scope="module")
def relay(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    # Whoever promises more than it sends is waited for; here not for long.
    environ = {
        "HEADRACE_SERVER__BODY_TIMEOUT": "0.3",
        "HEADRACE_SERVER__HEAD_TIMEOUT": "2",
        "HEADRACE_SERVER__MAX_BODY_BYTES": str(hostile.MAX_BODY_BYTES),
    }
    store = tmp_path_factory.mktemp("relay") / "streams.db"
    with Relay(simulator.url, store, "--compress", "--http2", environ=environ) as relay:
        yield relay


@pytest.fixture
def known(relay: Relay) -> Known:
    """Streams that have ended, and fresh tickets."""
    return asyncio.run(_known(relay))


async def _known(relay: Relay) -> Known:
    async with Wire(relay.port) as wire:
        streams, tickets = [], []
        for _ in range(60):
            streams.append((await (await wire.chat()).response()).headers["headrace-stream-id"])
            tickets.append((await wire.fetch("/v1/tickets", method="POST")).json()["ticket"])
    return Known(streams=streams, tickets=tickets)


# --- what came back


class Findings:
    """What came back in one test."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    def fault(self, what: str, sent: Input) -> None:
        """Note that something is wrong, with what led to it."""
        data = sent.data if len(sent.data) < 800 else sent.data[:400] + b" ... " + sent.data[-400:]
        self.faults.append(f"{what} after {data!r}")

    def heard(self, received: bytes, sent: Input) -> None:
        """Look for what no answer may hold."""
        if SECRET in received:
            self.fault(f"a secret came back in {received[:300]!r}", sent)

    def error(self, error: Any, sent: Input) -> None:
        """Look at an error object."""
        if not isinstance(error, dict) or not {"message", "type", "param", "code"} <= error.keys():
            self.fault(f"no error object: {error!r}", sent)
        elif not (isinstance(error["message"], str) and error["message"] and isinstance(error["type"], str)):
            self.fault(f"an error without a message or type: {error!r}", sent)

    def answered(self, status: int, body: bytes, sent: Input) -> None:
        """Look at an HTTP answer."""
        self.counts[str(status)] += 1
        if status == 500:
            self.fault(f"500 {body!r}", sent)
        if status >= 400 and not sent.data.startswith(b"HEAD"):
            try:
                error = json.loads(body)["error"]
            except (ValueError, KeyError, TypeError):
                self.fault(f"{status} with {body[:200]!r}", sent)
            else:
                self.error(error, sent)


class Line(asyncio.Protocol):
    """A hostile client's connection over which inputs go one by one."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._transport: asyncio.Transport | None = None
        self._sent = Input(data=b"")
        self._answered: asyncio.Future[None] | None = None
        self.is_usable = True
        """Whether another input can follow."""

    async def ready(self) -> None:
        """Wait until an input may be sent."""

    async def ask(self, sent: Input) -> None:
        """Send an input, and wait until it is answered or the connection closed; not at all when the input says so."""
        assert self._transport is not None
        self._sent = sent
        self._answered = asyncio.get_running_loop().create_future()
        self.begin(sent, self._transport)
        if not sent.leaves:
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._answered
            except TimeoutError:
                self._findings.fault("neither an answer nor a close", sent)
                self.is_usable = False
        self._answered = None
        if sent.leaves or sent.is_last:
            self.is_usable = False

    def begin(self, sent: Input, transport: asyncio.Transport) -> None:
        """Send an input; ``complete`` tells when it is answered."""
        transport.write(sent.data)

    def complete(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        raise NotImplementedError

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.is_usable = False
        if self._answered is not None and not self._answered.done():
            self._findings.counts["closed"] += 1
            self._answered.set_result(None)


class HTTPLine(Line):
    """Sends requests, and looks at the answers."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(findings)
        self._parser = httptools.HttpResponseParser(self)
        self._head = bytearray()
        self._body = bytearray()

    def data_received(self, data: bytes) -> None:
        self._findings.heard(data, self._sent)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.is_usable = False

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        if (name.lower(), value.lower()) == (b"connection", b"close"):
            self.is_usable = False

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() == 101 or self._sent.data.startswith(b"HEAD"):
            self.on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if (status >= 200 or status == 101) and self._answered is not None and not self._answered.done():
            self._findings.answered(status, bytes(self._body), self._sent)
            self.complete()
        self._body.clear()


class SocketLine(Line):
    """An open WebSocket. Behind each input goes a ping, whose pong is the answer to all before it."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(findings)
        self._received = b""
        self._opened = asyncio.Event()
        self._mark = b""

    async def ready(self) -> None:
        # RFC 6455 4.1: nothing may follow the handshake before its answer.
        async with asyncio.timeout(ANSWER_S):
            await self._opened.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast("asyncio.Transport", transport).write(hostile.HANDSHAKE)

    def begin(self, sent: Input, transport: asyncio.Transport) -> None:
        self._mark = b"mark-%d" % id(sent)
        transport.write(sent.data + self.sync(self._mark))

    def sync(self, mark: bytes) -> bytes:
        return hostile.frame(hostile.PING, mark)

    def is_answer(self, opcode: int, payload: bytes) -> bool:
        return opcode == hostile.PONG and payload == self._mark

    def data_received(self, data: bytes) -> None:
        self._findings.heard(data, self._sent)
        self._received += data
        if not self._opened.is_set():
            head, ended, rest = self._received.partition(b"\r\n\r\n")
            if not ended:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._received = rest
            self._opened.set()
        while (found := _first_frame(self._received)) is not None:
            opcode, payload, self._received = found
            self._frame(opcode, payload)

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == hostile.TEXT:
            message = msgspec.json.decode(payload)
            self._findings.counts[message["type"]] += 1
            if message["type"] == "error":
                self._findings.error(message["error"], self._sent)
                if message["error"].get("type") == "server_error":
                    self._findings.fault(f"the relay's fault: {message!r}", self._sent)
        elif opcode == hostile.CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else 1000
            self._findings.counts[f"close {code}"] += 1
            if code not in CLOSE_CODES and not _echoes(payload, self._sent):
                self._findings.fault(f"closed with {code} {payload[2:]!r}", self._sent)
            self.is_usable = False
            self.complete()
        if self.is_answer(opcode, payload):
            self.complete()


class MessageLine(SocketLine):
    """An open WebSocket on which messages are sent; a ``ping`` message asks whether they were all read."""

    def sync(self, mark: bytes) -> bytes:
        return hostile.frame(hostile.TEXT, b'{"type":"ping","id":"%b"}' % mark)

    def is_answer(self, opcode: int, payload: bytes) -> bool:
        return opcode == hostile.TEXT and payload == b'{"type":"pong","id":"%b"}' % self._mark


class Http2Line(Line):
    """An HTTP/2 connection for one input. Behind it goes a ping; its answer is the answer to all before it."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(findings)
        self._received = b""

    def begin(self, sent: Input, transport: asyncio.Transport) -> None:
        opening = hostile_http2.PREFACE + hostile_http2.frame(hostile_http2.SETTINGS, 0, 0)
        transport.write(opening + sent.data + hostile_http2.frame(hostile_http2.PING, 0, 0, b"the mark"))

    def data_received(self, data: bytes) -> None:
        self._findings.heard(data, self._sent)
        self._received += data
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + size:
                return
            kind, flags, payload = self._received[3], self._received[4], self._received[9 : 9 + size]
            self._received = self._received[9 + size :]
            self._frame(kind, flags, payload)

    def _frame(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == hostile_http2.GOAWAY:
            self._findings.counts[f"goaway {int.from_bytes(payload[4:8], 'big')}"] += 1
            if int.from_bytes(payload[4:8], "big") == INTERNAL_ERROR:
                self._findings.fault("the relay's fault", self._sent)
        elif kind == hostile_http2.RST_STREAM:
            self._findings.counts["reset"] += 1
            if int.from_bytes(payload, "big") == INTERNAL_ERROR:
                self._findings.fault("the relay's fault", self._sent)
        elif kind == hostile_http2.HEADERS:
            self._findings.counts["answer"] += 1
        elif kind == hostile_http2.PING and flags & hostile_http2.ACK and payload == b"the mark":
            self._findings.counts["pong"] += 1
            self.complete()


def _first_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Return the first of a server's frames as opcode and payload, and what follows; None while it is not whole."""
    if len(data) < 2:
        return None
    size, start = data[1], 2
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    assert data[0] & 0xF0 == 0x80, "servers send whole frames without extensions"
    return data[0] & 0x0F, data[start : start + size], data[start + size :]


def _echoes(payload: bytes, sent: Input) -> bool:
    """Return whether a close frame has the code that the client sent (RFC 6455 5.5.1)."""
    return payload[:2] in sent.data


# --- the siege


class LineOf(Protocol):
    def __call__(self, findings: Findings) -> Line: ...


async def send_all(port: int, inputs: Iterator[Input], findings: Findings, line_of: LineOf) -> None:
    """Send all inputs over a few connections at once, each opened again as often as it is closed."""
    loop = asyncio.get_running_loop()

    async def send_some() -> None:
        line: Line | None = None
        for sent in inputs:
            if line is None or not line.is_usable:
                if line is not None:
                    line.leave()
                _, line = await loop.create_connection(lambda: line_of(findings), "127.0.0.1", port)
                await line.ready()
            await line.ask(sent)
            findings.counts["sent"] += 1
        if line is not None:
            line.leave()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(send_some())


class Honest:
    """A client that follows stream after stream, and must not notice anything."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = False
        self.answers = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow_again_and_again())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await self._task

    async def _follow_again_and_again(self) -> None:
        async with Wire(self._port) as wire:
            while not self._is_over:
                client = await wire.chat({"text": WORDS, "tokens": 60, "itl_ms": 5})
                await client.response()
                *events, done = client.events
                assert done.data == "[DONE]"
                deltas = [json.loads(event.data)["choices"][0]["delta"].get("content") or "" for event in events]
                assert [delta for delta in deltas if delta] == WORDS.replace(" ", "\n ").split("\n")
                self.answers += 1


class Pulse:
    """Asks ``/healthz`` all the while."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.slowest_s = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._ask_again_and_again())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _ask_again_and_again(self) -> None:
        while True:
            self.slowest_s = max(self.slowest_s, await _health_s(self._port))
            await asyncio.sleep(0.2)


async def _health_s(port: int) -> float:
    """Return how long ``/healthz`` took."""
    started_s = time.monotonic()
    async with Wire(port) as wire:
        assert (await wire.fetch("/healthz")).status == 200
    return time.monotonic() - started_s


def held(relay: Relay, simulator: Simulator) -> tuple[int, int]:
    """Return how many clients the relay holds, and how many descriptors without its idle connections to the engine."""
    connections = psutil.Process(relay.pid).net_connections("tcp")
    clients = [each for each in connections if each.raddr and each.laddr.port == relay.port]
    idle = [each for each in connections if each.raddr and each.raddr.port == simulator.port]
    return len(clients), relay.descriptors() - len(idle)


@asynccontextmanager
async def besieged(relay: Relay, simulator: Simulator) -> AsyncIterator[Findings]:
    """Run a siege, and look at what it did to the relay."""
    findings = Findings()
    before_bytes, (_, before_descriptors) = relay.rss_bytes(), held(relay, simulator)
    started_s = time.monotonic()
    async with Honest(relay.port) as honest, Pulse(relay.port) as pulse:
        yield findings
        assert relay.is_running, relay.output
    took_s = time.monotonic() - started_s
    counts = ", ".join(f"{what} {count}" for what, count in sorted(findings.counts.items()))
    sys.stdout.write(f"seed {SEED}, {took_s:.1f} s, healthz {pulse.slowest_s * 1000:.0f} ms at most: {counts}\n")
    assert not findings.faults, f"seed {SEED}, {len(findings.faults)} faults:\n" + "\n".join(findings.faults[:10])
    assert honest.answers > 0
    assert pulse.slowest_s < HEALTHY_S
    await until(lambda: held(relay, simulator)[0] == 0)
    await until(lambda: held(relay, simulator)[1] <= before_descriptors + LEFT_DESCRIPTORS)
    await until(lambda: bool(relay.get_json("/healthz")["streams"] == 0))
    assert await _health_s(relay.port) < HEALTHY_S
    grown_bytes = relay.rss_bytes() - before_bytes
    sys.stdout.write(f"memory grew by {grown_bytes / 1e6:.1f} MB, {honest.answers} honest answers\n")
    assert grown_bytes < GROWTH_BYTES
    assert "Traceback" not in relay.output
    assert " ERROR " not in relay.output
    assert SECRET.decode() not in relay.output


@dataclass(frozen=True, kw_only=True)
class Door:
    """What is sent where, and what must be among the answers, lest the inputs get no further than the first check."""

    inputs: Generator
    line_of: LineOf = HTTPLine
    outcomes: set[str]


DOORS = {
    "OpenAI routes": Door(
        inputs=hostile.openai_routes,
        outcomes={"200", "400", "405", "409", "413", "415", "431"},
    ),
    "EventSource": Door(
        inputs=hostile.event_source,
        outcomes={"200", "201", "204", "400", "401", "405", "413"},
    ),
    "streams": Door(
        inputs=hostile.streams_api,
        outcomes={"200", "204", "400", "404", "405"},
    ),
    "WebSocket handshakes": Door(
        inputs=hostile.handshakes,
        outcomes={"101", "400", "403", "426", "431"},
    ),
    "WebSocket frames": Door(
        inputs=hostile.frames,
        line_of=SocketLine,
        outcomes={"pong", "close 1002", "close 1003", "close 1007", "close 1009", "close 4400"},
    ),
    "HTTP/2": Door(
        inputs=hostile_http2.connections,
        line_of=Http2Line,
        # NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR (RFC 9113 7)
        outcomes={"pong", "answer", "reset", "goaway 0", "goaway 1", "goaway 3", "goaway 6"},
    ),
    "WebSocket messages": Door(
        inputs=hostile.messages,
        line_of=MessageLine,
        outcomes={"pong", "entry", "end", "error", "close 4400", "close 4401", "close 4409"},
    ),
}


@pytest.mark.parametrize("name", DOORS)
async def test_hostile_inputs_are_answered_or_closed_and_leave_nothing_behind(
    relay: Relay, simulator: Simulator, known: Known, name: str
) -> None:
    door = DOORS[name]
    async with besieged(relay, simulator) as findings:
        await send_all(relay.port, islice(door.inputs(Random(SEED), known), INPUTS), findings, door.line_of)
    assert findings.counts["sent"] == INPUTS
    assert door.outcomes <= findings.counts.keys()


FLOODS = {
    "pings that are never read": (b"", hostile.frame(hostile.PING, b"p" * 125), 250_000),
    "messages that are never answered": (
        b"",
        hostile.frame(hostile.TEXT, b'{"type":"ping","id":"%b"}' % (b"x" * 100)),
        250_000,
    ),
    "fragments without an end": (
        hostile.frame(hostile.TEXT, b"", is_final=False),
        hostile.frame(hostile.CONTINUATION, b"", is_final=False),
        2_000_000,
    ),
}
"""What comes first, what is then repeated, and how often."""
FLOOD_PAUSE_S = 1.0
"""After so long without taking anything, the relay has stopped reading."""


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_websocket_that_floods_and_reads_nothing_does_not_fill_the_memory(
    simulator: Simulator, tmp_path: Path, flood: str
) -> None:
    start, one, count = FLOODS[flood]
    with Relay(simulator.url, tmp_path / "streams.db") as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        try:
            writer.write(hostile.HANDSHAKE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            cast("asyncio.ReadTransport", writer.transport).pause_reading()
            before_bytes = relay.rss_bytes()
            writer.write(start)
            # The relay takes all of it, stops reading, or closes: all are fine.
            with contextlib.suppress(TimeoutError, ConnectionError):
                for _ in range(count // 1000):
                    writer.write(one * 1000)
                    async with asyncio.timeout(FLOOD_PAUSE_S):
                        await writer.drain()
            grown_bytes = relay.rss_bytes() - before_bytes
            sys.stdout.write(f"memory grew by {grown_bytes / 1e6:.1f} MB\n")
            assert grown_bytes < FLOODED_BYTES
        finally:
            writer.transport.abort()
        assert await _health_s(relay.port) < HEALTHY_S
