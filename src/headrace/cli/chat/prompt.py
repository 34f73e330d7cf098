"""The line that the user types: editing, history, several lines."""

from __future__ import annotations

import contextlib
import readline
import sys
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from headrace.cli.look import Look

MAX_HISTORY = 1000
"""Lines kept."""

_QUOTES = '"""'
_LOCAL_FLAGS = 3
"""Where ``termios.tcgetattr`` has them."""


def read_message(read_line: Callable[[bool], str]) -> str:
    """Return one message, which may have several lines.

    A line that ends with a backslash goes on in the next one, and so does all between two triple quotes.

    Args:
        read_line: Reads a line; its argument is False for the first one.

    Raises:
        EOFError: The user has ended the input.
    """
    line = read_line(False)
    if line.lstrip().startswith(_QUOTES):
        return _quoted(line.lstrip().removeprefix(_QUOTES), read_line)
    lines = [line]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(read_line(True))
    return "\n".join(lines)


def _quoted(line: str, read_line: Callable[[bool], str]) -> str:
    lines = [line]
    while not lines[-1].rstrip().endswith(_QUOTES):
        lines.append(read_line(True))
    lines[-1] = lines[-1].rstrip().removesuffix(_QUOTES)
    return "\n".join(lines).strip("\n")


def history_file(environ: Mapping[str, str]) -> Path | None:
    """Return where typed lines are kept, by the XDG Base Directory Specification; None without a home directory."""
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        home = Path(environ.get("HOME", ""))
        if not home.is_absolute():
            return None
        state = home / ".local" / "state"
    return state / "headrace" / "chat_history"


class Prompt:
    """Reads messages from the terminal.

    Args:
        look: Of the prompt.
        history: File of the lines typed, made for its user only; None keeps none.
        words: What Tab completes at the beginning of a line.
    """

    def __init__(self, look: Look, *, history: Path | None, words: Sequence[str]) -> None:
        self._first = _unprinted(look, "> ")
        self._next = _unprinted(look, ". ")
        self._is_next = False
        self._history = history
        self._words = words
        if look.is_styled:
            # A paste of several lines is one message.
            readline.parse_and_bind("set enable-bracketed-paste on")
        readline.parse_and_bind("tab: complete")
        readline.set_completer_delims(" ")
        readline.set_completer(self._complete)
        readline.set_history_length(MAX_HISTORY)
        readline.set_auto_history(False)
        self._load()

    def read(self) -> str:
        """Return the next message; an empty one for what Ctrl-C abandons.

        Raises:
            EOFError: Ctrl-D.
            KeyboardInterrupt: Ctrl-C, where nothing was typed.
        """
        try:
            return read_message(self._read_line)
        except KeyboardInterrupt:
            if not self._is_next and not readline.get_line_buffer():
                raise
            sys.stdout.write("\n")
            return ""

    def _read_line(self, is_next: bool) -> str:
        self._is_next = is_next
        line = input(self._next if is_next else self._first)
        if line.strip():
            readline.add_history(line)
            self._save_line()
        return line

    def _complete(self, text: str, state: int) -> str | None:
        found = [word for word in self._words if word.startswith(text)] if readline.get_begidx() == 0 else []
        return found[state] if state < len(found) else None

    def _load(self) -> None:
        if self._history is None:
            return
        try:
            self._history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._history.touch(mode=0o600)
            self._history.chmod(0o600)
            readline.read_history_file(self._history)
        except OSError:
            # A chat without a history is still a chat.
            self._history = None

    def _save_line(self) -> None:
        if self._history is not None:
            # Line by line, so that nothing is lost and sessions side by side keep each other's lines.
            with contextlib.suppress(OSError):
                readline.append_history_file(1, self._history)


def _unprinted(look: Look, text: str) -> str:
    """Return a prompt whose style readline does not count as columns."""
    styled = look.bold(text)
    before, _, after = styled.partition(text)
    return f"\001{before}\002{text}\001{after}\002" if look.is_styled else text


@contextmanager
def quiet_keyboard(descriptor: int | None) -> Iterator[None]:
    """Let a terminal not show what is typed until the block ends; it is kept for the next prompt.

    Args:
        descriptor: The terminal; None when there is none.
    """
    if descriptor is None:
        yield
        return
    before = termios.tcgetattr(descriptor)
    quiet = [*before]
    quiet[_LOCAL_FLAGS] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
