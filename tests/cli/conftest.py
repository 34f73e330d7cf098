"""A relay in front of a simulator, and the command run in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.processes import Relay, Simulator

from headrace.cli.app import main

Run = Callable[..., int]


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator("--text", "one \x1b[31mtwo three") as simulator:
        yield simulator


@pytest.fixture(scope="session")
def relay(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with Relay(simulator.url, tmp_path_factory.mktemp("relay") / "streams.db") as relay:
        yield relay


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return ``run(*arguments)``, which runs ``headrace`` and returns its exit code."""
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)

    def run_it(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        assert isinstance(code, int)
        return code

    return run_it
