"""Waiting for what has no event of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(is_reached: Callable[[], bool], *, within_s: float = 30.0, every_s: float = 0.01) -> float:
    """Wait until something is true; returns how long that took, in seconds.

    Raises:
        TimeoutError: It is not, in time.
    """
    started_s = time.monotonic()
    async with asyncio.timeout(within_s):
        while not is_reached():  # noqa: ASYNC110 (what is waited for happens in other processes, or tells nobody)
            await asyncio.sleep(every_s)
    return time.monotonic() - started_s
