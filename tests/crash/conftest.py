"""One simulator for all tests here; each test has relays of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.processes import Simulator


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator
