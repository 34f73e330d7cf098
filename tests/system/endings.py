"""Every way in which a stream may end, through every door: what a client does, and what it was given."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.system.money import (
    CASE_HEADER,
    Reader,
    SocketReader,
    Till,
    bearer,
    chat_body,
    open_socket,
    request,
)

DOORS = ("chat", "lines", "blocking", "text", "eventsource", "websocket")
ITL_MS = 20
SHORT = {"tokens": 20, "itl_ms": ITL_MS}
ENDLESS = {"tokens": 100_000, "itl_ms": ITL_MS}
QUIET_TOKENS = 8
QUIET = {"tokens": 100, "fault": {"kind": "silence", "at": QUIET_TOKENS}}
"""Sends its first tokens at once and no more: when its stream is stopped, nothing is on its way."""
NEVER = {"ttft_ms": 3_600_000}
CUT_AT = 8
CUTS = ("fin", "rst", "clean_end", "cut_chunked", "error_event")
REFUSALS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "code": 400},
    {"kind": "status", "code": 500},
    {"kind": "status", "code": 503},
    {"kind": "close_before_head"},
)


@dataclass(kw_only=True)
class Case:
    """One stream, and what its client was given."""

    way: str
    door: str
    number: int
    stream_id: str = ""
    """Empty for one that its client never learned the name of."""
    tokens: int = 0
    live_tokens: int = 0
    """Those that came before the relay was killed."""

    @property
    def name(self) -> str:
        return f"{self.way}-{self.door}-{self.number}"


@dataclass(kw_only=True)
class Desk:
    """Where a client asks, and with which key."""

    till: Till
    key: str
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def headers(self, case: Case, **more: str) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {
            **bearer(self.key),
            CASE_HEADER: case.name,
            "headrace-tags": f"way={case.way}, door={case.door}",
            **named,
        }

    async def ask(
        self, case: Case, script: Mapping[str, Any], *, linger_s: float | None = None
    ) -> Reader | SocketReader:
        """Begin a stream through the door of the case."""
        port, headers = self.till.port, self.headers(case)
        if linger_s is not None or case.door == "eventsource":
            headers["headrace-linger"] = f"{linger_s or 0:g}"
        if case.door == "eventsource":
            asked: dict[str, Any] = {"model": "sim", "prompt": "Go on.", "simulate": dict(script)}
            return await request(port, "/v1/completions/stream", headers=headers, body=asked)
        case.stream_id = case.name
        if case.door == "websocket":
            socket = await open_socket(port, headers)
            await socket.say(type="start", stream=case.name, request=chat_body(script), linger=linger_s or False)
            return socket
        headers["headrace-stream-id"] = case.name
        if case.door == "text":
            asked = {"model": "sim", "prompt": "Go on.", "stream": True, "simulate": dict(script)}
            return await request(port, "/v1/completions", headers=headers, body=asked)
        if case.door == "lines":
            headers["accept"] = "application/x-ndjson"
        body = chat_body(script, stream=case.door != "blocking")
        return await request(port, "/v1/chat/completions", headers=headers, body=body)

    async def begun(self, case: Case, client: Reader | SocketReader) -> None:
        """Wait until the answer has begun, by what the relay says where the client cannot see it."""
        if case.door != "blocking":
            await client.some(2)
            return
        async with asyncio.timeout(30):
            while True:
                view = await asyncio.to_thread(self.till.stream, case.stream_id)
                if view is not None and view["generated_tokens"] >= 2:
                    return
                await asyncio.sleep(0.05)

    async def come_back(self, case: Case, client: Reader | SocketReader) -> Reader | SocketReader:
        """Follow a stream again, behind what its client has."""
        port = self.till.port
        if isinstance(client, SocketReader):
            socket = await open_socket(port, bearer(self.key))
            await socket.say(type="resume", stream=case.stream_id, after=client.chunks - 1)
            return socket
        if case.door == "eventsource":
            headers = {**bearer(self.key), "last-event-id": client.events[-1].id or ""}
            return await request(port, "/v1/completions/stream?prompt=x", headers=headers, method="GET")
        path = f"/v1/streams/{case.stream_id}/events?after={client.chunks - 1}"
        return await request(port, path, headers=bearer(self.key), method="GET")

    async def rest(self, case: Case, client: Reader | SocketReader) -> int:
        """Return how many tokens come behind what a client has, to the end of its stream."""
        again = await self.come_back(case, client)
        await again.end()
        return again.tokens

    async def stop(self, case: Case) -> None:
        path = f"/v1/streams/{case.stream_id}/cancel"
        await (await request(self.till.port, path, headers=bearer(self.key))).end()


def _going_on(case: Case) -> dict[str, Any]:
    """Return the script of an answer that does not end by itself."""
    return QUIET if is_quiet(case) else ENDLESS


def is_quiet(case: Case) -> bool:
    return case.way in {"stopped", "gone_after"} and case.number % 4 == 1


def _learn_name(case: Case, client: Reader | SocketReader) -> None:
    if isinstance(client, Reader) and "headrace-stream-id" in client.headers:
        case.stream_id = client.stream_id


async def _leave(case: Case, client: Reader | SocketReader) -> None:
    if isinstance(client, SocketReader):
        await client.leave(politely=case.number % 2 == 0)
    else:
        await client.leave()


async def _whole(desk: Desk, case: Case, script: Mapping[str, Any]) -> None:
    """Read an answer to its end, whatever that is."""
    client = await desk.ask(case, script)
    await client.end()
    _learn_name(case, client)
    case.tokens = client.tokens


async def completed(desk: Desk, case: Case) -> None:
    # Two choices where the door lets them through.
    choices = 2 if case.number % 3 == 0 and case.door in {"chat", "lines", "blocking", "websocket"} else 1
    if choices == 1 or case.door == "eventsource":
        await _whole(desk, case, SHORT)
    else:
        await _whole(desk, case, {**SHORT, "n": choices})


async def stopped(desk: Desk, case: Case) -> None:
    client = await desk.ask(case, _going_on(case))
    await desk.begun(case, client)
    _learn_name(case, client)
    if isinstance(client, SocketReader) and case.number % 2:
        await client.say(type="stop", stream=case.stream_id)
    else:
        await desk.stop(case)
    await client.end()
    case.tokens = client.tokens


async def gone_before(desk: Desk, case: Case) -> None:
    client = await desk.ask(case, NEVER)
    # Some leave while the request is still read, some long after.
    await asyncio.sleep(desk.chance.uniform(0, 0.15))
    await _leave(case, client)
    _learn_name(case, client)
    case.tokens = client.tokens


async def gone_after(desk: Desk, case: Case) -> None:
    client = await desk.ask(case, _going_on(case))
    await desk.begun(case, client)
    await asyncio.sleep(desk.chance.uniform(0, 0.1))
    await _leave(case, client)
    _learn_name(case, client)
    case.tokens = client.tokens


async def cut(desk: Desk, case: Case) -> None:
    fault = {"kind": CUTS[case.number % len(CUTS)], "at": CUT_AT}
    await _whole(desk, case, {**SHORT, "fault": fault})


async def refused(desk: Desk, case: Case) -> None:
    await _whole(desk, case, {**SHORT, "fault": REFUSALS[case.number % len(REFUSALS)]})


async def late(desk: Desk, case: Case) -> None:
    """The engine sends no first token in time."""
    await _whole(desk, case, NEVER)


async def returned(desk: Desk, case: Case) -> None:
    """Leave, come back while the stream goes on, read some more, and stop it."""
    client = await desk.ask(case, ENDLESS, linger_s=30)
    await desk.begun(case, client)
    await _leave(case, client)
    _learn_name(case, client)
    again = await desk.come_back(case, client)
    await again.some(3)
    await desk.stop(case)
    await again.end()
    case.tokens = client.tokens + again.tokens


WAYS: dict[str, Callable[[Desk, Case], Awaitable[None]]] = {
    "completed": completed,
    "stopped": stopped,
    "gone_before": gone_before,
    "gone_after": gone_after,
    "cut": cut,
    "refused": refused,
    "late": late,
    "returned": returned,
}

EXPECTED: dict[str, set[tuple[str, str | None]]] = {
    "completed": {("completed", "stop")},
    "returned": {("cancelled", "client_stop")},
    "stopped": {("cancelled", "client_stop")},
    "gone_before": {("cancelled", "client_gone")},
    "gone_after": {("cancelled", "client_gone")},
    "cut": {("truncated", "upstream_closed"), ("truncated", "upstream_protocol")},
    "refused": {("failed", "upstream_rejected"), ("failed", "upstream_unreachable"), ("failed", "upstream_closed")},
    "late": {("failed", "first_token_timeout")},
    "crashed": {("truncated", "node_lost")},
}
"""State and cause of the streams that end so."""
