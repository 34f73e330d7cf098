"""Measured times of the last while, and how they are spread."""

from __future__ import annotations

import math
from collections import deque

import msgspec

MAX_SAMPLES = 512
"""More are not kept; the oldest go first."""

LOOK_AGAIN_S = 1.0
"""How long a percentile that decides anything may be old: sorting for every request would cost more than it tells."""


class Percentiles(msgspec.Struct, frozen=True):
    """In seconds."""

    count: int
    p50_s: float
    p90_s: float
    p99_s: float


class Samples:
    """Keeps the times measured within a window that slides; no more than ``MAX_SAMPLES`` of them."""

    __slots__ = ("_looked_at_s", "_seen", "_values")

    def __init__(self) -> None:
        self._values: deque[tuple[float, float]] = deque(maxlen=MAX_SAMPLES)
        self._looked_at_s = -math.inf
        self._seen: Percentiles | None = None

    def add(self, value_s: float, now_s: float) -> None:
        self._values.append((now_s, value_s))

    def percentiles(self, window_s: float, now_s: float) -> Percentiles | None:
        """Return how the samples of the last ``window_s`` seconds are spread; None when there are none."""
        while self._values and self._values[0][0] <= now_s - window_s:
            self._values.popleft()
        ranked = sorted(value for _, value in self._values)
        self._looked_at_s = now_s
        self._seen = (
            Percentiles(len(ranked), *(_nearest(ranked, percent) for percent in (50, 90, 99))) if ranked else None
        )
        return self._seen

    def glance(self, window_s: float, now_s: float) -> Percentiles | None:
        """As ``percentiles``, up to ``LOOK_AGAIN_S`` old."""
        if now_s - self._looked_at_s < LOOK_AGAIN_S:
            return self._seen
        return self.percentiles(window_s, now_s)


def _nearest(ranked: list[float], percent: int) -> float:
    """Return a percentile by nearest rank: always a value that was measured."""
    return ranked[math.ceil(percent * len(ranked) / 100) - 1]
