"""How many rows of a terminal a line takes."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import get_character_cell_size

_JOINER = "\u200d"
_WIDENS = "\ufe0f\u20e3"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_REGIONAL = range(0x1F1E6, 0x1F200)


def rows_of(line: str, width: int) -> int | None:
    """Return how many rows a line takes that begins in the first column.

    Terminals disagree on the width of joined emoji, flags and variation selectors. Where that matters, the answer is None.

    Args:
        line: Without line feeds, tabs and other control characters.
        width: Columns of the terminal.
    """
    if line.isascii():
        return max(1, -(-len(line) // width))
    fewest = _wrapped((least for least, _ in _cells(line)), width)
    return fewest if fewest == _wrapped((most for _, most in _cells(line)), width) else None


def _cells(line: str) -> Iterable[tuple[int, int]]:
    """Return for each character the least and the most columns that a terminal may give it."""
    is_joined = False
    for character in line:
        size = get_character_cell_size(character)
        code = ord(character)
        if character in _WIDENS:
            yield 0, 1
        elif is_joined or code in _SKIN_TONES:
            yield 0, max(size, 2)
        elif code in _REGIONAL:
            yield 1, 2
        else:
            yield size, size
        is_joined = character == _JOINER


def _wrapped(sizes: Iterable[int], width: int) -> int:
    """Return the rows that characters of these sizes take: one that does not fit into the rest of a row begins the next."""
    rows, column = 1, 0
    for size in sizes:
        if column + size > width:
            rows += 1
            column = 0
        column += size
    return rows
