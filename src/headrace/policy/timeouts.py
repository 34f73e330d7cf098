"""How long anything may take. All in seconds of a monotonic clock."""

from __future__ import annotations

import msgspec

from headrace.policy.units import PositiveSeconds, Seconds, without_seconds


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=without_seconds):
    """There is no whole-request timeout by default: a stream may run as long as it makes progress."""

    connect_s: PositiveSeconds = 10.0
    """Dialling the engine, TLS handshake included."""
    queue_s: Seconds = 10.0
    """How long a request may wait until its limits let it in; then it is refused with 429. 0 refuses it at once."""
    first_token_s: PositiveSeconds = 120.0
    """From accepting a request to its first content. Long prompts on small machines need their prefill."""
    idle_s: PositiveSeconds = 30.0
    """The gap between two content-bearing chunks. Keep-alive bytes are no progress."""
    deadline_s: PositiveSeconds | None = None
    """The whole stream; None for no limit."""
    slow_client_s: PositiveSeconds = 30.0
    """How long a client may take nothing of what waits for it."""
    linger_s: Seconds = 30.0
    """How long a lingering stream without a consumer goes on."""
    reconnect_s: Seconds = 5.0
    """``linger`` for clients that come back by themselves: EventSource and WebSocket, unless they ask otherwise."""
    heartbeat_s: PositiveSeconds = 15.0
    """Silence after which a client gets a sign of life."""
    head_wait_s: Seconds = 1.0
    """How long the response head waits for the first content, so that an early failure has its own HTTP status."""
    commit_wait_s: PositiveSeconds = 0.5
    """How long a commit may take before its streams go on without the store, as degraded."""
    drain_s: Seconds = 10.0
    """How long a shutdown waits for running streams."""
