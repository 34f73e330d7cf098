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
