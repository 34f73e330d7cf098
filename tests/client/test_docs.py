"""The examples in the documentation run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import Relay

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_page_has_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_runs(relay: Relay, number: int) -> None:
    code = EXAMPLES[number].replace("http://127.0.0.1:8080", relay.origin).replace('"default"', '"sim"')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
