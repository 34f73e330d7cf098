"""A later attempt as the pump reads it: its chunks go on where the log stands."""

from __future__ import annotations

from collections.abc import Callable

from headrace.protocol.splice import Splice
from headrace.types.chunk import Chunks
from headrace.types.engine import EngineEnd, Generation
from headrace.types.outcome import Cause


class SplicedGeneration:
    """A ``Generation`` whose chunks go through a splice. See the interface for what each method promises.

    Args:
        generation: The attempt.
        splice: Decides what of it follows what the log has.
    """

    __slots__ = ("_generation", "_splice", "dropped_tokens")

    def __init__(self, generation: Generation, splice: Splice) -> None:
        self._generation = generation
        self._splice = splice
        self.dropped_tokens = 0
        """Our count of what came once more since this was last taken."""

    @property
    def is_accepted(self) -> bool:
        return self._generation.is_accepted

    @property
    def end(self) -> EngineEnd | None:
        if self._splice.is_broken:
            return EngineEnd(cause=Cause.UPSTREAM_PROTOCOL, message=self._splice.breach)
        return self._generation.end

    @property
    def malformed_chunks(self) -> int:
        return self._generation.malformed_chunks

    @property
    def is_saturated(self) -> bool:
        return self._generation.is_saturated

    def read(self, most_bytes: int | None = None) -> Chunks | None:
        chunks = self._generation.read(most_bytes)
        if chunks is None:
            return None
        spliced = self._splice.feed(chunks)
        self.dropped_tokens += _tokens(chunks) - (_tokens(spliced) if spliced is not None else 0)
        return spliced

    def watch(self, on_ready: Callable[[], None] | None) -> None:
        self._generation.watch(on_ready)

    def abort(self) -> None:
        self._generation.abort()


def _tokens(chunks: Chunks) -> int:
    return sum(choice.tokens for view in chunks.views for choice in view.choices)
