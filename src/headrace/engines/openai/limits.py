"""What bounds everything that an engine on the network controls."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes in bytes, durations in seconds."""

    max_head_bytes: int = 64 * 1024
    """Status line and headers, informational responses included; also framing that carries no body, such as trailers."""
    max_event_bytes: int = 8 * 1024 * 1024
    """One server-sent event."""
    ends_at_malformed: bool = False
    """End the stream at the first chunk that is no JSON object, instead of skipping it."""
    max_error_body_bytes: int = 64 * 1024
    """Body of an error response; what lies beyond is not read."""
    max_models_body_bytes: int = 4 * 1024 * 1024
    """Body of the list of models."""
    connect_timeout_s: float = 10.0
    """Name look-up, TCP and TLS handshakes together."""
    error_body_timeout_s: float = 5.0
    """How long the body of an error response may take after its head."""
    models_timeout_s: float = 10.0
    """How long the list of models may take after the connection stands."""
    drain_timeout_s: float = 1.0
    """How long the last bytes of framing may take after ``[DONE]``, before the connection is given up."""
    max_drain_bytes: int = 64 * 1024
    """How much may still come after ``[DONE]``, likewise."""
    max_idle_connections: int = 256
    """Connections kept for reuse."""
    idle_connection_s: float = 60.0
    """How long a connection is kept for reuse."""
