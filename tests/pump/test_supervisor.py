"""The supervisor: which streams run, and how all of them end with the node."""

from __future__ import annotations

import asyncio
import time

from tests.node import node_in_process

from headrace.stores.memory import MemoryRecords, MemoryStore
from headrace.types.ids import StreamId

SILENT = {"text": "one two", "fault": {"kind": "silence", "at": 1}}


async def test_leaving_a_node_ends_what_runs_as_shutdown_and_commits_it() -> None:
    store, records = MemoryStore(max_bytes=1 << 20), MemoryRecords(max_records=10)
    async with node_in_process(stores=(store, records)) as relay:
        asking = asyncio.ensure_future(relay.chat(headers={"Headrace-Stream-Id": "one"}, simulate=SILENT))
        async with asyncio.timeout(5):
            while not (pump := relay.node.supervisor.find(StreamId("one"))) or not pump.log.has_published_content:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    reply = await asking
    assert reply.chunks[-1]["error"]["cause"] == "shutdown"
    (record,) = await records.of_stream(StreamId("one"))
    assert (record.state, record.cause) == ("truncated", "shutdown")
    found = await store.find(StreamId("one"))
    assert found is not None
    assert found.end is not None
    assert found.end.cause == "shutdown"


async def test_draining_waits_for_what_runs_and_no_longer_than_it_may() -> None:
    async with node_in_process() as relay:
        short = asyncio.ensure_future(relay.chat(simulate={"tokens": 3, "itl_ms": 20}))
        await asyncio.sleep(0.01)
        await relay.node.supervisor.drain(timeout_s=5)
        assert (await short).body.endswith(b"data: [DONE]\n\n")
    async with node_in_process() as relay:
        asking = asyncio.ensure_future(relay.chat(simulate=SILENT))
        await asyncio.sleep(0.01)
        began_s = time.monotonic()
        await relay.node.supervisor.drain(timeout_s=0.2)
        assert time.monotonic() - began_s < 4
        assert len(list(relay.node.supervisor.running())) == 1
    await asking


async def test_an_ended_stream_is_forgotten_once_nobody_follows_it() -> None:
    async with node_in_process() as relay:
        await relay.chat(headers={"Headrace-Stream-Id": "one"})
        async with asyncio.timeout(5):
            while relay.node.supervisor.find(StreamId("one")) is not None:  # noqa: ASYNC110 (the sweep forgets it)
                await asyncio.sleep(0.01)
        # The lobby, which is always there.
        assert len(relay.node.sweep) == 1
        assert (await relay.call("GET", "/v1/streams/one/events")).status == 200
