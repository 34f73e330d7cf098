"""Writing to memory takes no time."""

from __future__ import annotations

import asyncio


def done() -> asyncio.Future[None]:
    """Return a future of the running loop that has its result already."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
