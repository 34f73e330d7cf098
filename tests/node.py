"""A whole node in process: scripted engine, real or memory store, routes called over ASGI without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from headrace.engines.scripted import ScriptedEngine
from headrace.http.app import App
from headrace.http.node import Node, system_clocks
from headrace.observe.metrics import Metrics
from headrace.policy.limits import Limits
from headrace.policy.timeouts import Timeouts
from headrace.pump.committer import Committer
from headrace.pump.supervisor import Supervisor
from headrace.pump.tick import Tick
from headrace.stores.memory import MemoryRecords, MemoryStore
from headrace.stream.store import Records, Store
from headrace.stream.sweep import Sweep
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
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    flush_interval_s: float = 0.005,
) -> AsyncIterator[InProcess]:
    """Run a node with a fast tick until the block ends."""
    loop, clocks, metrics, sweep = asyncio.get_running_loop(), system_clocks(), Metrics(), Sweep()
    timeouts, limits = timeouts or Timeouts(commit_wait_s=5), limits or Limits()
    store, records = stores or (MemoryStore(max_bytes=1 << 24), MemoryRecords(max_records=1000))
    async with store, records, engine or ScriptedEngine(models=[MODEL]) as running:
        committer = Committer(
            store,
            records,
            commit_wait_s=timeouts.commit_wait_s,
            observer=metrics,
            clock=clocks.monotonic_s,
            loop=loop,
        )
        tick = Tick(committer, interval_s=flush_interval_s, observer=metrics, clock=clocks.monotonic_s, loop=loop)
        async with Supervisor(
            engine=running,
            committer=committer,
            tick=tick,
            sweep=sweep,
            timeouts=timeouts,
            limits=limits,
            on_malformed="skip",
            is_memory_only=store.is_bounded_by_readers,
            node="test",
            clocks=clocks,
            observer=metrics,
        ) as supervisor:
            yield InProcess(
                Node(
                    supervisor=supervisor,
                    store=store,
                    records=records,
                    sweep=sweep,
                    metrics=metrics,
                    timeouts=timeouts,
                    limits=limits,
                    clocks=clocks,
                    models=(MODEL,),
                    forward_headers=frozenset({b"traceparent"}),
                    max_body_bytes=1 << 20,
                    body_timeout_s=5,
                    store_content=True,
                )
            )
