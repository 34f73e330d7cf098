"""Puts an answer on the screen while it comes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, TextIO

from headrace.cli.chat.blocks import BlockSplitter, Finished, Kind, Raw
from headrace.cli.chat.markdown import render
from headrace.cli.chat.rows import rows_of
from headrace.cli.look import Look

_ERASE_ROW = "\x1b[2K"
_ROW_UP = "\x1b[A"

Render = Callable[[str, Kind, int], str]
"""Source of a block, its kind and the width of the terminal -> lines for a terminal."""


class Painter(Protocol):
    """Shows one answer. Texts are without control characters already."""

    def write(self, text: str) -> None:
        """Show more of the answer."""

    def notice(self, text: str) -> None:
        """Say something about the answer on a line of its own."""

    def finish(self) -> None:
        """End the answer; the cursor stands at the beginning of a line afterwards."""


class PlainPainter:
    """Text as it comes, without any escape sequence.

    Args:
        out: Where the answer goes.
        notices: Where notices go; another stream when ``out`` is to hold the answer alone.
    """

    def __init__(self, out: TextIO, notices: TextIO) -> None:
        self._out = out
        self._notices = notices
        self._is_in_line = False

    def write(self, text: str) -> None:
        if text:
            self._out.write(text)
            self._out.flush()
            self._is_in_line = not text.endswith("\n")

    def notice(self, text: str) -> None:
        if self._notices is self._out:
            self.finish()
        self._notices.write(text + "\n")
        self._notices.flush()

    def finish(self) -> None:
        if self._is_in_line:
            self.write("\n")


class MarkdownPainter:
    """Shows the current block as it comes, and renders it when it has ended, in the place where it stands.

    A block stays as it came when it cannot be replaced for certain: it is taller than the screen, the window changed its size
    meanwhile, or terminals disagree on how wide its characters are. Nobody else may write to the screen meanwhile.

    Args:
        out: The terminal.
        look: Of notices.
        size: Returns how large the terminal is now.
        render_block: Renders a finished block.
    """

    def __init__(
        self,
        out: TextIO,
        look: Look,
        *,
        size: Callable[[], os.terminal_size] = os.get_terminal_size,
        render_block: Render = render,
    ) -> None:
        self._out = out
        self._look = look
        self._size = size
        self._render = render_block
        self._splitter = BlockSplitter()
        self._line = ""
        """What stands in the current line of the screen."""
        self._begin_block()

    def write(self, text: str) -> None:
        for piece in self._splitter.feed(text):
            self._paint(piece)
        self._out.flush()

    def notice(self, text: str) -> None:
        self._show(("\n" if self._line else "") + text + "\n", look=self._look.dim)
        self._notices.append(text)
        self._out.flush()

    def finish(self) -> None:
        for piece in self._splitter.finish():
            self._paint(piece)
        if self._line:
            self._show("\n")
        self._out.flush()

    def _paint(self, piece: Raw | Finished) -> None:
        if isinstance(piece, Raw):
            self._show(piece.text)
            return
        if piece.kind is not Kind.GAP:
            self._replace(piece)
        self._begin_block()

    def _begin_block(self) -> None:
        self._rows = 0
        """Whole lines of the block, in rows of the screen."""
        self._can_replace = True
        self._block_size = self._size()
        self._notices: list[str] = []

    def _show(self, text: str, *, look: Callable[[str], str] = str) -> None:
        """Write to the screen, and keep count of the rows."""
        # Tabs become spaces, whose number is known.
        line = (self._line + text).expandtabs(8)
        shown = line[len(self._line) :]
        self._out.write(look(shown))
        *whole, self._line = line.split("\n")
        for done in whole:
            self._count(done)
        self._can_replace = self._can_replace and self._size() == self._block_size

    def _count(self, line: str) -> None:
        rows = rows_of(line, self._block_size.columns)
        if rows is None:
            self._can_replace = False
        else:
            self._rows += rows

    def _replace(self, block: Finished) -> None:
        """Put the rendered block where the raw one stands."""
        width, height = self._block_size
        last = rows_of(self._line, width)
        up = self._rows + (last or 0) - 1
        if not self._can_replace or last is None or up >= height or self._size() != self._block_size:
            return
        rendered = self._render(block.source, block.kind, width)
        if not rendered:
            return
        notices = "".join(self._look.dim(text) + "\n" for text in self._notices)
        # Row by row (EL, CUU): tmux keeps a copy of a screen that is erased as a whole.
        erase = _ERASE_ROW + (_ROW_UP + _ERASE_ROW) * up
        self._out.write(f"\r{erase}{notices}{rendered}\n")
        self._line = ""
