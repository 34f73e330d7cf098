"""Every backend, for the tests of what all of them promise."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from headrace.stores.url import Stores, open_stores
from headrace.stream.store import CacheIndex, Claims, Keys, Records, Store


@pytest.fixture(params=["memory", "sqlite"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Stores]:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/headrace.db"
    async with open_stores(url) as stores:
        yield stores


@pytest.fixture
def store(stores: Stores) -> Store:
    return stores.store


@pytest.fixture
def records(stores: Stores) -> Records:
    return stores.records


@pytest.fixture
def keys(stores: Stores) -> Keys:
    return stores.keys


@pytest.fixture
def claims(stores: Stores) -> Claims:
    return stores.claims


@pytest.fixture
def cache(stores: Stores) -> CacheIndex:
    return stores.cache
