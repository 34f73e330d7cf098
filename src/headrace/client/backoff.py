"""How long to wait before the next try."""

from __future__ import annotations

from collections.abc import Callable

BASE_S = 0.25
MAX_S = 5.0


class Backoff:
    """Exponential backoff with full jitter: many clients of one relay that restarts must not come back together.

    See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.

    Args:
        random: Returns numbers from 0 up to 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0

    def next_s(self, *, at_least_s: float | None = None) -> float:
        """Return how long to wait after one more failure, in seconds.

        Args:
            at_least_s: What the server asked for.
        """
        ceiling_s = min(MAX_S, BASE_S * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return (at_least_s or 0.0) + self._random() * ceiling_s

    def reset(self) -> None:
        """Begin anew: something came."""
        self._failures = 0
