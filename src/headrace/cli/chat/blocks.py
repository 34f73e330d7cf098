"""Where one block of Markdown ends and the next begins, told while the text still comes.

Blocks are cut so that each one, rendered alone, looks as it does in the whole text. This is coarser than CommonMark: a
list is one block with all that is nested in it, and a table or a quote is prose up to the next blank line.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_MARKER = 256
"""Characters of a line that are looked at for the end of a fence."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# CommonMark 0.31.2, 4.5: the info string of a fence of backticks holds none.
_FENCE = re.compile(r"[ \t]*(`{3,}(?=[^`]*$)|~{3,}).*\n?")
_HEADING = re.compile(r"[ \t]*#{1,6}(?:\s|$)")
_MARKER = r"(?:[-*+]|[0-9]{1,9}[.)])"
_ITEM = re.compile(rf"[ \t]*{_MARKER}(?:\s|$)")
# 5.3: only a list that begins with 1 can interrupt a paragraph.
_FIRST_ITEM = re.compile(r"[ \t]*(?:[-*+]|1[.)])\s")
_FENCE_IN_ITEM = re.compile(rf"(?:[ \t]*{_MARKER}[ \t])*{_FENCE.pattern}")
# What may still become any of these.
_UNDECIDED = re.compile(rf"[ \t]*(?:`{{1,2}}|`{{3,}}[^`]*|~{{1,2}}|#{{1,6}}|[0-9]{{1,9}}|{_MARKER})?")


class Kind(enum.Enum):
    """What a block is."""

    PROSE = enum.auto()
    """A paragraph, a table, a quote, anything that ends with a blank line."""
    HEADING = enum.auto()
    LIST = enum.auto()
    FENCE = enum.auto()
    CODE = enum.auto()
    """Indented by four or more."""
    GAP = enum.auto()
    """Blank lines."""


@dataclass(frozen=True)
class Raw:
    """More of the current block, as it came."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The text of all ``Raw`` since the last ``Finished`` is a whole block."""

    source: str
    kind: Kind


Piece = Raw | Finished


class BlockSplitter:
    """Cuts text that comes in pieces into blocks.

    The raw texts joined are the text, the sources joined too, however it was cut. The beginning of a line is held back
    while it may still begin another block (a few characters; of a fence, the line), and so are blank lines that may lie
    within one.
    """

    def __init__(self) -> None:
        self._kind: Kind | None = None
        self._source: list[str] = []
        self._line = ""
        """The current line, as far as anything depends on it."""
        self._is_held = True
        self._blanks = ""
        self._fence = ""
        """The marker that opened the fence we are in, which may lie in a list."""

    def feed(self, text: str) -> list[Piece]:
        """Return what more text brings."""
        pieces: list[Piece] = []
        for part in _LINE.findall(text):
            if self._is_held or len(self._line) < MAX_MARKER:
                self._line += part
            is_whole = part.endswith("\n")
            if not self._is_held:
                pieces.append(self._raw(part))
            elif is_whole or _UNDECIDED.fullmatch(self._line) is None:
                pieces += self._begin_line()
            if is_whole:
                pieces += self._end_line()
        return pieces

    def finish(self) -> list[Piece]:
        """Return what the end of the text brings."""
        pieces: list[Piece] = []
        if self._is_held and self._line:
            pieces += self._begin_line()
        return [*pieces, *self._close()]

    def _begin_line(self) -> Iterator[Piece]:
        """Place a line whose beginning is known."""
        line = self._line
        self._is_held = False
        if not line.strip(" \t\n"):
            self._blanks += line
            if self._kind not in {Kind.LIST, Kind.CODE}:
                yield from self._close()
            return
        kind = self._kind_of(line)
        if self._kind is None or not self._goes_on_with(line, kind):
            yield from self._close()
            self._kind = kind
        elif self._blanks:
            yield self._raw(self._blanks)
            self._blanks = ""
        yield self._raw(line)

    def _end_line(self) -> Iterator[Piece]:
        line, self._line = self._line, ""
        if self._fence:
            if _closes(line, self._fence, most_indent=None if self._kind is Kind.LIST else 3):
                self._fence = ""
                self._is_held = True
                if self._kind is Kind.FENCE:
                    yield from self._close()
            return
        found = None
        if self._kind is Kind.FENCE:
            found = _FENCE.fullmatch(line)
        elif self._kind is Kind.LIST:
            found = _FENCE_IN_ITEM.fullmatch(line)
        elif self._kind is Kind.HEADING:
            yield from self._close()
        self._fence = found[1] if found is not None else ""
        self._is_held = not self._fence

    def _kind_of(self, line: str) -> Kind:
        """Return what a line that is not blank begins or goes on with."""
        if _indent(line) >= 4 and self._kind is not Kind.LIST:
            return Kind.CODE
        if _FENCE.fullmatch(line) is not None:
            return Kind.FENCE
        if _HEADING.match(line) is not None:
            return Kind.HEADING
        item = _FIRST_ITEM if self._kind is Kind.PROSE else _ITEM
        return Kind.PROSE if item.match(line) is None else Kind.LIST

    def _goes_on_with(self, line: str, kind: Kind) -> bool:
        """Whether a line that is not blank belongs to the current block."""
        if self._kind is Kind.LIST:
            if _indent(line) >= 2 or kind is Kind.LIST:
                return True
            return kind is Kind.PROSE and not self._blanks
        if self._kind is Kind.CODE:
            return kind is Kind.CODE
        return kind in {Kind.PROSE, Kind.CODE}

    def _raw(self, text: str) -> Raw:
        self._source.append(text)
        return Raw(text)

    def _close(self) -> Iterator[Piece]:
        """End the current block; blank lines behind it are none of it."""
        if self._kind is not None:
            yield self._finished(self._kind)
        if self._blanks:
            yield self._raw(self._blanks)
            yield self._finished(Kind.GAP)
            self._blanks = ""

    def _finished(self, kind: Kind) -> Finished:
        source, self._source = "".join(self._source), []
        self._kind = None
        return Finished(source, kind)


def _indent(line: str) -> int:
    """Return the width of the white space before a line that is not blank."""
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip(" "))


def _closes(line: str, fence: str, *, most_indent: int | None) -> bool:
    """Whether a line ends what ``fence`` has begun."""
    marker = line.strip(" \t\n")
    if len(marker) < len(fence) or marker.strip(fence[0]):
        return False
    return most_indent is None or _indent(line) <= most_indent
