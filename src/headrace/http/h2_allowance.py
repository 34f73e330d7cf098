"""What a peer may do so many times, and then only so often."""

from __future__ import annotations


class Allowance:
    """A token bucket.

    Args:
        burst: How much may be spent at once.
        per_s: How much comes back in a second.
        now_s: Monotonic time, in seconds.
    """

    __slots__ = ("_burst", "_left", "_per_s", "_updated_s")

    def __init__(self, burst: int, *, per_s: float, now_s: float) -> None:
        self._burst = float(burst)
        self._left = self._burst
        self._per_s = per_s
        self._updated_s = now_s

    def earn(self, amount: float) -> None:
        """Give some back, up to the burst."""
        self._left = min(self._burst, self._left + amount)

    def spend(self, amount: float, now_s: float) -> bool:
        """Take some. False, and nothing is taken, when there is less."""
        self.earn((now_s - self._updated_s) * self._per_s)
        self._updated_s = now_s
        if amount > self._left:
            return False
        self._left -= amount
        return True
