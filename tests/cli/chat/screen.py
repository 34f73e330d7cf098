"""A small terminal in memory: enough to see what a painter leaves on the screen."""

from __future__ import annotations

import io
import os
import re
import unicodedata

from rich.cells import get_character_cell_size

_TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|([\s\S])")


class Screen(io.StringIO):
    """Takes what a terminal takes; what scrolls off stays readable and out of reach.

    Text wraps as in xterm: a full row keeps its cursor in the last column until more comes. Characters without a width are
    dropped.
    """

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.size = os.terminal_size((columns, rows))
        self._lines: list[list[str]] = [[]]
        self._row = 0
        self._column = 0

    def write(self, text: str) -> int:
        for parameters, command, character in _TOKEN.findall(text):
            if command:
                self._obey(parameters, command)
            elif character == "\n":
                self._next_row()
                self._column = 0
            elif character == "\r":
                self._column = 0
            else:
                assert unicodedata.category(character) != "Cc", f"{character!r} is no text"
                self._put(character)
        return len(text)

    @property
    def text(self) -> str:
        """All rows, without the spaces at their ends."""
        return "\n".join("".join(line).rstrip() for line in self._lines)

    @property
    def column(self) -> int:
        return self._column

    def _obey(self, parameters: str, command: str) -> None:
        if command == "A":
            top = max(0, len(self._lines) - self.size.lines)
            self._row = max(top, self._row - int(parameters or 1))
        elif command == "K":
            assert parameters == "2"
            self._lines[self._row] = []
        else:
            assert command == "m", f"unknown: {command}"

    def _put(self, character: str) -> None:
        width = get_character_cell_size(character)
        if self._column + width > self.size.columns:
            self._next_row()
            self._column = 0
        if not width:
            return
        line = self._lines[self._row]
        line += " " * (self._column - len(line))
        # A wide character takes two cells, of which the second is empty.
        line[self._column : self._column + width] = [character, *[""] * (width - 1)]
        self._column += width

    def _next_row(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append([])
