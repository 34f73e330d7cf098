from __future__ import annotations

import asyncio

import pytest
from tests.stores.kit import append, billed, claim, entry, key, opening, read_all, record, write, write_sealed

from headrace.errors import StoreError, StreamGone
from headrace.stores.memory import MemoryCacheIndex, MemoryClaims, MemoryKeys, MemoryRecords, MemoryStore
from headrace.stores.memory import usage as usage_module
from headrace.stores.memory.logs import LOG_BYTES
from headrace.stream.segment import Flush
from headrace.stream.store import Batch, UsageFilter
from headrace.types.ids import Offset, RequestId, StreamId
from headrace.types.outcome import State


async def test_commits_are_done_at_once() -> None:
    store = MemoryStore(max_bytes=10_000)
    assert store.is_bounded_by_readers
    assert store.commit(Batch([opening("s")])).done()
    assert MemoryRecords(max_records=1).save([record("r")]).done()
    assert MemoryCacheIndex().put(entry("k")).done()


async def test_entries_of_the_oldest_sealed_log_give_way_first_and_its_end_stays() -> None:
    store = MemoryStore(max_bytes=3 * LOG_BYTES + 250)
    await write(store, "open", [b"o" * 100])
    await write_sealed(store, "old", [b"x" * 100])
    await write_sealed(store, "new", [b"y" * 100])
    found = await store.find(StreamId("old"))
    assert found is not None
    assert (found.has_content, found.entries) == (False, 1)
    with pytest.raises(StreamGone):
        await store.read(StreamId("old"), after=Offset(-1), max_bytes=1000)
    assert await read_all(store, "open") == [b"o" * 100]
    assert await read_all(store, "new") == [b"y" * 100]


async def test_the_oldest_segments_of_open_logs_give_way_when_nothing_sealed_is_left() -> None:
    store = MemoryStore(max_bytes=2 * LOG_BYTES + 300)
    await write(store, "a", [b"a" * 100])
    await write(store, "b", [b"b" * 100], [b"c" * 100])
    await store.commit(Batch(appends=[append("a", 1, b"d" * 100)]))
    with pytest.raises(StreamGone):
        await store.read(StreamId("a"), after=Offset(-1), max_bytes=1000)
    assert await read_all(store, "a", after=0) == [b"d" * 100]
    assert await read_all(store, "b") == [b"b" * 100, b"c" * 100]
    await store.commit(Batch(appends=[append("a", 2, b"e" * 100)]))
    assert await read_all(store, "b", after=0) == [b"c" * 100]


async def test_flushes_are_gone_exactly_where_one_that_was_evicted_is_asked_for() -> None:
    store = MemoryStore(max_bytes=LOG_BYTES + 250)
    await write(store, "s", [b"a" * 50] * 2, [b"b" * 100], [b"c" * 100])
    await store.commit(Batch(appends=[append("s", 4, b"d" * 100, at=1.5)]))
    s = StreamId("s")
    for after in (-1, 0, 1):
        with pytest.raises(StreamGone):
            await store.flushes(s, after=Offset(after), limit=9)
    # The second began at 2: whoever has been told of it misses nothing.
    assert [flush.offset for flush in await store.flushes(s, after=Offset(2), limit=9)] == [3, 4]
    assert await store.flushes(s, after=Offset(3), limit=9) == [Flush(Offset(4), 1, 100, 1.5)]


async def test_open_logs_give_way_after_sealed_ones_are_gone_altogether() -> None:
    store = MemoryStore(max_bytes=LOG_BYTES + 150)
    await write_sealed(store, "sealed", [b"x" * 100])
    await write(store, "open", [b"a" * 100], [b"b" * 100])
    assert await store.find(StreamId("sealed")) is None
    assert await read_all(store, "open", after=0) == [b"b" * 100]


async def test_what_was_evicted_is_not_counted_again_when_the_log_goes() -> None:
    store = MemoryStore(max_bytes=LOG_BYTES + 150)
    await write(store, "s", [b"a" * 100], [b"b" * 100])
    await store.erase(StreamId("s"))
    await write(store, "t", [b"c" * 100], [b"d" * 100])
    assert await read_all(store, "t", after=0) == [b"d" * 100]
    with pytest.raises(StreamGone):
        await store.read(StreamId("t"), after=Offset(-1), max_bytes=1000)


async def test_very_many_empty_logs_are_bounded_too() -> None:
    store = MemoryStore(max_bytes=10 * LOG_BYTES)
    for number in range(50):
        await write_sealed(store, f"s{number}")
    kept = [number for number in range(50) if await store.find(StreamId(f"s{number}"))]
    assert kept == list(range(40, 50))


async def test_evicted_space_is_used_again() -> None:
    store = MemoryStore(max_bytes=LOG_BYTES + 1000)
    await write(store, "s", *([b"x" * 100] for _ in range(50)))
    assert len(await read_all(store, "s", after=39)) == 10


async def test_records_of_ended_requests_give_way_first() -> None:
    records = MemoryRecords(max_records=2)
    await records.save([record("running", state=State.IN_PROGRESS), record("ended", state=State.FAILED)])
    await records.save([record("new")])
    assert await records.get(RequestId("ended")) is None
    assert await records.get(RequestId("running")) is not None
    await records.save([record("newer")])
    assert await records.get(RequestId("running")) is None


async def test_usage_of_the_oldest_requests_gives_way() -> None:
    records = MemoryRecords(max_records=1, max_usage=3)
    for number in range(5):
        await records.save([billed(f"r{number}", model=f"m{number}")])
    lines = await records.usage(UsageFilter(since=0, until=9), by=["model"], limit=9)
    assert [line.group for line in lines] == [("m2",), ("m3",), ("m4",)]


async def test_a_long_sum_lets_other_tasks_run_and_counts_what_was_there_when_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage_module, "ROWS_AT_ONCE", 2)
    records = MemoryRecords(max_records=10)
    await records.save([billed(f"r{number}") for number in range(6)])
    summing = asyncio.ensure_future(records.usage(UsageFilter(since=0, until=9), by=[], limit=1))
    await asyncio.sleep(0)
    assert not summing.done()
    await records.save([billed("late")])
    assert (await summing)[0].estimated.requests == 6


async def test_a_key_too_many_is_refused() -> None:
    keys = MemoryKeys(max_keys=1)
    await keys.insert(key("a"))
    with pytest.raises(StoreError, match="1 keys already"):
        await keys.insert(key("b"))
    assert await keys.all() == [key("a")]


async def test_a_claim_too_many_is_refused_until_there_is_room() -> None:
    claims = MemoryClaims(max_claims=2)
    for name, log in (("a", "s"), ("b", "t")):
        await claims.claim(claim(name, log))
    with pytest.raises(StoreError, match="holds 2 idempotency keys"):
        await claims.claim(claim("c", "u"))
    assert await claims.find("ann", "c") is None
    assert await claims.claim(claim("a", "u")) == claim("a", "s")
    assert await claims.claim(claim("a", "u"), instead_of=StreamId("s")) == claim("a", "u")
    await claims.forget(StreamId("u"))
    assert await claims.claim(claim("c", "u")) == claim("c", "u")


async def test_of_the_cache_the_entries_stored_longest_ago_give_way_whenever_they_were_put() -> None:
    cache = MemoryCacheIndex(max_entries=2)
    for put in (entry("b", 2.0), entry("c", 3.0), entry("a", 1.0)):
        await cache.put(put)
    assert [await cache.find(name) is not None for name in "abc"] == [False, True, True]
