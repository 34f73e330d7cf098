"""An encoder in front of another one, which gets fewer and longer entries."""

from __future__ import annotations

from headrace.errors import RelayError
from headrace.protocol.encoders import Encoder
from headrace.protocol.merge import merged
from headrace.types.outcome import End


class MergingEncoder:
    """Merges the entries of each delivery; see ``headrace.protocol.merge``.

    Args:
        inner: Writes what remains.
    """

    def __init__(self, inner: Encoder) -> None:
        self.content_type = inner.content_type
        self.saved_bytes = 0
        """Bytes of JSON that need not be sent."""
        self._inner = inner

    def entries(self, first: int, count: int, data: bytes) -> bytes:
        if not count:
            return b""
        parts = []
        kept_bytes = 0
        for offset, line in merged(first, data):
            kept_bytes += len(line) + 1
            parts.append(self._inner.entries(offset, 1, line))
        self.saved_bytes += len(data) + 1 - kept_bytes
        return b"".join(parts)

    def end(self, end: End, offset: int) -> bytes:
        return self._inner.end(end, offset)

    def error(self, error: RelayError) -> bytes:
        return self._inner.error(error)

    def ping(self) -> bytes:
        return self._inner.ping()
