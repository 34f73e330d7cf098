"""The page on routes does what it shows: its settings are good, and its commands print what stands below them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.processes import Served

from headrace.settings import load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "routes.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
TOML = [text for language, text in BLOCKS if language == "toml"]
FIRST, SPARE, RELAY, *TRIED = (text for language, text in BLOCKS if language == "sh")
SHOWN = {code: shown for (language, code), (next_one, shown) in pairwise(BLOCKS) if (language, next_one) == ("sh", "")}
"""What stands below a command."""

SHARES = "models.sim.shares = true"
"""The line that one example asks to be added."""


class Trial(NamedTuple):
    """All that the page has running, and the places on the page for which each stands."""

    first: Served
    spare: Served
    relay: Served

    def here(self, text: str) -> str:
        """Return a text of the page with the ports of this test."""
        for port, served in ((9001, self.first), (9002, self.spare), (8080, self.relay)):
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{served.port}")
        return text.replace("headrace chat", f"headrace chat --url {self.relay.origin}")


def _served(command: str) -> Served:
    """Return a command of the page, on a free port."""
    _, *arguments = shlex.split(re.sub(r" --port \d+", "", command.replace("\\\n", " ")))
    return Served([*arguments, "--port", "{port}"])


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    file = tmp_path / "routes.toml"
    with _served(FIRST) as first, _served(SPARE) as spare:
        relay = _served(RELAY.replace("routes.toml", str(file)))
        running = Trial(first, spare, relay)
        file.write_text(running.here(TOML[0]) + SHARES)
        with relay:
            yield running


def test_the_page_is_read_as_it_was_written() -> None:
    assert (len(TOML), len(TRIED), len(SHOWN)) == (3, 5, 5)
    assert f"`{SHARES}`" in PAGE
    assert len(TOML[0].splitlines()) == 5


@pytest.mark.parametrize("number", range(len(TOML)))
def test_its_settings_are_good(number: int, tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(TOML[number])
    load_settings(environ={"HOME": "/home/someone"}, file=file)


@pytest.mark.timeout(90)
def test_its_commands_print_what_it_shows(tmp_path: Path, trial: Trial, require: Callable[[object, str], None]) -> None:
    require(shutil.which("bash") and shutil.which("curl"), "bash and curl")
    for command in TRIED:
        # The dots stand for anything, within a line.
        pattern = ".*".join(re.escape(part.strip()) for part in SHOWN[command].strip().split("…"))
        printed = _printed(trial.here(command), tmp_path)
        assert re.fullmatch(pattern, printed.strip()), printed


def _printed(script: str, folder: Path) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**inherited, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
