"""The examples in the page on keys run, one after the other, against a relay that serves the store they work on."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from tests.processes import Relay, Simulator

from headrace.http.usage import GROUPINGS, PARAMETERS
from headrace.protocol.key_object import KeyObject

PAGE = (Path(__file__).parents[3] / "docs" / "keys.md").read_text()
EXAMPLES = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
HEADRACE = Path(sys.executable).parent


def test_the_examples_run(simulator: Simulator, tmp_path: Path, require: Callable[[object, str], None]) -> None:
    require(shutil.which("bash"), "bash")
    require(shutil.which("curl"), "curl")
    with Relay(simulator.url, tmp_path / "keys.db") as relay:
        script = "\n".join(EXAMPLES).replace("http://127.0.0.1:8080", relay.origin)
        script = script.replace("headrace usage", f"headrace usage --url {relay.origin}").replace(
            "curl -s", "curl -fsS"
        )
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={
                **inherited,
                "PATH": f"{HEADRACE}:{os.environ['PATH']}",
                "HEADRACE_STORE__URL": f"sqlite:///{tmp_path}/keys.db",
            },
            cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert '"owner":"search"' in done.stdout
        assert not re.search(r"hr_[A-Za-z0-9_-]{43}", relay.output)
    with (tmp_path / "usage.csv").open(newline="") as file:
        head, line = csv.reader(file)
    assert (head[:3], line[1:3]) == (["day", "tag:team", "requests"], ["search", "1"])


def test_the_page_names_every_parameter_and_grouping() -> None:
    section = PAGE.partition("\n## Usage\n")[2]
    assert [name for name in (*PARAMETERS, *GROUPINGS) if f"`{name}" not in section] == []


def test_the_key_on_the_page_is_as_the_relay_answers() -> None:
    [example] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown = msgspec.json.decode(example, type=KeyObject)
    assert msgspec.json.decode(msgspec.json.encode(shown)) == msgspec.json.decode(example)
