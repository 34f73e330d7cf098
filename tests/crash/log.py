"""A log as clients read it."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.wire_client import Wire, WireClient


class Log:
    """What ``GET /v1/streams/{id}/events`` gives, from some offset on."""

    def __init__(self, client: WireClient) -> None:
        assert client.status == 200, client.text
        assert client.is_complete
        assert [event.event for event in client.events[:-1]] == ["message"] * (len(client.events) - 1)
        self.offsets = [int(event.id) for event in client.events]
        self.chunks = [event.data for event in client.events[:-1]]
        assert client.events[-1].event == "end"
        self.end: dict[str, Any] = msgspec.json.decode(client.events[-1].data)


async def log_of(wire: Wire, stream_id: str, *, after: int = -1) -> Log:
    """Read a log to its end."""
    return Log(await wire.fetch(f"/v1/streams/{stream_id}/events?after={after}"))


def text_of(seen: list[str]) -> str:
    """Return the answer so far."""
    deltas = [choice["delta"] for data in seen for choice in msgspec.json.decode(data)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)
