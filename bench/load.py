"""The load generator: many concurrent streams over raw sockets, each checked to its last token.

It counts by looking for bytes that only the simulator's content chunks have, so that the generator costs less than what
it measures. All times are of ``time.perf_counter``, in seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import time
from array import array
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

TOKEN = b'{"content":"'
"""Occurs once in every content chunk of the simulator, and in no other: a role chunk names the role first."""

DONE = b"data: [DONE]"
KEPT_BYTES = 64
"""End of what was received that is kept, for marks cut in two and for ``DONE``."""

T = TypeVar("T")

TTFT_MS = 50.0
"""The engine's own time to the first token in paced loads: like any real engine it sends its head before."""

GRACE_S = 30.0
"""How much longer than planned a load may take before what is missing counts as failed."""

MAX_FAILURES = 20
"""Failures kept with their reasons; further ones are only counted."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What the generator asks for."""

    streams: int
    """Concurrent streams, each on its own connection."""
    tokens: int
    """Length of one answer."""
    itl_ms: float
    """Time between two tokens; 0 sends as fast as the reader takes them."""
    repeats: int = 1
    """Answers asked one after another on each connection."""
    pause_s: float = 0.0
    """Before each further answer a client waits a random time up to this. Without it clients of a relay that ends
    streams on its tick would ask again in step with the tick, and with each other."""
    ramp_s: float = 1.0
    """Streams start at random times within this, so that they share no phase."""
    seed: int = 1

    @property
    def ttft_ms(self) -> float:
        return TTFT_MS if self.itl_ms else 0.0

    @property
    def total_tokens(self) -> int:
        return self.streams * self.repeats * self.tokens

    @property
    def planned_s(self) -> float:
        """How long it takes at most when every token comes on time; nothing but ramp and pauses without a pace."""
        answers_s = self.repeats * (self.ttft_ms + self.tokens * self.itl_ms) / 1000
        return self.ramp_s + (self.repeats - 1) * self.pause_s + answers_s

    def request(self, host: str, path: str, *, model: str = "sim", headers: str = "") -> bytes:
        """Return one request; ``headers`` are further lines, each with its CRLF."""
        simulate = {"ttft_ms": self.ttft_ms, "itl_ms": self.itl_ms, "tokens": self.tokens}
        body = msgspec.json.encode(
            {
                "model": model,
                "stream": True,
                "messages": [{"role": "user", "content": "Tell me about the river."}],
                "simulate": simulate,
            }
        )
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"{headers}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Result(msgspec.Struct, kw_only=True):
    """What came back."""

    tokens: int = 0
    bytes: int = 0
    """Bytes received, heads and framing included."""
    completed: int = 0
    """Streams that ended as they should."""
    failed: int = 0
    failures: list[str] = []
    """Why, for the first few."""
    ttft_s: list[float] = []
    """Request sent to first content, one a stream."""
    gap_s: Any = msgspec.field(default_factory=lambda: array("d"))
    """Time between two arrivals that bore tokens; one a read, so a batch of tokens is one arrival."""
    elapsed_s: float = 0.0

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.elapsed_s if self.elapsed_s else 0.0

    def fail(self, reason: str) -> None:
        self.failed += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(reason)


