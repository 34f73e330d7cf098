"""A run of successive entries, the unit that is committed, kept and delivered."""

from __future__ import annotations

import msgspec

from headrace.types.ids import Offset


class Segment(msgspec.Struct, frozen=True, gc=False):
    """Entries ``first`` to ``first + count - 1``.

    ``data`` is one JSON object an entry, joined by LF, none at the end (see ``headrace.types.chunk.Chunks``).
    """

    first: Offset
    count: int
    data: bytes

    @property
    def next(self) -> Offset:
        """Offset of the entry after this segment."""
        return Offset(self.first + self.count)

    def since(self, offset: Offset) -> Segment:
        """Return the part that begins at ``offset``, which must lie inside; itself when nothing is cut off."""
        skip = offset - self.first
        if skip <= 0:
            return self
        return Segment(offset, self.count - skip, self.data.split(b"\n", skip)[skip])

    def first_entries(self, count: int) -> Segment:
        """Return the first ``count`` entries; itself when it has no more."""
        if self.count <= count:
            return self
        return Segment(self.first, count, b"\n".join(self.data.split(b"\n", count)[:count]))

    def head(self, max_bytes: int) -> Segment:
        """Return the first entries, as many as fit into ``max_bytes`` but at least one; itself when nothing is cut."""
        if len(self.data) <= max_bytes:
            return self
        cut = self.data.rfind(b"\n", 0, max_bytes + 1)
        if cut < 0:
            cut = self.data.find(b"\n")
        if cut < 0:
            return self
        return Segment(self.first, self.data.count(b"\n", 0, cut) + 1, self.data[:cut])
