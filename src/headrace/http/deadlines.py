"""Many equal waits, one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Tells when something has waited too long.

    All waits are equally long, so those that began first end first, and one timer for the oldest is enough. Beginning
    and ending a wait costs a dictionary entry; a timer for each would cost the event loop a heap entry, thousands of
    them for clients that come and go.

    Args:
        timeout_s: How long a wait may last, in seconds.
        on_expired: Called on the event loop with what has waited too long; its wait has ended then.
    """

    def __init__(self, timeout_s: float, on_expired: Callable[[T], None]) -> None:
        self._timeout_s = timeout_s
        self._on_expired = on_expired
        self._ends_s: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ends_s)

    def begin(self, item: T) -> None:
        """Begin a wait. One that has begun already goes on as it was."""
        loop = asyncio.get_running_loop()
        self._ends_s.setdefault(item, loop.time() + self._timeout_s)
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._sweep)

    def end(self, item: T) -> None:
        """End a wait in time. Does nothing when there is none."""
        self._ends_s.pop(item, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._timer = None
        expired: list[T] = []
        for item, end_s in self._ends_s.items():
            if end_s > now_s:
                self._timer = loop.call_at(end_s, self._sweep)
                break
            expired.append(item)
        for item in expired:
            del self._ends_s[item]
        for item in expired:
            self._on_expired(item)
