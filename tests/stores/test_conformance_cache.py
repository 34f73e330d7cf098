"""What every index of the cache promises (``headrace.stream.store.CacheIndex``)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.stores.kit import entry, write_sealed

from headrace.stores.url import Stores, open_stores
from headrace.stream.store import CacheEntry, CacheIndex
from headrace.types.ids import StreamId

S = StreamId("s")
HUGE = 1 << 60

NAMES = st.sampled_from("abcdef")
DEEDS = st.lists(
    st.tuples(st.just("put"), st.builds(entry, NAMES, st.integers(0, 9).map(float), log=NAMES, size=st.integers(0, 9)))
    | st.tuples(st.just("forget"), NAMES)
    | st.tuples(st.just("trim"), st.tuples(st.integers(0, 9).map(float), st.integers(0, 6), st.integers(0, 40))),
    max_size=25,
)


class Model:
    """What the index holds, said as simply as can be."""

    def __init__(self) -> None:
        self.entries: dict[str, CacheEntry] = {}

    @property
    def bytes(self) -> int:
        return sum(found.bytes for found in self.entries.values())

    def do(self, deed: str, what: Any) -> int | None:
        """Do a deed and return how many a trim drops."""
        if deed == "put":
            self.entries[what.key] = what
        elif deed == "forget":
            self.entries = {name: found for name, found in self.entries.items() if found.log_id != what}
        else:
            before = len(self.entries)
            self.trim(*what)
            return before - len(self.entries)
        return None

    def trim(self, stored_before: float, max_entries: int, max_bytes: int) -> None:
        for found in sorted(self.entries.values(), key=lambda found: (found.stored_at, found.key)):
            fits = len(self.entries) <= max_entries and self.bytes <= max_bytes
            if found.stored_at >= stored_before and fits:
                return
            del self.entries[found.key]


async def do(cache: CacheIndex, deed: str, what: Any) -> int | None:
    if deed == "put":
        await cache.put(what)
    elif deed == "forget":
        await cache.forget(StreamId(what))
    else:
        stored_before, max_entries, max_bytes = what
        return await cache.trim(stored_before=stored_before, max_entries=max_entries, max_bytes=max_bytes)
    return None


async def fill(cache: CacheIndex, count: int, *, size: int = 10) -> None:
    """Put that many entries, named and stored at their numbers, all handed over at once."""
    await asyncio.gather(*[cache.put(entry(str(at), float(at), log=f"s{at}", size=size)) for at in range(count)])


async def names_in(cache: CacheIndex, count: int) -> list[str]:
    return [str(at) for at in range(count) if await cache.find(str(at)) is not None]


class TestCacheIndex:
    async def test_an_entry_comes_back_whole_and_a_later_one_replaces_it(self, cache: CacheIndex) -> None:
        first = CacheEntry("k", "ann", S, 2**40 // 2**20, 1.25)
        await cache.put(first)
        assert await cache.find("k") == first
        second = CacheEntry("k", "bob", StreamId("t"), 7, 0.5)
        await cache.put(second)
        assert await cache.find("k") == second
        assert await cache.find("other") is None
        assert await cache.count() == (1, 7)

    async def test_all_entries_of_a_log_are_forgotten_and_no_others(self, cache: CacheIndex) -> None:
        for put in (entry("a"), entry("b"), entry("c", log="t", size=3)):
            await cache.put(put)
        await cache.forget(S)
        assert [await cache.find(name) for name in "abc"] == [None, None, entry("c", log="t", size=3)]
        assert await cache.count() == (1, 3)

    async def test_entries_too_old_are_dropped(self, cache: CacheIndex) -> None:
        await fill(cache, 5)
        assert await cache.trim(stored_before=3.0, max_entries=HUGE, max_bytes=HUGE) == 3
        assert await names_in(cache, 5) == ["3", "4"]

    @pytest.mark.parametrize(
        ("max_entries", "max_bytes", "kept"), [(100, HUGE, 100), (HUGE, 1009, 100), (150, 1010, 101), (0, HUGE, 0)]
    )
    async def test_one_trim_leaves_the_newest_within_both_bounds(
        self, cache: CacheIndex, max_entries: int, max_bytes: int, kept: int
    ) -> None:
        await fill(cache, 1700)
        dropped = await cache.trim(stored_before=0.0, max_entries=max_entries, max_bytes=max_bytes)
        assert dropped == 1700 - kept
        assert await cache.count() == (kept, 10 * kept)
        assert await names_in(cache, 1700) == [str(at) for at in range(1700 - kept, 1700)]

    @given(deeds=DEEDS)
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_whatever_is_done_it_holds_what_it_should(
        self, cache: CacheIndex, deeds: list[tuple[str, Any]]
    ) -> None:
        await cache.trim(stored_before=HUGE, max_entries=0, max_bytes=0)
        model = Model()
        for deed, what in deeds:
            assert await do(cache, deed, what) == model.do(deed, what)
            assert await cache.count() == (len(model.entries), model.bytes)
        assert {name: await cache.find(name) for name in "abcdef"} == {
            name: model.entries.get(name) for name in "abcdef"
        }

    async def test_an_erased_log_leaves_its_entries_to_whoever_finds_them(self, stores: Stores) -> None:
        await write_sealed(stores.store, "s", [b"{}"])
        await stores.cache.put(entry("k"))
        assert await stores.store.erase(S)
        assert await stores.cache.find("k") == entry("k")
        assert await stores.store.find(S) is None


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
class TestBounds:
    """What holds while nobody trims."""

    @pytest.mark.parametrize(
        ("max_entries", "max_bytes", "most"), [(20, HUGE, 22), (HUGE, 205, 22), (10, 100, 11), (0, HUGE, 0)]
    )
    async def test_the_newest_entries_are_kept_a_tenth_more_at_most(
        self, kind: str, tmp_path: Path, max_entries: int, max_bytes: int, most: int
    ) -> None:
        url = "memory:" if kind == "memory" else f"sqlite:///{tmp_path}/x.db"
        async with open_stores(url, cache_max_entries=max_entries, cache_max_bytes=max_bytes) as stores:
            for count in (1, 30, 700):
                await fill(stores.cache, count)
                entries, size = await stores.cache.count()
                assert size == 10 * entries
                assert min(count, most * 9 // 10) <= entries <= most
                assert await names_in(stores.cache, count) == [str(at) for at in range(count - entries, count)]

    async def test_one_large_answer_makes_room_for_itself_and_one_too_large_moves_nothing(
        self, kind: str, tmp_path: Path
    ) -> None:
        url = "memory:" if kind == "memory" else f"sqlite:///{tmp_path}/x.db"
        async with open_stores(url, cache_max_entries=5000, cache_max_bytes=20_000) as stores:
            cache = stores.cache
            await fill(cache, 1500)
            await cache.put(entry("too large", 2000.0, size=20_001))
            assert await cache.count() == (1500, 15_000)
            assert await cache.find("too large") is None
            await cache.put(entry("large", 2000.0, size=20_000))
            assert await cache.find("large") is not None
            assert (await cache.count())[1] <= 22_000
