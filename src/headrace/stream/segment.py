"""A run of successive entries, the unit that is committed, kept and delivered."""

from __future__ import annotations

import msgspec

from headrace.types.ids import Offset


class Flush(msgspec.Struct, frozen=True, gc=False):
    """What is told of a commit's part in a log without its entries. As JSON this stands in a stream's timeline."""

    offset: Offset
    """Of its first entry."""
    entries: int
    bytes: int
    """Of JSON, without what stands between entries."""
    at: float | None
    """Unix seconds; None when it is not known (written by a version that did not note it)."""


class Segment(msgspec.Struct, frozen=True, gc=False):
    """Entries ``first`` to ``first + count - 1``.

    ``data`` is one JSON object an entry, joined by LF, none at the end (see ``headrace.types.chunk.Chunks``).
    """

    first: Offset
    count: int
    data: bytes
    taken_at: float | None = None
    """When the committer took it, in Unix seconds; a part that is cut from it has the same time."""
    tokens: int | None = None
    """Tokens of the whole log up to the end of this segment, by our count; None when that is not known: a part whose end
    was cut off, or written by a version that did not note it."""

    @property
    def json_bytes(self) -> int:
        """Bytes of JSON, without the LFs between."""
        return len(self.data) - self.count + 1

    @property
    def flush(self) -> Flush:
        return Flush(self.first, self.count, self.json_bytes, self.taken_at)

    @property
    def next(self) -> Offset:
        """Offset of the entry after this segment."""
        return Offset(self.first + self.count)

    def since(self, offset: Offset) -> Segment:
        """Return the part that begins at ``offset``, which must lie inside; itself when nothing is cut off."""
        skip = offset - self.first
        if skip <= 0:
            return self
        return Segment(offset, self.count - skip, self.data.split(b"\n", skip)[skip], self.taken_at, self.tokens)

    def first_entries(self, count: int) -> Segment:
        """Return the first ``count`` entries; itself when it has no more."""
        if self.count <= count:
            return self
        return Segment(self.first, count, b"\n".join(self.data.split(b"\n", count)[:count]), self.taken_at)

    def head(self, max_bytes: int) -> Segment:
        """Return the first entries, as many as fit into ``max_bytes`` but at least one; itself when nothing is cut."""
        if len(self.data) <= max_bytes:
            return self
        cut = self.data.rfind(b"\n", 0, max_bytes + 1)
        if cut < 0:
            cut = self.data.find(b"\n")
        if cut < 0:
            return self
        return Segment(self.first, self.data.count(b"\n", 0, cut) + 1, self.data[:cut], self.taken_at)
