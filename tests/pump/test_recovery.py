"""Recovery: what a crash left open is closed, with every entry, a record that says so, and a bill."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from headrace.errors import StoreError
from headrace.pump import recovery
from headrace.pump.recovery import recover
from headrace.stores.sqlite import SqliteDatabase
from headrace.stores.url import Stores, open_stores
from headrace.stream.segment import Segment
from headrace.stream.store import Append, Batch, Lease, Opening, Records, Seal, Store, TokenSum, UsageFilter
from headrace.types.bill import Bill
from headrace.types.ids import Offset, RequestId, StreamId
from headrace.types.outcome import Cause, End, State
from headrace.types.record import Record

ROLE = b'{"choices":[{"delta":{"role":"assistant"}}]}'
TEXT = b'{"choices":[{"delta":{"content":"a"}}]}'
LONG = b'{"choices":[{"delta":{"content":"' + b"a" * 40 + b'"}}]}'
ODD = b'{"choices":"odd"}'
LEFT = Lease(StreamId("left"), "node", 1)
EVER = UsageFilter(since=0, until=9e9)


@pytest.fixture(params=["memory", "sqlite"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Stores]:
    async with open_stores("memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/x.db") as stores:
        yield stores


def record(name: str, **changes: object) -> Record:
    values = {"id": RequestId(f"r-{name}"), "state": State.IN_PROGRESS, **changes}
    return Record(stream_id=StreamId(name), owner="ann", model="m", engine="e", accepted_at=1.0, **values)  # type: ignore[arg-type]


def two_a_token(closed: Record) -> Bill:
    """Return a bill that tells what it was made from."""
    assert (closed.state, closed.cause, closed.bill) == (State.TRUNCATED, Cause.NODE_LOST, None)
    assert closed.completion_tokens == closed.generated_tokens == closed.delivered_tokens
    tokens = closed.generated_tokens
    return Bill(prompt_tokens=closed.prompt_tokens, completion_tokens=tokens, nano_usd=2 * tokens)


async def recovered(store: Store, records: Records, *, now: float = 5.0) -> list[Record]:
    return await recover(store, records, node="node", lease_s=10, wall_time=lambda: now, bill=two_a_token)


async def leave(store: Store, *segments: Segment) -> None:
    """Leave a log open with these entries."""
    await store.commit(Batch([Opening(LEFT, "ann", 1.0)], [Append(LEFT, segment) for segment in segments]))


def segment(first: int, *lines: bytes, tokens: int | None = None) -> Segment:
    return Segment(Offset(first), len(lines), b"\n".join(lines), 1.5, tokens)


async def test_open_streams_are_closed_as_lost_and_ended_ones_left_alone(stores: Stores) -> None:
    store, records, *_ = stores
    done = Lease(StreamId("done"), "node", 1)
    finished = End(state=State.COMPLETED, cause=Cause.STOP)
    await leave(store, segment(0, ROLE, TEXT), segment(2, TEXT, TEXT), segment(4, ODD))
    await store.commit(Batch([Opening(done, "ann", 1.0)], [], [Seal(done, finished, Offset(0), 2.0)]))
    await records.save([record("left", prompt_tokens=4), record("done")])
    closed = await recovered(store, records)
    assert [(row.stream_id, row.state, row.cause) for row in closed] == [("left", State.TRUNCATED, Cause.NODE_LOST)]
    assert (closed[0].entries, closed[0].completion_tokens, closed[0].ended_at) == (5, 3, 5.0)
    assert closed[0].bytes == len(ROLE) + 3 * len(TEXT) + len(ODD)
    assert closed[0].bill == Bill(prompt_tokens=4, completion_tokens=3, nano_usd=6)
    found = await store.find(StreamId("left"))
    assert found is not None
    assert found.end is not None
    assert (found.entries, found.end.cause) == (5, Cause.NODE_LOST)
    assert found.end.usage == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
    assert await records.get(RequestId("r-left")) == closed[0]
    untouched = await store.find(StreamId("done"))
    assert untouched is not None
    assert untouched.end == finished
    assert await recovered(store, records, now=6.0) == []
    (line,) = await records.usage(EVER, by=["state"], limit=9)
    assert line.estimated == TokenSum(requests=1, prompt_tokens=4, completion_tokens=3, nano_usd=6)


async def test_the_tokens_that_the_log_says_are_taken_and_no_entry_is_read(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, records, *_ = stores
    monkeypatch.setattr(recovery, "PAGE_FLUSHES", 2)
    monkeypatch.setattr(type(store), "read", None)
    await leave(store, *[segment(2 * at, TEXT, ROLE, tokens=70 + at) for at in range(5)])
    await records.save([record("left")])
    (closed,) = await recovered(store, records)
    assert (closed.generated_tokens, closed.entries, closed.bytes) == (74, 10, 5 * (len(TEXT) + len(ROLE)))
    assert closed.bill == Bill(completion_tokens=74, nano_usd=148)


async def test_without_them_tokens_are_counted_as_the_pump_does(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, records, *_ = stores
    monkeypatch.setattr(recovery, "PAGE_BYTES", 50)
    await leave(store, segment(0, ROLE), segment(1, LONG), segment(2, TEXT, TEXT))
    await records.save([record("left")])
    (closed,) = await recovered(store, records)
    assert (closed.generated_tokens, closed.entries) == (12, 4)  # 40 characters count as 10
    assert closed.bytes == len(ROLE) + len(LONG) + 2 * len(TEXT)


async def test_a_stream_without_an_entry_is_closed_and_costs_what_the_bill_says(stores: Stores) -> None:
    store, records, *_ = stores
    await leave(store)
    await records.save([record("left", state=State.QUEUED)])
    (closed,) = await recovered(store, records)
    assert (closed.state, closed.entries, closed.bytes, closed.bill) == (State.TRUNCATED, 0, 0, Bill())


async def test_of_several_requests_on_one_log_those_that_had_ended_stay_as_they_were(stores: Stores) -> None:
    store, records, *_ = stores
    await leave(store, segment(0, TEXT, tokens=1))
    ended = record("left", id=RequestId("ended"), state=State.CANCELLED, cause=Cause.CLIENT_STOP, bill=Bill(nano_usd=9))
    await records.save([ended, record("left", id=RequestId("one")), record("left", id=RequestId("two"))])
    closed = await recovered(store, records)
    assert sorted(row.id for row in closed) == ["one", "two"]
    assert await records.get(ended.id) == ended
    assert [line.nano_usd for line in await records.spent(since=0)] == [9 + 2 + 2]


async def test_a_crash_during_recovery_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Logs are sealed and records closed together: what fails is done whole by the next start."""
    failures = [sqlite3.OperationalError("disk I/O error")]
    armed = asyncio.Event()

    def fail_once() -> None:
        if armed.is_set() and failures:
            raise failures.pop()

    async with SqliteDatabase(tmp_path / "x.db", before_commit=fail_once) as database:
        store, records = database.store, database.records
        await leave(store, segment(0, TEXT, TEXT, tokens=2))
        await records.save([record("left")])

        def arm(closed: Record) -> Bill:
            armed.set()
            return two_a_token(closed)

        with pytest.raises(StoreError):
            await recover(store, records, node="node", lease_s=10, wall_time=lambda: 5.0, bill=arm)
        assert await records.get(RequestId("r-left")) == record("left")
        assert await records.usage(EVER, by=[], limit=9) == []
    async with SqliteDatabase(tmp_path / "x.db") as database:
        store, records = database.store, database.records
        (closed,) = await recovered(store, records, now=7.0)
        assert await recovered(store, records, now=8.0) == []
        await records.save([msgspec.structs.replace(closed)])
        (line,) = await records.usage(EVER, by=[], limit=9)
        assert line.estimated == TokenSum(requests=1, completion_tokens=2, nano_usd=4)
