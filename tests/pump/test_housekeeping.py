"""Housekeeping: wishes of other processes, leases, retention; a store that fails puts it off."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.node import InProcess, node_in_process
from tests.stores.kit import billed

from headrace.errors import StoreError
from headrace.pump.housekeeping import Housekeeper, Retention
from headrace.stream.store import Store, UsageFilter
from headrace.types.ids import StreamId


class Calls:
    """A store in front of the real one that notes calls, and fails where it is told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.names: list[str] = []
        self.fails = False

    def __getattr__(self, name: str) -> object:
        self.names.append(name)
        if self.fails:
            raise StoreError("no disk")
        return getattr(self._store, name)


def housekeeper(
    relay: InProcess, *, keep_s: float = 3600, retain_usage_s: float = 3600, store: object | None = None
) -> Housekeeper:
    node = relay.node
    return Housekeeper(
        store=store or node.store,  # type: ignore[arg-type]
        records=node.records,
        claims=node.claims,
        cache=node.cache,
        committer=node.supervisor._committer,
        supervisor=node.supervisor,
        node="local",
        lease_s=30,
        retention=Retention(keep_s, 1 << 20, retain_usage_s),
        wall_time=time.time,
    )


async def test_a_wish_left_in_the_store_stops_the_stream_as_operator() -> None:
    async with node_in_process() as relay:
        headers = {"Headrace-Stream-Id": "wanted"}
        asking = asyncio.ensure_future(
            relay.chat(headers=headers, simulate={"text": "one two", "fault": {"kind": "silence", "at": 1}})
        )
        async with asyncio.timeout(5):
            while not await relay.node.store.request_cancel(StreamId("wanted")):  # noqa: ASYNC110 (until it is opened)
                await asyncio.sleep(0.001)
        await housekeeper(relay).round(1)
        reply = await asking
        assert reply.chunks[-1]["error"]["cause"] == "operator"


async def test_what_is_older_than_retention_goes_with_its_record() -> None:
    async with node_in_process() as relay:
        reply = await relay.chat()
        await housekeeper(relay, keep_s=3600).round(0)
        path = f"/v1/streams/{reply.headers['headrace-stream-id']}"
        assert (await relay.call("GET", path)).status == 200
        async with asyncio.timeout(5):
            while len(relay.node.supervisor):  # noqa: ASYNC110 (the sweep forgets it)
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        await housekeeper(relay, keep_s=0).round(0)
        assert (await relay.call("GET", path)).status == 404


async def test_what_requests_cost_is_kept_for_longer_than_their_records() -> None:
    async with node_in_process() as relay:
        records, now = relay.node.records, time.time()
        await records.save([billed("old", now - 200), billed("new", now - 100)])
        await housekeeper(relay, keep_s=50, retain_usage_s=150).round(0)
        assert (await records.newest(owner="ann")).records == []
        (line,) = await records.usage(UsageFilter(since=0, until=now), by=[], limit=9)
        assert line.estimated.requests == 1
        await housekeeper(relay, keep_s=50, retain_usage_s=50).round(0)
        assert await records.usage(UsageFilter(since=0, until=now), by=[], limit=9) == []


async def test_leases_are_renewed_three_times_as_often_as_they_end() -> None:
    async with node_in_process() as relay:
        calls = Calls(relay.node.store)
        keeper = housekeeper(relay, store=calls)
        for number in range(21):
            await keeper.round(number)
        assert calls.names.count("renew") == 3
        assert calls.names.count("trim") == 1


async def test_a_store_that_failed_counts_as_well_only_after_a_real_write() -> None:
    """On a full disk an empty commit works."""
    async with node_in_process() as relay:
        committer = relay.node.supervisor._committer
        calls = Calls(relay.node.store)
        keeper = housekeeper(relay, store=calls)
        committer.is_healthy = False
        calls.fails = True
        with pytest.raises(StoreError):
            await keeper.round(1)
        assert not committer._in_flight
        calls.fails = False
        await keeper.round(2)
        assert "renew" in calls.names
        await committer.settle()
        async with asyncio.timeout(5):
            while not committer.is_healthy:  # noqa: ASYNC110 (a callback of the store)
                await asyncio.sleep(0.001)


async def test_a_store_that_fails_puts_it_off(caplog: pytest.LogCaptureFixture) -> None:
    async with node_in_process() as relay:
        calls = Calls(relay.node.store)
        calls.fails = True
        running = asyncio.ensure_future(housekeeper(relay, store=calls).run())
        async with asyncio.timeout(5):
            while "put off" not in caplog.text:  # noqa: ASYNC110 (a log line)
                await asyncio.sleep(0.001)
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
