"""A whole node in process: scripted engine, real or memory store, routes called over ASGI without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from headrace.engines.scripted import ScriptedEngine
from headrace.http.app import App
from headrace.http.composition import assembled_node
from headrace.http.node import Node
from headrace.http.upstreams import Upstreams
from headrace.policy.limits import Limits
from headrace.policy.timeouts import Timeouts
from headrace.settings import ServerSettings, Settings, StoreSettings, StreamSettings
from headrace.stores.memory import MemoryCacheIndex, MemoryClaims, MemoryKeys, MemoryRecords, MemoryStore
from headrace.stores.url import Stores
from headrace.stream.store import Keys, Records, Store
from headrace.types.engine import Engine

MODEL = "scripted"


class Reply(msgspec.Struct):
    """What came back of one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def chunks(self) -> list[Any]:
        """The JSON of every SSE event but ``[DONE]``."""
        events = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [msgspec.json.decode(event) for event in events if event != b"[DONE]"]

    @property
    def text(self) -> str:
        return "".join(
            choice["delta"].get("content") or "" for chunk in self.chunks for choice in chunk.get("choices", [])
        )


class InProcess:
    """Calls a node's routes."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._app = App(node)

    async def call(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        gone: asyncio.Event | None = None,
    ) -> Reply:
        """Make one request; ``gone`` set means that the client leaves."""
        path, _, query = target.partition("?")
        raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        waiting = [{"type": "http.request", "body": raw, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            if waiting:
                return waiting.pop()
            await (gone or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        head: dict[str, Any] = sent[0] if sent else {"status": 0, "headers": []}
        return Reply(
            head["status"],
            {name.decode(): value.decode() for name, value in head["headers"]},
            b"".join(message.get("body", b"") for message in sent[1:]),
        )

    async def chat(
        self, *, headers: Mapping[str, str] | None = None, gone: asyncio.Event | None = None, **fields: Any
    ) -> Reply:
        """Ask for a chat completion."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True, **fields}
        return await self.call("POST", "/v1/chat/completions", body, headers=headers, gone=gone)


@asynccontextmanager
async def node_in_process(
    *,
    engine: Engine | None = None,
    stores: tuple[Store, Records] | None = None,
    keys: Keys | None = None,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[InProcess]:
    """Run a node with a fast tick until the block ends; ``settings`` are more sections of the tree."""
    tree = Settings(
        server=ServerSettings(max_body_bytes=1 << 20),
        timeouts=timeouts or Timeouts(commit_wait_s=5),
        limits=limits or Limits(),
        stream=StreamSettings(flush_interval_ms=5),
        store=StoreSettings(url="memory:"),
        **(settings or {}),
    )
    store, records = stores or (MemoryStore(max_bytes=1 << 24), MemoryRecords(max_records=1000))
    engine = engine or ScriptedEngine(models=[MODEL])
    async with store, records, keys or MemoryKeys() as opened:
        upstreams = Upstreams.only(engine, models=(MODEL,))
        async with assembled_node(
            tree, stores=Stores(store, records, opened, MemoryClaims(), MemoryCacheIndex()), upstreams=upstreams
        ) as node:
            yield InProcess(node)
