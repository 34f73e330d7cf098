"""When things happened on the client's side."""

from __future__ import annotations

from collections.abc import Callable


class Stopwatch:
    """Measures one stream.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_s: float | None = None
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._ended_s: float | None = None
        self._contents = 0

    def start(self) -> None:
        """The first request goes out; later ones change nothing."""
        if self._started_s is None:
            self._started_s = self._clock()

    def content(self) -> None:
        """A chunk with content came."""
        self._last_s = self._clock()
        if self._first_s is None:
            self._first_s = self._last_s
        self._contents += 1

    def end(self) -> None:
        """Nothing more comes."""
        if self._ended_s is None:
            self._ended_s = self._clock()

    def ttft_s(self) -> float | None:
        """Return the time from the request to the first content; None while there is none."""
        if self._started_s is None or self._first_s is None:
            return None
        return self._first_s - self._started_s

    def tpot_s(self, tokens: int | None) -> float | None:
        """Return the time per output token behind the first; None for fewer than two.

        Args:
            tokens: Output tokens; None takes the chunks with content.
        """
        count = self._contents if tokens is None else tokens
        if self._first_s is None or self._last_s is None or count < 2:
            return None
        return (self._last_s - self._first_s) / (count - 1)

    def duration_s(self) -> float:
        """Return the time from the request to the end, or to now."""
        if self._started_s is None:
            return 0.0
        return (self._clock() if self._ended_s is None else self._ended_s) - self._started_s
