"""Many clients of one relay at once, each on a connection of its own, and when each of them was answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Self

import msgspec
from tests.waiting import until
from tests.wire_client import WireClient

ARRIVALS = 25
"""Requests sent in one go."""
ARRIVALS_EVERY_S = 0.01


class Visitor(WireClient):
    """One client, with its times by CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        """What the engine is told that it is called."""
        self.sent_s = 0.0
        self.answered_s: float | None = None
        """When the head of its answer came."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.answered_s = time.monotonic()

    def ask(self, name: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send a chat request whose record at the simulator has this name."""
        self.name = name
        self.sent_s = time.monotonic()
        self.send("POST", "/v1/chat/completions", {**headers, "x-client": name}, body)

    @property
    def waited_s(self) -> float:
        """From its request to the head of its answer."""
        assert self.answered_s is not None, "not answered"
        return self.answered_s - self.sent_s

    @property
    def is_refused(self) -> bool:
        return self.status == 429

    @property
    def error(self) -> dict[str, Any]:
        """The error object of OpenAI's shape, which has these fields and no others."""
        error: dict[str, Any] = self.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        return error

    @property
    def deltas(self) -> list[str]:
        """The text that has come, delta by delta."""
        chunks = [msgspec.json.decode(event.data) for event in self.events if event.data != "[DONE]"]
        choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
        return [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]


class Crowd:
    """Connections to one relay; leaving the context closes all of them.

    Args:
        port: On 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._visitors: list[Visitor] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await leave(self._visitors)

    async def connect(self, count: int) -> list[Visitor]:
        """Return visitors that are connected and have not asked for anything."""
        loop = asyncio.get_running_loop()
        connected = [await loop.create_connection(Visitor, "127.0.0.1", self._port) for _ in range(count)]
        visitors = [visitor for _, visitor in connected]
        self._visitors += visitors
        return visitors

    async def one(self, name: str, headers: Mapping[str, str], body: bytes) -> Visitor:
        """Return a visitor that has asked."""
        (visitor,) = await self.connect(1)
        visitor.ask(name, headers, body)
        return visitor

    async def many(self, count: int, name: str, headers: Mapping[str, str], body: bytes) -> list[Visitor]:
        """Return visitors that have all asked, within a moment; the engine is told ``name`` and a number."""
        visitors = await self.connect(count)
        for number, visitor in enumerate(visitors):
            visitor.ask(f"{name}-{number}", headers, body)
            if number % ARRIVALS == ARRIVALS - 1:
                await asyncio.sleep(ARRIVALS_EVERY_S)
        return visitors


async def leave(visitors: Iterable[Visitor]) -> None:
    """Have them leave, and wait until their connections are gone."""
    leaving = list(visitors)
    for visitor in leaving:
        visitor.leave()
    await until(lambda: all(visitor.is_closed for visitor in leaving))


async def answered(visitors: Iterable[Visitor]) -> None:
    """Wait until each of them has its whole answer."""
    expected = list(visitors)
    await until(lambda: all(visitor.is_complete for visitor in expected))
