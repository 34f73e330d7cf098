"""The WebSocket over a real socket: many streams on one connection, stopped, starved of credit, and broken."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.processes import Relay, Simulator
from tests.waiting import until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

STREAMS = 20
ROUNDS = 5
STOP_P99_S = 0.050


def request(**script: Any) -> dict[str, Any]:
    return {"model": "sim", "messages": [{"role": "user", "content": "hi"}], "simulate": script}


class Client:
    """One connection, and what came over it by stream."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heard: dict[str | None, list[Any]] = {}
        self.order: list[str] = []
        """Streams in the order of their entries."""
        self.close_code: int | None = None
        self._listening = asyncio.ensure_future(self._listen())

    async def say(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def start(
        self, stream: str, *, credit: int | None = None, linger: float | None = None, **script: Any
    ) -> None:
        await self.say(type="start", stream=stream, request=request(**script), credit=credit, linger=linger)

    def of(self, stream: str) -> list[Any]:
        return self.heard.get(stream, [])

    def text(self, stream: str) -> str:
        entries = [message["chunk"] for message in self.of(stream) if message["type"] == "entry"]
        return "".join(entry["choices"][0]["delta"].get("content") or "" for entry in entries)

    def end(self, stream: str) -> dict[str, Any] | None:
        return next((message["end"] for message in self.of(stream) if message["type"] == "end"), None)

    def have_begun(self, streams: list[str]) -> bool:
        return all(len(self.of(stream)) > 3 for stream in streams)

    def have_ended(self, streams: list[str]) -> bool:
        return all(self.end(stream) for stream in streams)

    def has_heard_some(self) -> bool:
        return len(self.order) > 20

    async def _listen(self) -> None:
        try:
            async for text in self.connection:
                message = json.loads(text)
                self.heard.setdefault(message.get("stream"), []).append(message)
                if message["type"] == "entry":
                    self.order.append(message["stream"])
        except ConnectionClosed:
            pass
        self.close_code = self.connection.close_code


def opened(relay: Relay, **options: Any) -> Any:
    address = f"ws://127.0.0.1:{relay.port}/v1/stream"
    return connect(address, subprotocols=["headrace.v1"], proxy=None, **options)  # type: ignore[list-item]


async def test_twenty_streams_interleave_on_one_connection(relay: Relay) -> None:
    async with opened(relay) as connection:
        client = Client(connection)
        names = [f"many-{time.monotonic_ns()}-{number}" for number in range(STREAMS)]
        for name in names:
            await client.start(name, text="one two three four five six seven eight nine ten", itl_ms=30)
        await until(lambda: all(client.end(name) for name in names))
        for name in names:
            assert client.text(name) == "one two three four five six seven eight nine ten"
            offsets = [message["offset"] for message in client.of(name)]
            assert offsets == list(range(len(offsets)))
        # Each spoke again after all the others had begun, and before any of them had ended.
        middle = client.order[len(client.order) // 3 : len(client.order) * 2 // 3]
        assert set(middle) == set(names)


async def test_a_stop_message_reaches_the_engine_at_once(
    relay: Relay, simulator: Simulator, record_property: Callable[[str, object], None]
) -> None:
    latencies = []
    async with opened(relay) as connection:
        client = Client(connection)
        for number in range(ROUNDS):
            simulator.forget()
            names = [f"stop-{time.monotonic_ns()}-{number}-{each}" for each in range(STREAMS)]
            for name in names:
                await client.start(name, itl_ms=20, tokens=100_000)
            await until(partial(client.have_begun, names))
            for stopped, name in enumerate(names, 1):
                at = time.monotonic()
                await client.say(type="stop", stream=name)
                await until(partial(_have_closed, simulator, stopped))
                latencies.append(max(_closed(simulator)) - at)
            await until(partial(client.have_ended, names))
            assert {client.end(name)["cause"] for name in names} == {"client_stop"}  # type: ignore[index]
    latencies.sort()
    p99 = latencies[int(len(latencies) * 0.99) - 1]
    record_property("stop_p99_ms", p99 * 1000)
    sys.stdout.write(
        f"stop by message, {len(latencies)} streams: p50 {latencies[len(latencies) // 2] * 1000:.1f} ms, "
        f"p99 {p99 * 1000:.1f} ms, worst {latencies[-1] * 1000:.1f} ms\n"
    )
    assert p99 <= STOP_P99_S


def _have_closed(simulator: Simulator, count: int) -> bool:
    return len(_closed(simulator)) == count


def _closed(simulator: Simulator) -> list[float]:
    return [found["client_closed_at"] for found in simulator.requests() if found["outcome"] == "client_closed"]


async def test_a_client_without_credit_pauses_only_its_own_streams(relay: Relay) -> None:
    async with opened(relay) as starved_connection, opened(relay) as other_connection:
        starved, other = Client(starved_connection), Client(other_connection)
        mark = time.monotonic_ns()
        await starved.start(f"{mark}-starved", credit=3, text="one two three four five", itl_ms=5)
        await starved.start(f"{mark}-fed", text="one two three four five", itl_ms=5)
        await other.start(f"{mark}-other", text="one two three four five", itl_ms=5)
        await until(lambda: bool(starved.end(f"{mark}-fed") and other.end(f"{mark}-other")))
        await until(lambda: relay.stream(f"{mark}-starved")["state"] == "completed")
        assert [message["offset"] for message in starved.of(f"{mark}-starved")] == [0, 1, 2]
        await starved.say(type="credit", stream=f"{mark}-starved", credit=100)
        await until(lambda: bool(starved.end(f"{mark}-starved")))
        assert starved.text(f"{mark}-starved") == "one two three four five"


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ("{", 4400),
        ('{"type":"start"}', 4400),
        (b"\x00", 1003),
        ("x" * (1 << 20) + "x", 1009),
        ('{"type":"credit","stream":"never-started","credit":1}', 4409),
        ('{"type":"auth","ticket":"too-late"}', 4409),
    ],
)
async def test_a_broken_message_closes_with_a_code_and_loses_nothing(
    relay: Relay, broken: str | bytes, code: int
) -> None:
    mark = time.monotonic_ns()
    words = " ".join(str(number) for number in range(30))
    async with opened(relay) as bystander_connection:
        bystander = Client(bystander_connection)
        await bystander.start(f"{mark}-bystander", text=words, itl_ms=10)
        async with opened(relay) as connection:
            client = Client(connection)
            await client.start(f"{mark}-own", text=words, itl_ms=10)
            await until(lambda: len(client.of(f"{mark}-own")) > 2)
            await connection.send(broken)
            await until(lambda: client.close_code is not None)
            assert client.close_code == code
        async with opened(relay) as connection:
            again = Client(connection)
            last = client.of(f"{mark}-own")[-1]["offset"]
            await again.say(type="resume", stream=f"{mark}-own", after=last)
            await until(lambda: bool(again.end(f"{mark}-own") and bystander.end(f"{mark}-bystander")))
        assert client.text(f"{mark}-own") + again.text(f"{mark}-own") == words
        assert bystander.text(f"{mark}-bystander") == words


