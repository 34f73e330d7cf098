"""A node as its routes see it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.delivery.consumer import Consumer
from headrace.delivery.options import DeliveryOptions
from headrace.delivery.uptake import Peer
from headrace.http.assets import Assets
from headrace.http.identity import Gate
from headrace.http.lobby import Lobby
from headrace.http.upkeep import UpstreamKeys
from headrace.observe.metrics import Metrics
from headrace.policy.budgets import Ledger
from headrace.policy.limits import Limits
from headrace.policy.prices import PriceBook
from headrace.policy.tickets import Tickets
from headrace.policy.timeouts import Timeouts
from headrace.pump.housekeeping import Housekeeper
from headrace.pump.pump import Clocks
from headrace.pump.supervisor import Supervisor
from headrace.settings import Settings
from headrace.stream.log import StreamLog
from headrace.stream.store import Keys, Records, Store
from headrace.stream.sweep import Sweep
from headrace.types.ids import Offset, RequestId, StreamId


def system_clocks() -> Clocks:
    return Clocks(time.monotonic, time.time)


def new_stream_id() -> StreamId:
    return StreamId(f"strm_{secrets.token_urlsafe(16)}")


def new_request_id() -> RequestId:
    return RequestId(f"req_{secrets.token_urlsafe(16)}")


@dataclass(slots=True, kw_only=True)
class Node:
    """What handlers need, built once by the composition root. ``settings`` and ``prices`` change with a reload."""

    settings: Settings
    supervisor: Supervisor
    housekeeper: Housekeeper
    store: Store
    records: Records
    keys: Keys
    sweep: Sweep
    metrics: Metrics
    clocks: Clocks
    models: Sequence[str] | None
    """Models served; None when the engine's own list decides."""
    upstream_keys: UpstreamKeys | None
    """The engine's keys; None for an engine that needs none."""
    gate: Gate
    lobby: Lobby
    ledger: Ledger
    prices: PriceBook
    tickets: Tickets
    assets: Assets
    """The files of the page."""

    @property
    def timeouts(self) -> Timeouts:
        return self.settings.timeouts

    @property
    def limits(self) -> Limits:
        return self.settings.limits

    @property
    def options(self) -> DeliveryOptions:
        """What clients get that do not ask otherwise."""
        stream = self.settings.stream
        return DeliveryOptions(coalesce_tokens=stream.coalesce_tokens, merge=stream.merge)

    @property
    def forwarded(self) -> frozenset[bytes]:
        """Lower-case names of client headers that the engine gets."""
        return frozenset(name.lower().encode() for name in self.settings.engine.forward_headers)

    @property
    def default_model(self) -> str | None:
        """The model of requests that name none; None when the engine decides."""
        return self.models[0] if self.models else None

    def consumer(self, log: StreamLog, *, position: Offset, peer: Peer, coalesce_tokens: int = 1) -> Consumer:
        """Return a consumer of ``log`` that begins at ``position``."""
        return Consumer(
            log,
            store=self.store,
            position=position,
            peer=peer,
            timeouts=self.timeouts,
            write_bytes=self.limits.write_bytes,
            sweep=self.sweep,
            clock=self.clocks.monotonic_s,
            coalesce_tokens=coalesce_tokens,
        )
