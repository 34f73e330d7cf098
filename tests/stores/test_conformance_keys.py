"""What every store of client keys promises (``headrace.stream.store.Keys``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from tests.stores.kit import (
    billed,
    key,
)

from headrace.errors import StoreError
from headrace.stores.url import Stores
from headrace.stream.store import (
    Keys,
)
from headrace.types.access import Allowance, Budget, ClientKey, Owner, Role, Secret
from headrace.types.ids import KeyId


def renamed(name: str) -> Callable[[ClientKey], ClientKey]:
    return lambda found: msgspec.structs.replace(found, name=name)


def failing(_: ClientKey) -> ClientKey:
    raise ValueError("two secrets are good already")


class TestKeys:
    async def test_a_key_comes_back_whole(self, keys: Keys) -> None:
        whole = ClientKey(
            id=KeyId("key_1"),
            name="für Ann",
            owner=Owner("ann"),
            role=Role.ADMIN,
            secrets=(
                Secret(digest="d1", hint="hr_a...b", created_at=1.5, expires_at=9.25),
                Secret(digest="d2", hint="hr_c...d", created_at=2.5),
            ),
            models=("m1", "m2"),
            limits=Allowance(requests_per_minute=5, max_output_tokens=2**53),
            budget=Budget(day_usd=Decimal("0.000000001"), month_usd=Decimal(1000000000)),
            tags={"team": "search"},
            created_at=1.25,
            expires_at=99.5,
            revoked_at=98.5,
        )
        await keys.insert(whole)
        assert await keys.all() == [whole]

    async def test_all_come_oldest_first_revoked_ones_too(self, keys: Keys) -> None:
        for found in (key("c", 2.0), key("b", 1.0, revoked_at=5.0), key("a", 2.0)):
            await keys.insert(found)
        assert [found.id for found in await keys.all()] == ["b", "a", "c"]

    async def test_an_id_can_be_taken_once(self, keys: Keys) -> None:
        await keys.insert(key("a"))
        version = await keys.version()
        with pytest.raises(StoreError, match="there is a key a already"):
            await keys.insert(key("a", name="other"))
        assert await keys.all() == [key("a")]
        assert await keys.version() == version

    async def test_the_version_grows_with_each_change_and_with_nothing_else(self, stores: Stores) -> None:
        keys = stores.keys
        versions = [await keys.version()]
        await keys.insert(key("a"))
        versions.append(await keys.version())
        await keys.insert(key("b"))
        versions.append(await keys.version())
        await keys.change(KeyId("a"), renamed("x"))
        versions.append(await keys.version())
        await keys.change(KeyId("a"), renamed("y"))
        versions.append(await keys.version())
        assert sorted(set(versions)) == versions
        await stores.records.save([billed("r")])
        assert await keys.change(KeyId("unknown"), renamed("x")) is None
        assert await keys.version() == versions[-1]

    async def test_a_change_is_returned_and_kept(self, keys: Keys) -> None:
        await keys.insert(key("a"))
        await keys.insert(key("b"))
        assert await keys.change(KeyId("a"), renamed("x")) == key("a", name="x")
        assert await keys.all() == [key("a", name="x"), key("b")]

    async def test_what_a_change_raises_passes_through_and_nothing_is_changed(self, keys: Keys) -> None:
        await keys.insert(key("a"))
        version = await keys.version()
        with pytest.raises(ValueError, match="two secrets"):
            await keys.change(KeyId("a"), failing)
        assert await keys.all() == [key("a")]
        assert await keys.version() == version
        assert await keys.change(KeyId("a"), renamed("x")) is not None

    async def test_changes_made_at_the_same_time_all_count(self, keys: Keys) -> None:
        await keys.insert(key("a", name=""))
        grow: Callable[[ClientKey], ClientKey] = lambda found: msgspec.structs.replace(found, name=found.name + "x")  # noqa: E731
        await asyncio.gather(*[keys.change(KeyId("a"), grow) for _ in range(20)])
        assert [found.name for found in await keys.all()] == ["x" * 20]
