"""One handler at a time, called over ASGI with a caller and the few parts of a node that it needs."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

import msgspec

from headrace.errors import RelayError
from headrace.http.exchange import Exchange
from headrace.http.identity import Gate
from headrace.policy.budgets import Ledger
from headrace.policy.keys import KeyWish, new_key
from headrace.pump.clocks import Clocks
from headrace.settings import Settings, StoreSettings
from headrace.stores.memory import MemoryKeys, MemoryRecords
from headrace.stream.store import Keys
from headrace.types.access import ANYBODY, Caller, ClientKey, Owner, Role

NOW = 1_795_255_200.0
"""2026-11-21 10:00 UTC."""

MEMBER = Caller(owner=Owner("search"), role=Role.MEMBER, key=None)


class Answer(msgspec.Struct):
    """What a handler answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Desk:
    """A node's keys, records and ledger. Time stands still unless a test moves ``now``."""

    def __init__(self, keys: Keys | None = None) -> None:
        self.now = NOW
        self.keys: Keys = keys if keys is not None else MemoryKeys()
        self.records = MemoryRecords(max_records=1000)
        self.settings = Settings(store=StoreSettings(url="memory:"))
        self.node: Any = SimpleNamespace(
            keys=self.keys,
            records=self.records,
            ledger=Ledger((), lambda: self.now),
            settings=self.settings,
            clocks=Clocks(lambda: self.now, lambda: self.now),
        )

    async def open(self) -> Desk:
        """Read the keys, as a node does at its start."""
        self.node.gate = await Gate.opened(self.keys, wall_time=lambda: self.now, monotonic_s=lambda: self.now)
        return self

    async def key(self, owner: str = "search", **wish: Any) -> tuple[ClientKey, str]:
        """Put a key into the store behind the back of the gate, as the command does."""
        key, text = new_key(KeyWish(owner=owner, **wish), now=self.now)
        await self.keys.insert(key)
        return key, text

    async def call(
        self,
        handler: Callable[[Exchange], Awaitable[None]],
        *,
        caller: Caller = ANYBODY,
        query: str = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **params: str,
    ) -> Answer:
        """Call a handler for a caller that was let in; errors are answered as the application does."""
        raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        scope = {
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        waiting = itertools.chain([{"type": "http.request", "body": raw, "more_body": False}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(waiting)

        async def send(message: Any) -> None:
            sent.append(message)

        exchange = Exchange(self.node, scope, receive, send, params)
        exchange.caller = caller
        try:
            await handler(exchange)
        except RelayError as error:
            await exchange.respond_error(error)
        return Answer(
            sent[0]["status"],
            {name.decode(): value.decode() for name, value in sent[0]["headers"]},
            b"".join(message.get("body", b"") for message in sent[1:]),
        )
