"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from collections.abc import Callable

from headrace.engines.scripted.timetable import EPSILON_MS


class ManualTimer:
    """A call pending on a ``ManualTime``."""

    def __init__(self, due_s: float, callback: Callable[[], None]) -> None:
        self.due_s = due_s
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class ManualTime:
    """Time for tests, in whole milliseconds. It begins at 0."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._timers: list[ManualTimer] = []

    def monotonic(self) -> float:
        return self._now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(self._now_s + delay_s, callback)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float | None = None) -> None:
        """Let time pass, and run in order what becomes due.

        Args:
            seconds: How long; 0 runs what is due now. None goes to the next timer, or nowhere if there is none.
        """
        target_s = self._next_due_s() if seconds is None else self._now_s + seconds
        if target_s is None:
            return
        while (due_s := self._next_due_s()) is not None and due_s <= target_s + EPSILON_MS / 1000:
            self._now_s = max(self._now_s, min(due_s, target_s))
            timer = min(self._timers, key=lambda timer: timer.due_s)
            self._timers.remove(timer)
            timer.callback()
        self._now_s = target_s

    def _next_due_s(self) -> float | None:
        self._timers = [timer for timer in self._timers if not timer.is_cancelled]
        return min((timer.due_s for timer in self._timers), default=None)
