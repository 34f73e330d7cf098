"""Shell completion, asked for as shells do it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from headrace.cli.streams.command import StateName
from headrace.types.outcome import State

HEADRACE = Path(sys.executable).parent / "headrace"

ASK_BASH = """
eval "$(headrace --show-completion)"
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_headrace_completion headrace
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(*words: str) -> list[str]:
    """Return what bash offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    environ = {**os.environ, "PATH": f"{HEADRACE.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK_BASH.format(words=quoted)],
        env=environ, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["headrace", "st"], ["streams"]),
        (["headrace", "streams", ""], ["list", "show", "tail", "cancel"]),
        (["headrace", "streams", "list", "--st"], ["--state"]),
        (["headrace", "streams", "list", "--state", ""], list(State)),
        (["headrace", "streams", "list", "--state", "c"], ["completed", "cancelled"]),
        (["headrace", "config", "show", "--c"], ["--config", "--changed"]),
        (["headrace", "keys", ""], ["create", "list", "rotate", "revoke"]),
        (["headrace", "usage", "--s"], ["--since"]),
    ],
)
def test_bash_completes(words: list[str], offered: list[str], require: Callable[[object, str], None]) -> None:
    require(shutil.which("bash"), "bash")
    assert completed(*words) == offered


def test_zsh_gets_candidates_with_their_help() -> None:
    environ = {**os.environ, "_HEADRACE_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "headrace streams t"}
    done = subprocess.run([HEADRACE], env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert '"tail":"Follow a stream to its end' in done.stdout


def test_every_state_can_be_completed() -> None:
    assert get_args(StateName) == tuple(State)
