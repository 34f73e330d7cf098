"""The tick: one timer for the whole node that reads every stream, commits what came, and so drives delivery.

Reading on the tick lets the kernel gather tokens, so that one system call brings several; committing on the tick makes
one transaction of many streams. One timer a stream would cost more than no batching at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from headrace.pump.committer import Committer
from headrace.pump.pump import Pump

STRETCH_STREAMS = 100
"""With this many streams the tick has stretched to twice its interval."""

MIN_GAP_S = 0.002
"""The loop gets at least this long between two ticks, however late the last one was."""


class TickObserver(Protocol):
    """Who measures the tick."""

    def ticked(self, duration_s: float, late_s: float) -> None: ...


class Tick:
    """Reads, commits and delivers on one timer; a ``Scheduler`` for pumps.

    Args:
        committer: Takes what the pumps have.
        interval_s: Time between ticks, stretching to twice that as streams grow; 0 means no tick: every read is
            committed in its own round of the event loop.
        observer: Told of each tick.
        clock: Monotonic seconds.
        loop: The event loop.
    """

    def __init__(
        self,
        committer: Committer,
        *,
        interval_s: float,
        observer: TickObserver,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._committer = committer
        self._interval_s = interval_s
        self._observer = observer
        self._clock = clock
        self._loop = loop
        # Dictionaries, for the order of a list with the membership of a set.
        self._reading: dict[Pump, None] = {}
        self._dirty: dict[Pump, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._is_ticking = False
        self._is_rushing = False

    @property
    def is_immediate(self) -> bool:
        return self._interval_s == 0

    @property
    def is_behind(self) -> bool:
        return self._committer.is_behind

    @property
    def interval_s(self) -> float:
        """Time to the next tick, as streams stand."""
        return self._interval_s * min(2.0, 1.0 + len(self._reading) / STRETCH_STREAMS)

    def join(self, pump: Pump) -> None:
        self._reading[pump] = None
        self._arm()

    def leave(self, pump: Pump) -> None:
        self._reading.pop(pump, None)

    def mark(self, pump: Pump) -> None:
        self._dirty[pump] = None
        if not self._is_ticking:
            self._arm()

    def rush(self, pump: Pump) -> None:
        self._dirty[pump] = None
        if not self._is_ticking and not self._is_rushing:
            self._is_rushing = True
            self._loop.call_soon(self._commit_now)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._loop.call_later(delay_s, callback)

    def aclose(self) -> None:
        """Commit what is marked and stop ticking."""
        self._commit_now()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _commit_now(self) -> None:
        self._is_rushing = False
        if self._dirty:
            dirty, self._dirty = self._dirty, {}
            self._committer.commit(dirty)

    def _arm(self) -> None:
        if self._timer is None:
            # Paused streams are looked at on a tick even when every token goes out at once.
            self._due_s = self._clock() + (self.interval_s or 0.05)
            self._timer = self._loop.call_later(self._due_s - self._clock(), self._tick)

    def _tick(self) -> None:
        started_s = self._clock()
        late_s = started_s - self._due_s
        self._timer = None
        self._is_ticking = True
        if not self._committer.is_behind:
            for pump in tuple(self._reading):
                pump.tick(started_s)
        self._is_ticking = False
        self._commit_now()
        self._committer.check()
        ended_s = self._clock()
        self._observer.ticked(ended_s - started_s, late_s)
        if self._reading or self._dirty:
            self._due_s = max(self._due_s + (self.interval_s or 0.05), ended_s + MIN_GAP_S)
            self._timer = self._loop.call_later(self._due_s - ended_s, self._tick)
