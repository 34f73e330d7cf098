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
from headrace.observe.metrics import Metrics
from headrace.policy.limits import Limits
from headrace.policy.tickets import Tickets
from headrace.policy.timeouts import Timeouts
from headrace.pump.pump import Clocks
from headrace.pump.supervisor import Supervisor
from headrace.stream.log import StreamLog
from headrace.stream.store import Records, Store
from headrace.stream.sweep import Sweep
from headrace.types.ids import Offset, RequestId, StreamId

OWNER = ""
"""Everybody, while there are no keys."""


def system_clocks() -> Clocks:
    return Clocks(time.monotonic, time.time)


def new_stream_id() -> StreamId:
    return StreamId(f"strm_{secrets.token_urlsafe(16)}")


def new_request_id() -> RequestId:
    return RequestId(f"req_{secrets.token_urlsafe(16)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What handlers need, built once by the composition root."""

    supervisor: Supervisor
    store: Store
    records: Records
    sweep: Sweep
    metrics: Metrics
    timeouts: Timeouts
    limits: Limits
    clocks: Clocks
    models: Sequence[str] | None
    """Models served; None when the engine's own list decides."""
    forward_headers: frozenset[bytes]
    """Lower-case names of client headers that the engine gets."""
    max_body_bytes: int
    body_timeout_s: float
    store_content: bool
    tickets: Tickets
    options: DeliveryOptions
    """What clients get that do not ask otherwise."""
    compress: bool
    retry_ms: int
    assets: Assets
    """The files of the page."""

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
