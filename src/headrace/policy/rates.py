"""A token bucket whose amounts are known late.

What an answer takes is known only when it has come, and what was taken ahead is given back when it was too much. So
a bucket may fall below zero (post-paid), and takes returns. ``throttled-py`` and ``limits`` ask before each amount and
know neither, which is why this is our own.

Over any stretch of time of ``t`` seconds, takers that look at ``wait_s`` first get at most ``per_minute * (1 + t / 60)``.
"""

from __future__ import annotations

import math

SLACK = 1e-6
"""A bucket that lacks no more than this has enough: refilling adds up rounded numbers."""


class Bucket:
    """Holds up to ``per_minute`` tokens (of any kind: requests are tokens too), and refills continuously. Starts full.

    Args:
        per_minute: Capacity, and what flows in within 60 s; 1 or more.
        now_s: Monotonic seconds, here and below. A clock that goes back counts as one that stands still.
    """

    __slots__ = ("_at_s", "_level", "_per_s", "per_minute")

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._per_s = per_minute / 60
        self._level = float(per_minute)
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        """Return what the bucket holds; below zero while it is owed."""
        elapsed_s = now_s - self._at_s
        if elapsed_s > 0:
            self._at_s = now_s
            level = self._level + elapsed_s * self._per_s
            self._level = level if level < self.per_minute else float(self.per_minute)
        return self._level

    def take(self, tokens: float, now_s: float) -> None:
        """Take tokens, whether there are as many or not."""
        self._level = self.level(now_s) - tokens

    def give_back(self, tokens: float) -> None:
        """Return tokens that were taken and not used. What the bucket cannot hold is lost."""
        # Capping before the next refill or after it comes to the same, so no clock is needed.
        self._level = min(self.per_minute, self._level + tokens)

    def wait_s(self, tokens: float, now_s: float) -> float:
        """Return how long until the bucket holds ``tokens`` if nobody takes any: 0 for now, infinity for never."""
        missing = tokens - self.level(now_s)
        if missing <= SLACK:
            return 0.0
        return missing / self._per_s if tokens <= self.per_minute else math.inf

    def is_full(self, now_s: float) -> bool:
        """Whether the bucket is as good as a new one."""
        return self.level(now_s) >= self.per_minute - SLACK

    def full_in_s(self, now_s: float) -> float:
        """Return how long until the bucket is full if nobody takes any."""
        return max(0.0, (self.per_minute - self.level(now_s)) / self._per_s)

    def resize(self, per_minute: int, now_s: float) -> None:
        """Change the rate and the capacity. What is held changes in proportion; what is owed never grows."""
        share = per_minute / self.per_minute
        level = self.level(now_s)
        self._level = min(per_minute, level * (share if level > 0 else min(1.0, share)))
        self.per_minute = per_minute
        self._per_s = per_minute / 60
