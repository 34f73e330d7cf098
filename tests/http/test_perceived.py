"""What clients report of ended streams: kept once, beside the end, and never instead of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.node import InProcess, Reply, node_in_process
from tests.waiting import until

from headrace.errors import ClientRequestError, StoreError
from headrace.http.perceived import MAX_REPORT_BYTES, parse_report
from headrace.policy.timeouts import Timeouts
from headrace.stores.memory import MemoryRecords, MemoryStore
from headrace.stores.sqlite import SqliteDatabase
from headrace.stream.store import Batch
from headrace.types.ids import Offset, StreamId
from headrace.types.record import MAX_PERCEIVED_MS

REPORT = {
    "first_byte_ms": 12.5,
    "first_token_ms": 20,
    "first_visible_ms": 36.25,
    "tpot_ms": 4.75,
    "total_ms": 1500,
    "reconnects": 1,
    "transport": "websocket",
}
PATH = "/v1/streams/one/perceived"
WEEK_MS = 7 * 24 * 3600 * 1000


async def ended(relay: InProcess, stream_id: str = "one") -> Any:
    """Run a stream to its end; returns it as the relay shows it."""
    reply = await relay.chat(headers={"Headrace-Stream-Id": stream_id}, simulate={"text": "one two three"})
    assert reply.status == 200
    return await shown(relay, stream_id)


async def shown(relay: InProcess, stream_id: str = "one") -> Any:
    return (await relay.call("GET", f"/v1/streams/{stream_id}")).json


async def report(relay: InProcess, **changes: Any) -> Reply:
    return await relay.call("POST", PATH, REPORT | changes)


def sample(relay: InProcess, name: str, **labels: str) -> float | None:
    return relay.node.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def sqlite_node(path: Path) -> AsyncIterator[InProcess]:
    async with (
        SqliteDatabase(path / "headrace.db") as database,
        node_in_process(stores=(database.store, database.records)) as relay,
    ):
        yield relay


@asynccontextmanager
async def silent(relay: InProcess, *, linger: str | None = None) -> AsyncIterator[asyncio.Event]:
    """A stream that says two tokens and then nothing; the event makes its client leave."""
    gone = asyncio.Event()
    headers = {"Headrace-Stream-Id": "one"} | ({} if linger is None else {"Headrace-Linger": linger})
    script = {"text": "one two three", "fault": {"kind": "silence", "at": 2}}
    asking = asyncio.ensure_future(relay.chat(headers=headers, simulate=script, gone=gone))
    async with asyncio.timeout(10):
        while (await shown(relay)).get("last_offset") != 2:  # noqa: ASYNC110 (asked as a client would)
            await asyncio.sleep(0.005)
        yield gone
        gone.set()
        await relay.call("POST", "/v1/streams/one/cancel")
        await asking


async def test_a_report_is_shown_beside_everything_else(tmp_path: Path) -> None:
    async with sqlite_node(tmp_path) as relay:
        before = await ended(relay)
        assert before["perceived"] is None
        reply = await report(relay)
        assert (reply.status, reply.body) == (204, b"")
        assert await shown(relay) == before | {"perceived": REPORT}
        assert (await relay.call("GET", "/v1/streams")).json["data"] == [before | {"perceived": REPORT}]
        # The relay forgets ended streams a moment later, and knows them from the store alone.
        await until(lambda: relay.node.supervisor.find(StreamId("one")) is None)
        assert await shown(relay) == before | {"perceived": REPORT}
        assert (await relay.call("GET", "/v1/streams")).json["data"] == [before | {"perceived": REPORT}]


async def test_a_report_outlives_the_process(tmp_path: Path) -> None:
    async with sqlite_node(tmp_path) as relay:
        before = await ended(relay)
        await report(relay)
    async with sqlite_node(tmp_path) as relay:
        assert await shown(relay) == before | {"perceived": REPORT}


async def test_times_that_never_came_are_null_and_may_be_left_out() -> None:
    nothing = dict.fromkeys(("first_byte_ms", "first_token_ms", "first_visible_ms", "tpot_ms", "total_ms"))
    async with node_in_process() as relay:
        await ended(relay)
        assert (await relay.call("POST", PATH, {"transport": "fetch"})).status == 204
        assert (await shown(relay))["perceived"] == {**nothing, "reconnects": 0, "transport": "fetch"}
        assert sample(relay, "headrace_client_duration_seconds_count", transport="fetch") is None


async def test_reports_are_measured_by_transport() -> None:
    async with node_in_process() as relay:
        await ended(relay)
        await report(relay)
        for name, seconds in [
            ("headrace_client_first_visible_token_seconds", 0.03625),
            ("headrace_client_duration_seconds", 1.5),
        ]:
            assert sample(relay, f"{name}_count", transport="websocket") == 1
            assert sample(relay, f"{name}_sum", transport="websocket") == pytest.approx(seconds)


async def test_the_first_report_stays_and_counts_once() -> None:
    async with node_in_process() as relay:
        await ended(relay)
        replies = await asyncio.gather(report(relay), report(relay, total_ms=9), report(relay, transport="fetch"))
        assert [reply.status for reply in replies] == [204] * 3
        assert (await shown(relay))["perceived"] == REPORT
        assert sample(relay, "headrace_client_duration_seconds_count", transport="websocket") == 1
        assert sample(relay, "headrace_client_duration_seconds_count", transport="fetch") is None


async def test_a_running_stream_takes_no_report() -> None:
    async with node_in_process() as relay:
        async with silent(relay):
            reply = await report(relay)
            assert (reply.status, reply.json["error"]["code"]) == (409, "stream_running")
            assert "after its end" in reply.json["error"]["message"]
        assert (await report(relay)).status == 204
        assert (await shown(relay))["cause"] == "client_stop"


@pytest.mark.parametrize("stream_id", ["none", "no.id", "x" * 65])
async def test_an_unknown_stream_takes_no_report(stream_id: str) -> None:
    async with node_in_process() as relay:
        reply = await relay.call("POST", f"/v1/streams/{stream_id}/perceived", REPORT)
        assert (reply.status, reply.json["error"]["code"]) == (404, "stream_not_found")


async def test_an_erased_stream_is_not_brought_back(tmp_path: Path) -> None:
    async with sqlite_node(tmp_path) as relay:
        await ended(relay)
        erased, reply = await asyncio.gather(relay.call("DELETE", "/v1/streams/one"), report(relay))
        assert (erased.status, reply.status) in {(204, 204), (204, 404)}
        assert (await relay.call("GET", "/v1/streams/one")).status == 404
        assert (await relay.call("GET", "/v1/streams")).json["data"] == []
        assert (await report(relay)).status == 404


BAD = [
    ({"first_byte_ms": -1}, "first_byte_ms"),
    ({"first_token_ms": "20"}, "first_token_ms"),
    ({"first_visible_ms": WEEK_MS + 1}, "first_visible_ms"),
    ({"tpot_ms": [1]}, "tpot_ms"),
    ({"total_ms": True}, "total_ms"),
    ({"reconnects": -1}, "reconnects"),
    ({"reconnects": 1_000_001}, "reconnects"),
    ({"reconnects": 1.5}, "reconnects"),
    ({"reconnects": None}, "reconnects"),
    ({"transport": "pigeon"}, "transport"),
    ({"transport": None}, "transport"),
    ({"user": "ann"}, "user"),
    ({"": 1}, None),
    ({"a`b": 1}, "a"),
]


@pytest.mark.parametrize(("changes", "param"), BAD, ids=[str(changes) for changes, _ in BAD])
async def test_a_bad_report_is_refused_by_the_name_of_its_field(changes: dict[str, Any], param: str | None) -> None:
    async with node_in_process() as relay:
        await ended(relay)
        reply = await report(relay, **changes)
        assert (reply.status, reply.json["error"]["param"]) == (400, param)
        assert reply.json["error"]["message"].startswith(param or "the body")
        assert (await shown(relay))["perceived"] is None


def test_a_transport_must_be_named() -> None:
    with pytest.raises(ClientRequestError) as caught:
        parse_report(b'{"total_ms": 1}')
    assert caught.value.param == "transport"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"7", b'"x"', b"\xff", b'{"transport": "\xff"}', b'{"total_ms": NaN}', b"[" * 4000],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ClientRequestError) as caught:
        parse_report(body)
    assert (caught.value.status, caught.value.param) == (400, None)


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"Infinity", b"-0.001", b"1e10"])
def test_numbers_are_finite_and_bounded(number: bytes) -> None:
    with pytest.raises(ClientRequestError):
        parse_report(b'{"transport": "fetch", "total_ms": %s}' % number)


@pytest.mark.parametrize("number", [0, 0.0, WEEK_MS, 1e-9])
def test_the_bounds_are_allowed(number: float) -> None:
    body = msgspec.json.encode({"transport": "eventsource", "total_ms": number, "reconnects": 1_000_000})
    assert parse_report(body).total_ms == number
    assert MAX_PERCEIVED_MS == WEEK_MS


async def test_a_report_has_a_largest_size() -> None:
    body = msgspec.json.encode(REPORT)
    async with node_in_process() as relay:
        await ended(relay)
        reply = await relay.call("POST", PATH, body + b" " * (MAX_REPORT_BYTES + 1 - len(body)))
        assert reply.status == 413
        assert (await relay.call("POST", PATH, body + b" " * (MAX_REPORT_BYTES - len(body)))).status == 204


class UnwellStore(MemoryStore):
    """Takes nothing while it is unwell."""

    def __init__(self) -> None:
        super().__init__(max_bytes=1 << 24)
        self.is_unwell = False

    def commit(self, batch: Batch) -> asyncio.Future[None]:
        if not self.is_unwell:
            return super().commit(batch)
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed.set_exception(StoreError("the disk is full"))
        return failed

    async def renew(self, node: str, *, lease_s: float, now: float) -> None:
        if self.is_unwell:
            raise StoreError("the disk is full")
        await super().renew(node, lease_s=lease_s, now=now)


async def test_a_report_waits_until_the_store_has_the_end_of_a_degraded_stream() -> None:
    store, records = UnwellStore(), MemoryRecords(max_records=100)
    async with node_in_process(stores=(store, records), timeouts=Timeouts(commit_wait_s=5)) as relay:
        store.is_unwell = True
        before = await ended(relay)
        assert before["durability"] == "degraded"
        reply = await report(relay)
        assert (reply.status, reply.json["error"]["code"]) == (503, "store_error")
        assert reply.headers["retry-after"] == "1"
        assert (await shown(relay))["perceived"] is None
        assert sample(relay, "headrace_client_duration_seconds_count", transport="websocket") is None
        store.is_unwell = False
        async with asyncio.timeout(10):
            while relay.node.supervisor.late(StreamId("one")) is not None:  # noqa: ASYNC110 (the store tells nobody)
                await asyncio.sleep(0.02)
        assert (await report(relay)).status == 204
        assert await shown(relay) == before | {"perceived": REPORT}


async def test_a_report_that_the_store_does_not_take_is_not_counted(tmp_path: Path) -> None:
    async with SqliteDatabase(tmp_path / "headrace.db") as database:
        async with node_in_process(stores=(database.store, database.records)) as relay:
            await ended(relay)
            node = relay.node
        await database.store.__aexit__(None, None, None)
        await database.records.__aexit__(None, None, None)
        assert (await InProcess(node).call("POST", PATH, REPORT)).status == 503
        assert sample(relay, "headrace_client_duration_seconds_count", transport="websocket") is None


class Follower:
    """Stands at an offset."""

    def __init__(self, position: int) -> None:
        self.position = Offset(position)

    def wake(self) -> None:
        """Nothing waits."""


async def test_a_running_stream_tells_how_many_follow_it_and_how_far_the_last_is_behind() -> None:
    async with node_in_process() as relay, silent(relay):
        stream = await shown(relay)
        # Its own client has all three entries.
        assert (stream["consumers"], stream["lag"]) == (1, 0)
        pump = relay.node.supervisor.find(StreamId("one"))
        assert pump is not None
        for position in (1, 2):
            pump.log.follow(Follower(position))
        stream = await shown(relay)
        assert (stream["consumers"], stream["lag"]) == (3, 2)
        assert (await relay.call("GET", "/v1/streams")).json["data"] == [stream]
        pump.log.followers.clear()
        stream = await shown(relay)
        assert (stream["consumers"], stream["lag"]) == (0, 0)


async def test_an_ended_stream_has_no_consumers_and_no_lag() -> None:
    async with node_in_process() as relay:
        async with silent(relay):
            pump = relay.node.supervisor.find(StreamId("one"))
            assert pump is not None
            pump.log.follow(Follower(0))
        stream = await shown(relay)
        assert stream["state"] == "cancelled"
        assert (stream["consumers"], stream["lag"]) == (0, 0)
