"""The uptake: whether a peer takes what is written to it."""

from __future__ import annotations

from typing import Protocol


class Peer(Protocol):
    """The connection that is written to."""

    def abort(self) -> None:
        """Drop it at once, with everything still unsent."""

    def write_buffer_bytes(self) -> int:
        """Bytes that wait because the peer does not take them."""

    def is_gone(self) -> bool:
        """Whether the connection is closing or closed, so that nothing more can be written to it."""


class Uptake:
    """Watches one connection.

    Args:
        peer: The connection.
        now_s: The present, on a monotonic clock.
    """

    __slots__ = ("_peer", "_since_s", "_taken_bytes", "written_bytes")

    def __init__(self, peer: Peer, now_s: float) -> None:
        self.written_bytes = 0
        """All that was written so far; whoever writes counts it here."""
        self._peer = peer
        self._taken_bytes = 0
        self._since_s = now_s

    def stuck_s(self, now_s: float) -> float:
        """Return for how long the peer has taken nothing although something waits; 0 when it takes."""
        waiting_bytes = self._peer.write_buffer_bytes()
        taken_bytes = self.written_bytes - waiting_bytes
        if not waiting_bytes or taken_bytes > self._taken_bytes:
            self._taken_bytes = taken_bytes
            self._since_s = now_s
        return now_s - self._since_s
