"""The joint: where, in a later attempt's text, that begins which has not been delivered yet."""

from __future__ import annotations


class Joint:
    """Takes a text in pieces and returns what of it is new. How it is cut into pieces makes no difference.

    Args:
        prefix: What the text must begin with.
        space: White space at the end of what was delivered that the engine was not told of. Where the text (behind
            ``prefix``) begins with the same, that is left out; where it begins with other white space or none, all of
            that is left out: what was delivered stands. So none is doubled and none is lost.
    """

    __slots__ = ("_at", "_differs", "_due", "_prefix", "is_broken", "is_done")

    def __init__(self, *, prefix: str = "", space: str = "") -> None:
        self._prefix = _units(prefix)
        self._at = 0
        self._due = space
        self._differs = False
        self.is_broken = False
        """The text differs from ``prefix``; nothing of it is new from then on."""
        self.is_done = not prefix and not space
        """All that follows is new."""

    @property
    def is_matched(self) -> bool:
        """Whether all of ``prefix`` has come."""
        return not self.is_broken and self._at == len(self._prefix)

    def take(self, text: str) -> str:
        """Return what of the next piece is new."""
        if not self.is_matched:
            text = self._behind_prefix(text)
        if self.is_matched and not self.is_done:
            text = self._behind_space(text)
        return text

    def _behind_prefix(self, text: str) -> str:
        units = _units(text)
        due = self._prefix[self._at : self._at + len(units)]
        if self.is_broken or not units.startswith(due):
            self.is_broken = True
            return ""
        self._at += len(due)
        return units[len(due) :].decode("utf-16-le", "surrogatepass")

    def _behind_space(self, text: str) -> str:
        for position, char in enumerate(text):
            if not char.isspace() or not (self._due or self._differs):
                self.is_done = True
                return text[position:]
            self._differs = self._differs or not self._due.startswith(char)
            self._due = self._due[1:]
        self.is_done = not self._due and not self._differs
        return ""


def _units(text: str) -> bytes:
    """Return UTF-16 code units: engines may cut a character in half, and where is no difference in the text."""
    return text.encode("utf-16-le", "surrogatepass")