async def test_a_message_in_endless_empty_pieces_is_closed_as_too_large(relay: Relay) -> None:
    async with opened(relay) as connection:
        client = Client(connection)

        async def pieces() -> AsyncIterator[str]:
            while client.close_code is None:
                yield ""
                await asyncio.sleep(0)

        with pytest.raises(ConnectionClosed):
            await connection.send(pieces())
        await until(lambda: client.close_code is not None)
        assert client.close_code == 1009


async def test_no_compression_is_negotiated_and_the_version_is(relay: Relay) -> None:
    async with opened(relay, compression="deflate") as connection:
        assert connection.subprotocol == "headrace.v1"
        assert connection.protocol.extensions == []


async def test_a_relay_that_goes_down_says_how_each_stream_ended(simulator: Simulator, tmp_path: Path) -> None:
    environ = {"HEADRACE_TIMEOUTS__DRAIN": "0.1"}
    with Relay(simulator.url, tmp_path / "streams.db", environ=environ) as relay:
        async with opened(relay) as connection:
            client = Client(connection)
            await client.start("s", itl_ms=20, tokens=100_000)
            await until(lambda: len(client.of("s")) > 2)
            relay.signal_end()
            await until(lambda: client.close_code is not None)
            end = client.end("s")
            assert end is not None
            assert (end["state"], end["cause"], client.close_code) == ("truncated", "shutdown", 1012)
        assert await asyncio.to_thread(relay.wait) == 0


async def test_descriptors_and_streams_are_back_when_connections_are_gone(relay: Relay) -> None:
    before = relay.descriptors()
    for _ in range(3):
        async with opened(relay) as connection:
            client = Client(connection)
            for number in range(5):
                await client.start(f"{time.monotonic_ns()}-{number}", linger=0, itl_ms=20, tokens=100_000)
            await until(client.has_heard_some)
    await until(lambda: relay.metric("headrace_streams_active") == 0)
    await until(lambda: relay.descriptors() <= before + 2)
