"""One timer for all streams: a timer a stream costs more than the token it sends.

Times are rounded up to whole milliseconds, so that streams share wake-ups and nothing is early.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import time
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger(__name__)

EPSILON_MS = 1e-3
"""Times this close are the same: sums of floats must not make a token miss its millisecond."""
_ROUNDING_S = 0.0005


class Timer(Protocol):
    """A pending call."""

    def cancel(self) -> None:
        """Forget the call."""


class TimeSource(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay_s`` seconds, or a little later."""


class LoopTime:
    """The time of a running event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        """Return ``time.monotonic()``; a loop's own time may be as old as its current iteration."""
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        # uvloop rounds to the nearest millisecond; without this it would wake up early and spin.
        return self._loop.call_later(delay_s + _ROUNDING_S, callback)


class Timetable:
    """Calls back when a time has come."""

    def __init__(self, source: TimeSource) -> None:
        self._source = source
        self._slots: dict[int, list[Callable[[], None]]] = {}
        self._order: list[int] = []
        self._armed_slot: float = math.inf
        self._timer: Timer | None = None
        self._is_firing = False

    def at(self, due_s: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` once ``due_s`` has come; never from within this call."""
        slot = math.ceil(due_s * 1000 - EPSILON_MS)
        callbacks = self._slots.get(slot)
        if callbacks is not None:
            callbacks.append(callback)
            return
        self._slots[slot] = [callback]
        heapq.heappush(self._order, slot)
        if slot < self._armed_slot and not self._is_firing:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_slot = self._order[0]
        delay_s = self._armed_slot / 1000 - self._source.monotonic()
        self._timer = self._source.call_later(max(0.0, delay_s), self._fire)

    def _fire(self) -> None:
        """Run what is due."""
        self._armed_slot, self._timer = math.inf, None
        self._is_firing = True
        while self._order and self._order[0] <= self._source.monotonic() * 1000 + EPSILON_MS:
            for callback in self._slots.pop(heapq.heappop(self._order)):
                try:
                    callback()
                except Exception:  # noqa: BLE001 (one stream's fault must not silence all others)
                    _log.exception("scripted stream failed")
        self._is_firing = False
        if self._order:
            self._arm()

    def clear(self) -> None:
        """Forget everything."""
        if self._timer is not None:
            self._timer.cancel()
        self._armed_slot, self._timer = math.inf, None
        self._slots.clear()
        self._order.clear()
