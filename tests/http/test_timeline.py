"""The timeline: when each part of a log was committed, by numbers that agree with each other and with the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.node import InProcess, Reply, node_in_process
from tests.stores.kit import lease, opening, record, segment
from tests.waiting import until

from headrace.engines.scripted import ScriptedEngine
from headrace.errors import StoreError
from headrace.stores.memory import MemoryRecords, MemoryStore
from headrace.stores.sqlite import SqliteDatabase
from headrace.stream.segment import Flush
from headrace.stream.store import Append, Batch
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import State

ONE = StreamId("one")
HEADERS = {"Headrace-Stream-Id": ONE}
PATH = "/v1/streams/one/timeline"
ITL_S = 0.01
TOKENS = 9


class TroubledStore(MemoryStore):
    """Fails on demand, or keeps what it is given and does not say so."""

    def __init__(self) -> None:
        super().__init__(max_bytes=1 << 24)
        self.refuses_commits = False
        self.refuses_reads = False
        self.held: list[asyncio.Future[None]] | None = None

    def commit(self, batch: Batch) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.refuses_commits:
            future.set_exception(StoreError("the disk is full"))
            return future
        super().commit(batch)
        if self.held is not None:
            self.held.append(future)
        else:
            future.set_result(None)
        return future

    async def flushes(self, stream_id: StreamId, *, after: Offset, limit: int) -> list[Flush]:
        if self.refuses_reads:
            raise StoreError("the disk is gone")
        return await super().flushes(stream_id, after=after, limit=limit)


class Streaming:
    """One stream whose tokens come when a test says so."""

    def __init__(self, relay: InProcess, engine: ScriptedEngine) -> None:
        self.relay = relay
        self.engine = engine

    async def bring(self, *, tokens: int) -> None:
        """Let some more tokens come, and wait until they are published."""
        before = await self.last_offset()
        self.engine.advance(tokens * ITL_S)
        async with asyncio.timeout(10):
            while await self.last_offset() < before + tokens:  # noqa: ASYNC110 (asked as a client would)
                await asyncio.sleep(0.001)

    async def last_offset(self) -> int:
        offset = (await self.relay.call("GET", "/v1/streams/one")).json.get("last_offset")
        return -1 if offset is None else offset


def asked(relay: InProcess, **fields: Any) -> asyncio.Future[Reply]:
    """Ask for a stream of ``TOKENS`` tokens."""
    script = {"tokens": TOKENS, "itl_ms": int(ITL_S * 1000)}
    return asyncio.ensure_future(relay.chat(headers=HEADERS, simulate=script, **fields))


@asynccontextmanager
async def streaming(relay: InProcess, engine: ScriptedEngine, **fields: Any) -> AsyncIterator[Streaming]:
    """A stream that has said its first word inside the block, and ends with it."""
    asking, stream = asked(relay, **fields), Streaming(relay, engine)
    async with asyncio.timeout(10):
        while await stream.last_offset() < 0:
            engine.advance(0)
            await asyncio.sleep(0.001)
    yield stream
    engine.advance(60)
    async with asyncio.timeout(10):
        await asking


@asynccontextmanager
async def manual_node(store: MemoryStore | None = None) -> AsyncIterator[tuple[InProcess, ScriptedEngine]]:
    engine = ScriptedEngine(manual=True)
    stores = (store or MemoryStore(max_bytes=1 << 24), MemoryRecords(max_records=1000))
    async with node_in_process(engine=engine, stores=stores) as relay:
        yield relay, engine


@asynccontextmanager
async def sqlite_node(folder: Path) -> AsyncIterator[tuple[InProcess, ScriptedEngine]]:
    engine = ScriptedEngine(manual=True)
    async with (
        SqliteDatabase(folder / "headrace.db") as database,
        node_in_process(engine=engine, stores=(database.store, database.records)) as relay,
    ):
        yield relay, engine


@pytest.fixture(params=["memory", "sqlite"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[InProcess, ScriptedEngine]]:
    async with manual_node() if request.param == "memory" else sqlite_node(tmp_path) as node:
        yield node


async def timeline(relay: InProcess, query: str = "") -> Any:
    reply = await relay.call("GET", PATH + query)
    assert reply.status == 200, reply.body
    return reply.json


async def pages(relay: InProcess, *, limit: int) -> list[Any]:
    """Return the flushes of all pages."""
    flushes: list[Any] = []
    after = -1
    while True:
        page = await timeline(relay, f"?limit={limit}&after={after}")
        assert len(page["flushes"]) == limit or not page["has_more"]
        flushes += page["flushes"]
        if not page["has_more"]:
            return flushes
        after = flushes[-1]["offset"]


def adds_up(found: Any, flushes: list[Any]) -> bool:
    """Whether flushes are a whole log: without gaps, and as many entries and bytes as are said to be there."""
    offset = size = 0
    for flush in flushes:
        if flush["offset"] != offset:
            return False
        offset += flush["entries"]
        size += flush["bytes"]
    return (offset, size) == (found["entries"], found["bytes"])


async def test_the_flushes_of_an_ended_stream_are_its_whole_log_in_pages_of_any_size(
    node: tuple[InProcess, ScriptedEngine],
) -> None:
    relay, engine = node
    began_at = time.time()
    async with streaming(relay, engine) as stream:
        for tokens in (2, 1, 3):
            await stream.bring(tokens=tokens)
    found = await timeline(relay)
    shown = (await relay.call("GET", "/v1/streams/one")).json
    assert (found["object"], found["stream_id"], found["durability"]) == ("timeline", "one", "durable")
    assert (found["state"], found["cause"]) == ("completed", "stop")
    for name in ("state", "cause", "created_at", "first_content_at", "ended_at", "bytes", "durability"):
        assert found[name] == shown[name]
    assert found["entries"] == shown["last_offset"]
    assert len(found["flushes"]) >= 4
    assert found["has_more"] is False
    assert adds_up(found, found["flushes"])
    times = [began_at, *(flush["at"] for flush in found["flushes"]), time.time()]
    assert times == sorted(times)
    for limit in (1, 2, 3, 2000):
        assert await pages(relay, limit=limit) == found["flushes"]
    # The relay forgets ended streams a moment later, and knows them from the store alone.
    relay.node.supervisor.forget(ONE)
    assert await timeline(relay) == found


async def test_bytes_are_those_of_the_chunks_that_the_events_route_gives(
    node: tuple[InProcess, ScriptedEngine],
) -> None:
    relay, engine = node
    async with streaming(relay, engine) as stream:
        await stream.bring(tokens=4)
    events = (await relay.call("GET", "/v1/streams/one/events")).body.split(b"\n\n")
    chunks = [event.partition(b"data: ")[2] for event in events if event.startswith(b"id: ")]
    *chunks, _end = chunks
    found = await timeline(relay)
    assert found["entries"] == len(chunks)
    assert found["bytes"] == sum(len(chunk) for chunk in chunks)
    for flush in found["flushes"]:
        part = chunks[flush["offset"] : flush["offset"] + flush["entries"]]
        assert flush["bytes"] == sum(len(chunk) for chunk in part)


async def test_a_running_stream_shows_all_that_is_published_and_then_what_came_since(
    node: tuple[InProcess, ScriptedEngine],
) -> None:
    relay, engine = node
    async with streaming(relay, engine) as stream:
        await stream.bring(tokens=2)
        first = await timeline(relay)
        assert (first["state"], first["cause"], first["ended_at"]) == ("in_progress", None, None)
        assert first["entries"] == await stream.last_offset() + 1
        assert adds_up(first, first["flushes"])
        last = first["flushes"][-1]["offset"]
        assert (await timeline(relay, f"?after={last}"))["flushes"] == []
        await stream.bring(tokens=2)
        second = await timeline(relay, f"?after={last}")
        assert second["flushes"]
        assert adds_up(second, first["flushes"] + second["flushes"])


async def test_a_stream_that_has_said_nothing_yet_has_no_flushes(node: tuple[InProcess, ScriptedEngine]) -> None:
    relay, _ = node
    asking = asked(relay)
    while relay.node.supervisor.find(ONE) is None:  # noqa: ASYNC110 (and no longer: the next tick tells the store of it)
        await asyncio.sleep(0)
    found = await timeline(relay)
    assert (found["state"], found["entries"], found["bytes"], found["flushes"]) == ("queued", 0, 0, [])
    assert found["first_content_at"] is None
    await relay.call("POST", "/v1/streams/one/cancel")
    await asking


async def test_what_is_committed_and_not_yet_published_is_not_shown() -> None:
    store = TroubledStore()
    async with manual_node(store) as (relay, engine), streaming(relay, engine) as stream:
        await stream.bring(tokens=2)
        before = await timeline(relay)
        store.held = []
        engine.advance(2 * ITL_S)
        await until(lambda: bool(store.held))
        assert len(await store.flushes(ONE, after=Offset(-1), limit=99)) > len(before["flushes"])
        assert await timeline(relay) == before
        held, store.held = store.held, None
        for future in held:
            future.set_result(None)


async def test_a_degraded_stream_shows_what_store_and_memory_have_and_says_so() -> None:
    store = TroubledStore()
    async with manual_node(store) as (relay, engine), streaming(relay, engine) as stream:
        await stream.bring(tokens=2)
        durable = await timeline(relay)
        store.refuses_commits = True
        await stream.bring(tokens=2)
        found = await timeline(relay)
        assert (durable["durability"], found["durability"]) == ("durable", "degraded")
        kept = len(durable["flushes"])
        assert found["flushes"][:kept] == durable["flushes"]
        assert found["flushes"][kept:]
        assert found["entries"] == await stream.last_offset() + 1
        offsets = [flush["offset"] for flush in found["flushes"]]
        assert offsets == sorted(set(offsets))
        page = await timeline(relay, f"?limit=1&after={offsets[kept - 1]}")
        assert page["flushes"] == found["flushes"][kept : kept + 1]
        assert page["has_more"] is (len(found["flushes"]) > kept + 1)
        store.refuses_reads = True
        assert (await timeline(relay))["flushes"] == found["flushes"][kept:]


async def test_the_late_end_of_a_degraded_stream_comes_with_what_the_store_has() -> None:
    store = TroubledStore()
    async with manual_node(store) as (relay, engine):
        async with streaming(relay, engine) as stream:
            await stream.bring(tokens=2)
            durable = await timeline(relay)
            store.refuses_commits = True
        relay.node.supervisor.forget(ONE)
        assert relay.node.supervisor.late(ONE) is not None
        found = await timeline(relay)
        assert (found["state"], found["cause"], found["durability"]) == ("completed", "stop", "degraded")
        assert found["flushes"] == durable["flushes"]
        assert found["entries"] > durable["entries"]
        store.refuses_commits = False


async def test_a_stream_that_the_store_never_heard_of_has_no_flushes_once_it_has_left_memory() -> None:
    store = TroubledStore()
    async with manual_node(store) as (relay, engine):
        store.refuses_commits = True
        async with streaming(relay, engine):
            assert (await timeline(relay))["flushes"][0]["offset"] == 0
        relay.node.supervisor.forget(ONE)
        found = await timeline(relay)
        assert (found["durability"], found["flushes"], found["has_more"]) == ("degraded", [], False)
        assert found["entries"] > TOKENS
        store.refuses_commits = False


async def test_a_store_that_cannot_be_read_is_a_503_for_a_durable_stream() -> None:
    store = TroubledStore()
    async with manual_node(store) as (relay, engine):
        async with streaming(relay, engine):
            pass
        store.refuses_reads = True
        reply = await relay.call("GET", PATH)
        assert (reply.status, reply.json["error"]["code"]) == (503, "store_error")


async def test_content_that_was_not_to_be_kept_takes_its_timeline_with_it(
    node: tuple[InProcess, ScriptedEngine],
) -> None:
    relay, engine = node
    async with streaming(relay, engine, store=False):
        assert (await timeline(relay))["flushes"]
    for path in (PATH, "/v1/streams/one/events"):
        reply = await relay.call("GET", path)
        assert (reply.status, reply.json["error"]["code"]) == (410, "stream_gone")
    last = (await relay.call("GET", "/v1/streams/one")).json["last_offset"]
    assert (await timeline(relay, f"?after={last}"))["flushes"] == []


async def test_a_stream_whose_log_retention_took_is_gone_and_not_unknown(
    node: tuple[InProcess, ScriptedEngine],
) -> None:
    relay, engine = node
    async with streaming(relay, engine):
        pass
    relay.node.supervisor.forget(ONE)
    assert await relay.node.store.trim(ended_before=time.time() + 60, max_bytes=1 << 30) == 1
    reply = await relay.call("GET", PATH)
    assert (reply.status, reply.json["error"]["code"]) == (410, "stream_gone")


async def test_an_erased_stream_is_not_found(node: tuple[InProcess, ScriptedEngine]) -> None:
    relay, engine = node
    async with streaming(relay, engine):
        pass
    await relay.call("DELETE", "/v1/streams/one")
    reply = await relay.call("GET", PATH)
    assert (reply.status, reply.json["error"]["code"]) == (404, "stream_not_found")


async def test_what_a_crash_left_adds_up_too(tmp_path: Path) -> None:
    async with SqliteDatabase(tmp_path / "headrace.db") as database:
        left = lease(ONE, node="local")
        appends = [Append(left, segment(0, b"{}", b'{"a":1}', at=5.25)), Append(left, segment(2, b"[]", at=6.5))]
        await database.store.commit(Batch([opening(ONE, node="local", owner="")], appends))
        await database.records.save([record("r", owner="", stream_id=ONE, state=State.IN_PROGRESS, bytes=2)])
    async with sqlite_node(tmp_path) as (relay, _):
        found = await timeline(relay)
    assert (found["state"], found["cause"], found["entries"]) == ("truncated", "node_lost", 3)
    assert [flush["at"] for flush in found["flushes"]] == [5.25, 6.5]
    assert adds_up(found, found["flushes"])


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        (f"{PATH}?after=-2", 400, "after"),
        (f"{PATH}?after=x", 400, "after"),
        (f"{PATH}?after=", 400, "after"),
        (f"{PATH}?after=1e3", 400, "after"),
        (f"{PATH}?after=99", 400, "after"),
        (f"{PATH}?after={2**62}", 400, "after"),
        (f"{PATH}?after={'9' * 400}", 400, "after"),
        (f"{PATH}?limit=0", 400, "limit"),
        (f"{PATH}?limit=-1", 400, "limit"),
        (f"{PATH}?limit=2001", 400, "limit"),
        (f"{PATH}?limit=many", 400, "limit"),
        ("/v1/streams/none/timeline", 404, "stream_id"),
        ("/v1/streams/no%20stream/timeline", 404, "stream_id"),
        (f"/v1/streams/{'x' * 500}/timeline", 404, "stream_id"),
    ],
)
async def test_bad_input_is_refused_by_name(path: str, status: int, param: str) -> None:
    async with manual_node() as (relay, engine):
        async with streaming(relay, engine):
            pass
        reply = await relay.call("GET", path)
        assert reply.status == status
        assert reply.json["error"]["param"] == param
        assert reply.json["error"]["type"] == "invalid_request_error"


async def test_the_offset_of_the_end_has_nothing_behind_it() -> None:
    async with manual_node() as (relay, engine):
        async with streaming(relay, engine):
            pass
        entries = (await timeline(relay))["entries"]
        assert (await timeline(relay, f"?after={entries}"))["flushes"] == []
        assert (await relay.call("GET", f"{PATH}?after={entries + 1}")).status == 400
        assert (await relay.call("POST", PATH)).status == 405
