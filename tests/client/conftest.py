"""A simulator and a relay in front of it, one pair a test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.processes import Relay, Simulator


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def relay(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with Relay(simulator.url, tmp_path_factory.mktemp("relay") / "streams.db") as relay:
        relay.get("/readyz")
        yield relay
