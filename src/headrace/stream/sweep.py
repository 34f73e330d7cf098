"""The sweep: one coarse timer's worth of time-outs for everything that has any."""

from __future__ import annotations

from typing import Protocol

SWEEP_S = 0.1
"""Time between two sweeps: how late a time-out may be noticed."""


class Expiring(Protocol):
    """Something whose times can run out."""

    def expire(self, now_s: float) -> None:
        """Act on whatever time has run out at ``now_s`` (monotonic seconds). Must not block and must not raise."""


class Sweep:
    """The set of things to look at. A timer for each would cost more than looking at all of them ten times a second."""

    def __init__(self) -> None:
        self._members: dict[Expiring, None] = {}

    def add(self, member: Expiring) -> None:
        self._members[member] = None

    def discard(self, member: Expiring) -> None:
        self._members.pop(member, None)

    def run(self, now_s: float) -> None:
        """Let every member look at the time. Members may come and go meanwhile."""
        for member in tuple(self._members):
            member.expire(now_s)

    def __len__(self) -> int:
        return len(self._members)
