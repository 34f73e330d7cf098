"""How much memory pages take, as the kernel counts it."""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]  # (stubs are another package)


def renderer_bytes() -> int:
    """Return the resident memory of all renderer processes that this process has started: pages with their Workers."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            if "--type=renderer" in process.cmdline():
                total += process.memory_info().rss
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return total
