from __future__ import annotations

import httpx2
import pytest

from headrace.cli.chat.line import Line

LOST = "connection lost, resuming …"


class Wire:
    """Answers requests as it is told to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._answers: list[int | None] = []
        transport = httpx2.MockTransport(self._answer)
        line = Line(self.told.append)
        self._client = httpx2.AsyncClient(transport=transport, event_hooks=line.hooks, base_url="http://relay")

    async def send(self, path: str, status: int | None) -> None:
        """Make a request; ``status`` None breaks the connection."""
        self._answers.append(status)
        if status is not None:
            await self._client.get(path)
            return
        with pytest.raises(httpx2.ConnectError):
            await self._client.get(path)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        status = self._answers.pop()
        if status is None:
            raise httpx2.ConnectError("refused", request=request)
        return httpx2.Response(status)


async def test_one_request_is_no_news() -> None:
    wire = Wire()
    await wire.send("/chat", 200)
    await wire.send("/v1/streams/a/cancel", 200)
    assert wire.told == []


async def test_every_break_is_told_once_and_so_is_its_end() -> None:
    wire = Wire()
    await wire.send("/chat", 200)
    await wire.send("/events", None)
    await wire.send("/events", 503)
    assert wire.told == [LOST]
    await wire.send("/events", 200)
    await wire.send("/events", 200)
    assert wire.told == [LOST, "resumed", LOST, "resumed"]


async def test_a_request_that_was_never_answered_is_told_as_such() -> None:
    wire = Wire()
    await wire.send("/chat", None)
    await wire.send("/events", None)
    await wire.send("/chat", 200)
    assert wire.told == ["no relay answers, trying again …", "connected"]
