"""A client over a bare socket for all tests here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.processes import Relay
from tests.wire_client import Wire


@pytest.fixture
async def wire(relay: Relay) -> AsyncIterator[Wire]:
    async with Wire(relay.port) as wire:
        yield wire
