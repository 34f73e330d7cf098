"""Watches the memory of a target while something runs on the event loop."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from bench.targets import Target

SAMPLE_S = 0.1


class MemoryWatch:
    """Samples the RSS of ``target`` while entered; afterwards ``peak_bytes`` is the most that was seen."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.first_bytes = self.peak_bytes = target.rss_bytes()

    async def __aenter__(self) -> Self:
        self.first_bytes = self.peak_bytes = self._target.rss_bytes()
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._sampler = self._group.create_task(self._sample())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sampler.cancel()
        await self._group.__aexit__(kind, error, trace)

    @property
    def growth_mb(self) -> float:
        return (self.peak_bytes - self.first_bytes) / 1e6

    async def _sample(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self._target.rss_bytes())
            await asyncio.sleep(SAMPLE_S)
