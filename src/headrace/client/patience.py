"""How long a client waits, and for what."""

from __future__ import annotations

import msgspec


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """All in seconds."""

    connect_s: float = 10.0
    """To open a connection."""
    idle_s: float = 45.0
    """Longest silence of a connection; the relay sends a sign of life every 15 s."""
    start_for_s: float = 5.0
    """How long a request that never reached a relay is sent again."""
    resume_for_s: float = 60.0
    """How long a stream is asked for without any progress."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            if not getattr(self, field) >= 0:
                raise ValueError(f"{field} must not be negative")
