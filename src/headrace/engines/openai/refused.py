"""A generation that was over before it began: no key can be used now, so no request goes out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from headrace.types.chunk import Chunks
from headrace.types.engine import EngineEnd

_log = logging.getLogger(__name__)


class RefusedGeneration:
    """A ``Generation`` with nothing but an end, told as soon as the event loop comes round."""

    __slots__ = ("_end", "_loop", "_on_ready")

    def __init__(self, end: EngineEnd, on_ready: Callable[[], None], *, loop: asyncio.AbstractEventLoop) -> None:
        self._end = end
        self._loop = loop
        self.watch(on_ready)

    @property
    def is_accepted(self) -> bool:
        return False

    @property
    def end(self) -> EngineEnd | None:
        return self._end

    @property
    def malformed_chunks(self) -> int:
        return 0

    @property
    def is_saturated(self) -> bool:
        return False

    def read(self, most_bytes: int | None = None) -> Chunks | None:  # noqa: ARG002 (the interface's)
        return None

    def watch(self, on_ready: Callable[[], None] | None) -> None:
        self._on_ready = on_ready
        if on_ready is not None:
            self._loop.call_soon(self._notify)

    def abort(self) -> None:
        self._on_ready = None

    def _notify(self) -> None:
        try:
            if self._on_ready is not None:
                self._on_ready()
        except Exception:  # noqa: BLE001 (the loop's boundary; the end stands, and whoever asks next sees it)
            _log.exception("telling the end of a generation failed")
