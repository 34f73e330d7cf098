"""Times that a page tells, beside those of the machine's other processes."""

from __future__ import annotations

import time


def monotonic_of(page_ms: float) -> float:
    """Return seconds of CLOCK_MONOTONIC for a page's ``Date.now()``, to a millisecond unless somebody sets the clock."""
    return page_ms / 1000 - (time.time() - time.monotonic())
