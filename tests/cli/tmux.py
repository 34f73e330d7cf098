"""A real terminal for tests: tmux, without a window."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

TMUX = shutil.which("tmux")

WAIT_S = 20.0
"""How long the screen may take to show what a test waits for."""


class Terminal:
    """Runs one command in a terminal until the block ends.

    Args:
        command: What runs.
        folder: For the socket; short, since paths of sockets are.
        environ: The command's environment, beside ``PATH`` and ``TERM``.
        columns: Width.
        rows: Height.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, *, environ: Mapping[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        assert TMUX is not None, "tmux is not installed"
        self._tmux = [TMUX, "-S", str(folder / "tmux"), "-f", os.devnull]
        self._command = command
        self._environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environ}
        self._size = ["-x", str(columns), "-y", str(rows)]

    def __enter__(self) -> Self:
        variables = [f"{name}={value}" for name, value in self._environ.items()]
        command = shlex.join(["env", "-i", "TERM=screen-256color", *variables, *self._command])
        # A shell that stays keeps the screen when the command has ended.
        self._run("new-session", "-d", *self._size, f'{command}; echo "exit code $?"; cat')
        self._run("set-option", "-g", "history-limit", "2000")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("kill-server")

    def type(self, text: str) -> None:
        """Type a line and press Enter."""
        self._run("send-keys", "-l", text)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names, such as ``C-c``."""
        self._run("send-keys", *keys)

    def paste(self, text: str) -> None:
        """Paste, as terminals do it to programs that know of pasting."""
        self._run("set-buffer", text)
        self._run("paste-buffer", "-p")

    def resize(self, columns: int, rows: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self, *, styled: bool = False) -> str:
        """Return what it shows, with what has scrolled off; without the empty rows at the end."""
        return self._run("capture-pane", "-p", "-J", "-S", "-", *(["-e"] if styled else [])).rstrip("\n") + "\n"

    def wait_for(self, text: str, *, times: int = 1) -> str:
        """Wait until it shows a text so many times, and return all it shows.

        Raises:
            AssertionError: It does not, in time.
        """
        return self.wait_until(lambda screen: screen.count(text) >= times, what=repr(text))

    def wait_until(self, is_there: Callable[[str], bool], *, what: str) -> str:
        """As ``wait_for``, for anything that can be seen."""
        until_s = time.monotonic() + WAIT_S
        while not is_there(screen := self.screen()):
            assert time.monotonic() < until_s, f"the screen does not show {what}:\n{screen}"
            time.sleep(0.02)
        return screen

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True, timeout=WAIT_S)
        return done.stdout