def quantile(values: Any, share: float) -> float:
    """Return the nearest-rank quantile of ``values``; NaN of nothing."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else float("nan")


class StreamClient(asyncio.Protocol):
    """Asks for one answer after another on one connection, and checks each.

    Args:
        request: The bytes of a request.
        tokens: Content chunks that each answer must have.
        pauses_s: How long to wait before each further answer; there are as many.
        result: Where everything is counted.
        on_over: Called once, when the last answer is complete or the connection is lost.
    """

    def __init__(
        self, request: bytes, *, tokens: int, pauses_s: list[float], result: Result, on_over: Callable[[], None]
    ) -> None:
        self._request = request
        self._expected = tokens
        self._pauses_s = pauses_s
        self._result = result
        self._on_over = on_over
        self._parser = httptools.HttpResponseParser(self)
        self._is_over = False
        self._now_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, but have its methods.
        self._transport = cast(asyncio.Transport, transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_over:
            got = f"{self._tokens} of {self._expected} tokens"
            self._end(f"connection lost ({exc}) after {got}, status {self._status()}: {self._tail!r}")

    def data_received(self, data: bytes) -> None:
        self._now_s = time.perf_counter()
        self._result.bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"broken HTTP: {error}")

    def _begin(self) -> None:
        if self._is_over:
            return  # lost in a pause
        self._tokens = 0
        self._tail = b""
        self._last_s = 0.0
        self._started_s = time.perf_counter()
        self._transport.write(self._request)

    def _go_on(self) -> None:
        if not self._pauses_s:
            self._end(None)
        elif pause_s := self._pauses_s.pop():
            asyncio.get_running_loop().call_later(pause_s, self._begin)
        else:
            self._begin()

    # Called by the parser.

    def on_body(self, body: bytes) -> None:
        tail = self._tail
        data = tail + body
        self._tail = data[-KEPT_BYTES:]
        # A mark may begin in what is known already, but one that ends there is counted already.
        count = data.count(TOKEN, max(0, len(tail) - len(TOKEN) + 1))
        if not count:
            return
        result, now_s = self._result, self._now_s
        if self._tokens:
            # One read may hold many pieces of the body.
            if now_s != self._last_s:
                result.gap_s.append(now_s - self._last_s)
        else:
            result.ttft_s.append(now_s - self._started_s)
        self._last_s = now_s
        self._tokens += count
        result.tokens += count

    def on_message_complete(self) -> None:
        status = self._status()
        if status != 200:
            self._end(f"status {status}: {self._tail!r}")
        elif self._tokens != self._expected:
            self._end(f"{self._tokens} of {self._expected} tokens")
        elif DONE not in self._tail:
            self._end(f"no [DONE]: {self._tail!r}")
        else:
            self._result.completed += 1
            self._go_on()

    def _status(self) -> int:
        status: int = self._parser.get_status_code()
        return status

    def _end(self, failure: str | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        if failure is not None:
            self._result.fail(failure)
        self._transport.close()
        self._on_over()


class Generator:
    """Runs one load against one server; ``result`` grows while it runs.

    Args:
        port: Where the server listens, on loopback.
        load: What to ask.
        path: Path of the chat endpoint.
        headers: What requests carry besides, each line with its CRLF.
    """

    def __init__(self, port: int, load: Load, *, path: str = "/v1/chat/completions", headers: str = "") -> None:
        self.result = Result()
        self._port = port
        self._load = load
        self._request = load.request(f"127.0.0.1:{port}", path, headers=headers)

    async def run(self) -> Result:
        """Run to the end, or until it is far too late; the caller looks at ``failed``."""
        load, result = self._load, self.result
        draw = random.Random(load.seed)
        started_s = time.perf_counter()
        timeout_s = load.planned_s * 2 + GRACE_S
        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                for _ in range(load.streams):
                    pauses_s = [draw.uniform(0, load.pause_s) for _ in range(load.repeats - 1)]
                    group.create_task(self._client(draw.uniform(0, load.ramp_s), pauses_s))
        except TimeoutError:
            missing = load.streams * load.repeats - result.completed - result.failed
            result.fail(f"{missing} streams did not end within {timeout_s:.0f} s")
            result.failed += missing - 1
        result.elapsed_s = time.perf_counter() - started_s
        return result

    async def _client(self, delay_s: float, pauses_s: list[float]) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(delay_s)
        over = asyncio.Event()
        try:
            transport, _ = await loop.create_connection(
                lambda: StreamClient(
                    self._request,
                    tokens=self._load.tokens,
                    pauses_s=pauses_s,
                    result=self.result,
                    on_over=over.set,
                ),
                "127.0.0.1",
                self._port,
            )
        except OSError as error:
            self.result.fail(f"connecting: {error}")
            return
        try:
            await over.wait()
        finally:
            transport.abort()


def run_uvloop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop, with the garbage collector out of the way."""
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def run_load(port: int, load: Load, *, headers: str = "") -> Result:
    """Run one load and return what came back."""
    return run_uvloop(Generator(port, load, headers=headers).run())


def main() -> int:
    """``python -m bench.load URL``: one load against any server that plays the simulator's scripts."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("url", help="base URL up to /v1, on 127.0.0.1")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--itl-ms", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    port = urlsplit(options.url).port or 80
    load = Load(streams=options.streams, tokens=options.tokens, itl_ms=options.itl_ms, repeats=options.repeats)
    result = run_load(port, load)
    print(f"{result.completed} streams, {result.failed} failed; {result.tokens} tokens in {result.elapsed_s:.2f} s")
    print(f"TTFT p50 {quantile(result.ttft_s, 0.5) * 1000:.2f} ms, p99 {quantile(result.ttft_s, 0.99) * 1000:.2f} ms")
    print(f"gap p50 {quantile(result.gap_s, 0.5) * 1000:.2f} ms, p99 {quantile(result.gap_s, 0.99) * 1000:.2f} ms")
    for failure in result.failures:
        print(f"failed: {failure}")
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
