r"""Raw markup that a page shows for a while: what a reader sees flash by while an answer is written.

A line of a frame is *clean* when it is the beginning of a line of the finished page, with or without the end of the same line: what
is there will stay. Of another line, what it has beyond the longest beginning that it shares with a line of the finished page is looked
at. It *shows markup* when there is one of ``* _ ~ ` # [ ] | $ < \`` in that, or when the whole line begins as lists, quotes, underlines
and rules are written. What the finished page itself shows (of a renderer that knows no math, say) is no flash, whoever shows it: a sign
does not count where it stands in 8 characters that the finished page has somewhere, too. One flash lasts from the first frame that shows
a mark at a place to the last.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from itertools import takewhile

import msgspec

MARK = re.compile(r"[*_~`#\[\]|$<\\]")
OPENER = re.compile(r"\s*(?:(?:[-+>]|\d{1,9}[.)])(?:\s|$)|[-=]{2,}\s*$)")
PASSAGE_CHARACTERS = 8
EXAMPLE_CHARACTERS = 80

Place = tuple[str, str]
"""The clean beginning of a line, and the first mark after it."""


class Flashes(msgspec.Struct, frozen=True, kw_only=True):
    """What frames showed."""

    frames: int
    """That differed from the one before."""
    marked: int
    """Of them, those that showed markup."""
    flashes: int
    examples: list[str]
    """The ends of some of the lines, as first seen."""


class FinishedPage:
    """Tells which lines of earlier frames will not stay.

    Args:
        text: What the page shows in the end, line by line.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._known = set(text.split("\n"))
        self._lines = sorted(self._known)

    def mark_in(self, line: str) -> Place | None:
        """Return where a line shows markup, or None when it does not."""
        if line in self._known:
            return None
        shared, rest = self._nearest(line)
        if rest.endswith(line[len(shared) :]):
            return None
        for mark in MARK.finditer(line, len(shared)):
            if not self._shows_around(line, mark.start()):
                return shared, mark[0]
        opener = OPENER.match(line)
        return (shared, opener[0].strip()) if opener else None

    def _nearest(self, line: str) -> tuple[str, str]:
        """Return the longest beginning that a line shares with one of the page, and how that one goes on."""
        # In a sorted list, the lines that share most with another line are beside its place.
        index = bisect_left(self._lines, line)
        beside = self._lines[max(0, index - 1) : index + 1]
        shared = max((_shared(line, other) for other in beside), key=len)
        return shared, next(other for other in beside if other.startswith(shared))[len(shared) :]

    def _shows_around(self, line: str, index: int) -> bool:
        """Return whether the page has a passage of ``line`` with the character at ``index``."""
        first, last = max(0, index + 1 - PASSAGE_CHARACTERS), min(index, len(line) - PASSAGE_CHARACTERS)
        return any(line[start : start + PASSAGE_CHARACTERS] in self._text for start in range(first, last + 1))


def _shared(a: str, b: str) -> str:
    """Return the longest beginning of both."""
    return "".join(x for x, _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def flashes_in(frames: Iterable[str], *, most_examples: int = 8) -> Flashes:
    """Return what flashed in ``frames``, the visible text of each in order; the last is the finished page."""
    seen = list(frames)
    page = FinishedPage(seen[-1] if seen else "")
    before: set[Place] = set()
    marked = flashes = 0
    examples: list[str] = []
    for text in seen:
        places = {place: line for line in text.split("\n") if (place := page.mark_in(line)) is not None}
        new = places.keys() - before
        marked += bool(places)
        flashes += len(new)
        examples += [places[place][-EXAMPLE_CHARACTERS:] for place in sorted(new)][: most_examples - len(examples)]
        before = set(places)
    return Flashes(frames=len(seen), marked=marked, flashes=flashes, examples=examples)


def unfolded(frames: Iterable[tuple[int, str]]) -> list[str]:
    """Return frames of which each was told as the length of what it shares with the one before, and the rest.

    Lengths are in UTF-16 code units, as JavaScript counts.
    """
    texts, before = [], b""
    for shared, rest in frames:
        before = before[: 2 * shared] + rest.encode("utf-16-le")
        texts.append(before.decode("utf-16-le"))
    return texts
