"""Text from elsewhere, made fit for a terminal.

What a model writes, and what a server says, may hold control characters that move the cursor, set the window's title, fill
the clipboard or hide text. None of them reaches the terminal: escape sequences (ECMA-48 and xterm's strings) are taken
out as a whole, other control characters one by one. Line feeds and tabs stay.
"""

from __future__ import annotations

import enum
import json
import re
from typing import Any

MAX_PARAMETERS = 64
"""Characters between the beginning of a control sequence and its final byte; beyond, it is taken for text again."""

MAX_STRING = 4096
"""Characters of a control string (OSC, DCS …) whose end does not come; what follows is text again."""

_ESCAPE = "\x1b"
_STRING_ENDS = "\a\x9c\x18\x1a"
"""BEL and ST; CAN and SUB cancel."""

# C0 but tab and line feed, DEL, C1; lone surrogates, which no output encoding takes.
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_UNFIT_IN_JSON = re.compile(r"[\x7f-\x9f\ud800-\udfff]")


class _Place(enum.Enum):
    """Where in the text the next character stands."""

    TEXT = enum.auto()
    ESCAPE = enum.auto()
    """Behind ESC."""
    INTERMEDIATE = enum.auto()
    """Behind ESC and an intermediate byte, as in ``ESC ( B``."""
    SEQUENCE = enum.auto()
    """In a control sequence, behind ``ESC [``."""
    STRING = enum.auto()
    """In an OSC, DCS, SOS, PM or APC string."""
    STRING_ESCAPE = enum.auto()
    """Behind an ESC in a string, which may be the first half of its terminator."""


class ControlStripper:
    """Takes control characters out of text that comes in pieces.

    Pieces may be cut anywhere, within an escape sequence too: what comes out is the same. A line feed ends any sequence,
    and no sequence is longer than its bound, so that a sequence which never ends takes no more than its line away.
    """

    def __init__(self) -> None:
        self._place = _Place.TEXT
        self._length = 0

    def feed(self, text: str) -> str:
        """Return what of ``text`` may be shown: no control characters but line feeds and tabs."""
        if self._place is _Place.TEXT and _UNFIT.search(text) is None:
            return text
        return "".join(character for character in text if self._is_shown(character))

    def _is_shown(self, character: str) -> bool:
        if self._place is not _Place.TEXT:
            return self._is_shown_in_sequence(character)
        if _UNFIT.match(character) is None:
            return True
        self._length = 0
        if character == _ESCAPE:
            self._place = _Place.ESCAPE
        elif character == "\x9b":
            self._place = _Place.SEQUENCE
        elif character in "\x90\x98\x9d\x9e\x9f":
            self._place = _Place.STRING
        return False

    def _is_shown_in_sequence(self, character: str) -> bool:
        self._length += 1
        match self._place:
            case _Place.ESCAPE | _Place.INTERMEDIATE:
                return self._after_escape(character)
            case _Place.SEQUENCE:
                # ECMA-48 5.4: parameter bytes, intermediate bytes, one final byte.
                if " " <= character <= "?" and self._length <= MAX_PARAMETERS:
                    return False
                return self._ends_with(character, is_part="@" <= character <= "~")
            case _Place.STRING_ESCAPE:
                self._place = _Place.ESCAPE
                return self._after_escape(character)
            case _:
                return self._in_string(character)

    def _after_escape(self, character: str) -> bool:
        if " " <= character <= "/" and self._length <= MAX_PARAMETERS:
            self._place = _Place.INTERMEDIATE
            return False
        if self._place is _Place.ESCAPE and character in "[]PX^_":
            self._place = _Place.SEQUENCE if character == "[" else _Place.STRING
            self._length = 0
            return False
        return self._ends_with(character, is_part="0" <= character <= "~")

    def _in_string(self, character: str) -> bool:
        if character == _ESCAPE:
            self._place = _Place.STRING_ESCAPE
            return False
        if character == "\n" or self._length > MAX_STRING:
            return self._ends_with(character, is_part=False)
        if character in _STRING_ENDS:
            self._place = _Place.TEXT
        return False

    def _ends_with(self, character: str, *, is_part: bool) -> bool:
        """End the sequence; a character that is no part of it is looked at as text."""
        self._place = _Place.TEXT
        return not is_part and self._is_shown(character)


def stripped(text: str) -> str:
    """Return a whole text without control characters but line feeds and tabs."""
    return ControlStripper().feed(text)


def one_line(text: object, *, most: int = 500) -> str:
    """Return a text as one line without control characters, of at most ``most`` characters."""
    line = " ".join(stripped(str(text)).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def json_text(value: Any) -> str:
    """Return a value as one line of JSON that a terminal may show: control characters are escaped."""
    # JSON itself escapes C0 only; xterm obeys C1 in UTF-8 as well.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _UNFIT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
