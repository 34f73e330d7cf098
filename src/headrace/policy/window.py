"""Counts over the last while, in memory that does not grow with what is counted."""

from __future__ import annotations

from collections import deque

PARTS = 12
"""A window is this many stretches of time; the oldest is forgotten as a whole."""


class Window:
    """Counts several kinds of things over a sliding window of time.

    What is counted is forgotten between one window and one twelfth of it before that.

    Args:
        window_s: Length of the window, in seconds.
        kinds: How many kinds of things; they are numbered from 0.
    """

    __slots__ = ("_kinds", "_part_s", "_parts")

    def __init__(self, window_s: float, kinds: int) -> None:
        self._part_s = window_s / PARTS
        self._kinds = kinds
        self._parts: deque[tuple[int, list[int]]] = deque(maxlen=PARTS)

    def add(self, kind: int, now_s: float) -> None:
        """Count one."""
        part = int(now_s // self._part_s)
        # A clock that goes back counts as one that stands still.
        if not self._parts or self._parts[-1][0] < part:
            self._parts.append((part, [0] * self._kinds))
        self._parts[-1][1][kind] += 1

    def totals(self, now_s: float) -> list[int]:
        """Return how many of each kind."""
        oldest = int(now_s // self._part_s) - PARTS + 1
        while self._parts and self._parts[0][0] < oldest:
            self._parts.popleft()
        return [sum(counts[kind] for _, counts in self._parts) for kind in range(self._kinds)]

    def clear(self) -> None:
        """Forget everything."""
        self._parts.clear()
