"""One simulator and one relay for all tests here, as processes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop
from tests.processes import Relay, Simulator


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def relay(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with Relay(simulator.url, tmp_path_factory.mktemp("store") / "headrace.db") as relay:
        yield relay
