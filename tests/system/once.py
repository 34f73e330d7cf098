"""Clients whose requests are one and the same, and what the engine was asked because of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from tests.processes import Relay, Simulator
from tests.system.reloading import SettingsFile
from tests.waiting import until
from tests.wire_client import WireClient

SHARING = """
[engine]
upstream = "{upstream}"
forward_headers = ["x-client"]
[timeouts]
commit_wait = "10s"
drain = "0.1s"
[models.sim]
shares = true
"""

CHAT = "/v1/chat/completions"
RETRY_S = 0.05
"""How long a client waits before it tries again."""


def sharing_relay(simulator: Simulator, folder: Path, settings: str = "", *, store: str | None = None) -> Relay:
    """Return a relay that gives identical requests for ``sim`` one answer."""
    file = SettingsFile(folder / "headrace.toml", SHARING.format(upstream=simulator.url) + settings)
    return Relay(None, store or folder / "streams.db", *file.options)


def asking(simulate: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a request whose answer chance has no part in."""
    asked = {"model": "sim", "messages": [{"role": "user", "content": "Go on."}], "stream": True, "temperature": 0}
    return {**asked, **fields, **({} if simulate is None else {"simulate": dict(simulate)})}


def chunks_of(client: WireClient) -> list[Any]:
    """Return the chunks that have come, whole."""
    return [msgspec.json.decode(event.data) for event in client.events if event.data != "[DONE]"]


def text_of(client: WireClient) -> str:
    """Return the text that has come, streaming or not."""
    if client.headers.get("content-type", "").startswith("application/json"):
        found = client.json()
        if "error" in found:
            return found["error"].get("partial_text") or ""
        return "".join(choice["message"]["content"] or "" for choice in found["choices"])
    choices = [choice for chunk in chunks_of(client) for choice in chunk.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def error_of(client: WireClient) -> str | None:
    """Return the code of the error that ended an answer."""
    if client.headers.get("content-type", "").startswith("application/json"):
        error = client.json().get("error")
    else:
        error = next((chunk["error"] for chunk in chunks_of(client) if "error" in chunk), None)
    return None if error is None else error["code"]


def answers_seen(client: WireClient) -> set[str]:
    """Return the ids of the generations of which text has reached a client."""
    if not client.headers.get("content-type", "").startswith("text/event-stream"):
        return {client.json()["id"]} if client.is_complete and client.status == 200 else set()
    told = [chunk for chunk in chunks_of(client) if "error" not in chunk]
    return {chunk["id"] for chunk in told if any(choice["delta"].get("content") for choice in chunk["choices"])}


async def ask(port: int, body: bytes, headers: Mapping[str, str] | None = None) -> WireClient:
    """Connect and ask, without waiting for the answer."""
    _, client = await asyncio.get_running_loop().create_connection(WireClient, "127.0.0.1", port)
    client.send("POST", CHAT, headers or {}, body)
    return client


async def crowd(port: int, bodies: Iterable[bytes], headers: Mapping[str, str] | None = None) -> list[WireClient]:
    """Have one client a body ask, all within a moment."""
    loop = asyncio.get_running_loop()
    asked = list(bodies)
    clients = [(await loop.create_connection(WireClient, "127.0.0.1", port))[1] for _ in asked]
    for client, body in zip(clients, asked, strict=True):
        client.send("POST", CHAT, headers or {}, body)
    return clients


async def completed(clients: Iterable[WireClient]) -> None:
    """Wait until all have their whole answers, and close."""
    waiting = list(clients)
    await until(lambda: all(client.is_complete for client in waiting))
    for client in waiting:
        client.leave()


async def ended(client: WireClient) -> None:
    """Wait until a client has its whole answer, or its connection is gone."""
    await client.until(lambda: client.is_complete or client.is_closed)


@dataclass
class Persistent:
    """One client that asks with one key until it has an answer, whatever becomes of the relay meanwhile."""

    text: str = ""
    error: str | None = None
    status: int = 0
    tries: int = 0
    seen: set[str] = field(default_factory=set)
    """Ids of the generations of which text reached it, in any try."""

    async def ask(self, relay: Relay, key: str, body: bytes) -> None:
        """Ask until there is an answer."""
        while True:
            self.tries += 1
            try:
                client = await ask(relay.port, body, {"idempotency-key": key, "x-client": key})
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await ended(client)
                self.seen |= answers_seen(client)
            finally:
                client.leave()
            if client.is_complete:
                self.text, self.error, self.status = text_of(client), error_of(client), client.status or 0
                return
            await asyncio.sleep(RETRY_S)
