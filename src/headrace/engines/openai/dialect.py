"""What protocols over HTTP differ in, as data: where requests go, which headers they carry, and what errors mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

from headrace.types.chunk import Chunks
from headrace.types.engine import Endpoint, EngineEnd


class StreamDecoder(Protocol):
    """Turns the bytes of an answer, cut anywhere, into chunks."""

    @property
    def is_done(self) -> bool:
        """True once the protocol's own mark of the end came; everything after it is ignored."""

    @property
    def malformed_chunks(self) -> int:
        """Events skipped so far because nothing could be made of them."""

    def receive_data(self, data: bytes) -> Chunks | None:
        """Return the chunks that ``data`` completes, None for none.

        Raises:
            ChunkTooLarge: An event passed the limit; the decoder is unusable.
        """


def _as_it_is(end: EngineEnd) -> EngineEnd:
    return end


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dialect:
    """One protocol. All paths are relative to an engine's base URL."""

    paths: Mapping[Endpoint, str]
    """Where generations are asked for."""
    models: str = "models"
    """Where the list of models is, with its query."""
    pages_models: bool = False
    """The list comes in pages (``has_more``, ``last_id``), and ``after_id`` in the query asks for the next one."""
    key_header: str = "Authorization: Bearer "
    """What stands in front of a key, up to its first character."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every request; clients cannot replace them."""
    clarified: Callable[[EngineEnd], EngineEnd] = _as_it_is
    """Puts a rejection into the words of OpenAI's API where the protocol has others."""

    def head_end(self, secret: str | None) -> bytes:
        """Return the last lines of a request's head: the key, if any, and the blank line."""
        return b"\r\n" if secret is None else f"{self.key_header}{secret}\r\n\r\n".encode("ascii")


OPENAI = Dialect(paths={endpoint: endpoint.value for endpoint in Endpoint})
"""https://platform.openai.com/docs/api-reference"""
