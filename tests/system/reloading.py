"""A relay whose settings file and client keys change while it runs, and how tests tell what came of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.processes import Relay
from tests.system.wire import wait_for

from headrace.policy.keys import KeyWish, new_key
from headrace.stores.url import open_keys

COMMAND_S = 60.0
RELOADED = "the settings were reloaded"
REFUSED = "the settings were not reloaded"


def bearer(key: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"authorization": f"Bearer {key}"}


async def add_keys(store: Path, *wishes: KeyWish) -> list[tuple[str, str]]:
    """Put keys into a store, as ``headrace keys create`` does; returns the id and the secret of each."""
    made = []
    async with open_keys(f"sqlite:///{store}") as keys:
        for wish in wishes:
            key, secret = new_key(wish, now=time.time())
            await keys.insert(key)
            made.append((str(key.id), secret))
    return made


def keys_command(store: Path, *arguments: str) -> str:
    """Run ``headrace keys``, and return the last line that it prints.

    Raises:
        AssertionError: It fails.
    """
    command = [sys.executable, "-m", "headrace", "keys", *arguments, "--store", f"sqlite:///{store}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


class SettingsFile:
    """A relay's settings file.

    Args:
        path: Where it is.
        text: TOML.
    """

    def __init__(self, path: Path, text: str = "") -> None:
        self.path = path
        self.write(text)

    @property
    def options(self) -> tuple[str, str]:
        """What ``headrace serve`` has to be told."""
        return "--config", str(self.path)

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def apply(self, relay: Relay, text: str) -> str:
        """Write it anew and have the relay read it; returns what it says of that.

        Raises:
            AssertionError: It refuses the file.
        """
        self.write(text)
        said = reload(relay)
        assert REFUSED not in said, said
        return said


def reload(relay: Relay) -> str:
    """Send SIGHUP; returns what the relay logs from then on, up to the last line about it."""
    before = len(relay.output)
    os.kill(relay.pid, signal.SIGHUP)
    text: str = wait_for(lambda: _whole_word(relay.output[before:]), what="word of the reload")
    return text


def _whole_word(output: str) -> str:
    """Return ``output`` if it holds all that is said of a reload: how many keys have changed, and a line for each."""
    if REFUSED in output and output.endswith("\n"):
        return output
    if RELOADED not in output or not output.endswith("\n"):
        return ""
    first, *others = output[output.index(RELOADED) :].splitlines()
    changed = int(first.removeprefix(f"{RELOADED}, ").split()[0])
    return output if sum(" -> " in line for line in others) >= changed else ""


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """Return how many of these times overlap at most; one that begins when another ends does not."""
    steps = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    most = running = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most


def figures(title: str, lines: list[str], write: Callable[[str], Any] = sys.stdout.write) -> None:
    """Print what was measured."""
    write(f"\n{title}\n" + "".join(f"  {line}\n" for line in lines))
