"""One simulator and one relay for all tests here, as processes of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.processes import Relay, Simulator
from tests.wire_client import Wire


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def relay(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with Relay(simulator.url, tmp_path_factory.mktemp("store") / "headrace.db") as relay:
        yield relay


@pytest.fixture
async def wire(relay: Relay) -> AsyncIterator[Wire]:
    async with Wire(relay.port) as wire:
        yield wire
