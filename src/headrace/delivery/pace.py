"""The pace at which an answer of before comes again: as it came the first time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from headrace.stream.segment import Flush
from headrace.types.ids import Offset

MAX_GAP_S = 2.0
"""Longer waits of the first time, for a slow engine or another attempt, are not repeated."""

BEYOND = Offset(1 << 62)
"""Behind the end of any log."""


class Pace:
    """When which entries may go out.

    Args:
        flushes: Of the log, oldest first; what is behind the last of them comes with it.
        start_s: When the first entries go out, in monotonic seconds.
    """

    __slots__ = ("_offsets", "_times_s")

    def __init__(self, flushes: Sequence[Flush], start_s: float) -> None:
        self._times_s: list[float] = []
        self._offsets: list[Offset] = []
        before: float | None = None
        for flush in flushes:
            at = flush.at
            if at is not None and before is not None:
                start_s += min(max(0.0, at - before), MAX_GAP_S)
            before = at if at is not None else before
            self._times_s.append(start_s)
            self._offsets.append(Offset(flush.offset + flush.entries))

    def reached(self, now_s: float) -> Offset:
        """Return the offset behind the last entry that may go out; ``BEYOND`` when everything may."""
        index = bisect_right(self._times_s, now_s)
        if index == len(self._times_s):
            return BEYOND
        return self._offsets[index - 1] if index else Offset(0)

    def next_s(self, now_s: float) -> float | None:
        """Return when more may go out, in monotonic seconds; None when everything may."""
        index = bisect_right(self._times_s, now_s)
        return self._times_s[index] if index < len(self._times_s) else None
