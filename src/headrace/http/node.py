"""A node as its routes see it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headrace.delivery.consumer import Consumer
from headrace.delivery.options import DeliveryOptions
from headrace.delivery.uptake import Peer
from headrace.http.assets import Assets
from headrace.http.departures import Departures
from headrace.http.followed import Followed
from headrace.http.identity import Gate
from headrace.http.lobby import Lobby
from headrace.http.prices import Prices
from headrace.http.replays import Replays
from headrace.http.routes import Routes
from headrace.http.upkeep import UpstreamKeys
from headrace.observe.metrics import Metrics
from headrace.policy.budgets import Ledger
from headrace.policy.limits import Limits
from headrace.policy.tickets import Tickets
from headrace.policy.timeouts import Timeouts
from headrace.pump.clocks import Clocks
from headrace.pump.engines import Engines
from headrace.pump.housekeeping import Housekeeper
from headrace.pump.supervisor import Supervisor
from headrace.settings import Settings
from headrace.stream.store import CacheIndex, Claims, Keys, Records, Store
from headrace.stream.sweep import Sweep
from headrace.types.engine import Capabilities
from headrace.types.ids import Offset, RequestId, StreamId


def system_clocks() -> Clocks:
    return Clocks(time.monotonic, time.time)


def new_stream_id() -> StreamId:
    return StreamId(f"strm_{secrets.token_urlsafe(16)}")


def new_request_id() -> RequestId:
    return RequestId(f"req_{secrets.token_urlsafe(16)}")


@dataclass(slots=True, kw_only=True)
class Node:
    """What handlers need, built once by the composition root. ``settings``, ``routes`` and ``prices`` change with a reload."""

    settings: Settings
    supervisor: Supervisor
    housekeeper: Housekeeper
    store: Store
    records: Records
    keys: Keys
    claims: Claims
    cache: CacheIndex
    sweep: Sweep
    metrics: Metrics
    clocks: Clocks
    models: Sequence[str] | None
    """Models of the default engine; None when its own list decides."""
    engines: Engines
    routes: Routes
    upstream_keys: Mapping[str, UpstreamKeys]
    """Keys of the engines that need any, by the engine's name."""
    departures: Departures
    replays: Replays
    capabilities: Callable[[Settings], Mapping[str, Capabilities]]
    """What each engine can do, by name, as settings say."""
    gate: Gate
    lobby: Lobby
    ledger: Ledger
    prices: Prices
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

    def consumer(self, followed: Followed, *, position: Offset, peer: Peer, coalesce_tokens: int = 1) -> Consumer:
        """Return a consumer of a log that begins at ``position``."""
        return Consumer(
            followed.log,
            store=self.store,
            position=position,
            peer=peer,
            timeouts=self.timeouts,
            write_bytes=self.limits.write_bytes,
            sweep=self.sweep,
            clock=self.clocks.monotonic_s,
            coalesce_tokens=coalesce_tokens,
            party=followed.party,
            pace=followed.pace,
        )
