"""The stream routes in process: look, follow from any offset, stop, erase, and how bad input is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.node import InProcess, node_in_process

HEADERS = {"Headrace-Stream-Id": "one"}
NDJSON = {"Accept": "application/x-ndjson"}


def lines(body: bytes) -> list[Any]:
    return [msgspec.json.decode(line) for line in body.split(b"\n") if line]


async def ended(relay: InProcess) -> int:
    """Run a stream to its end; returns the offset of its end entry."""
    reply = await relay.chat(headers=HEADERS, simulate={"text": "one two three"})
    return len(reply.chunks)


async def running(relay: InProcess) -> asyncio.Future[Any]:
    """Start a stream that is silent after two tokens."""
    script = {"text": "one two three", "fault": {"kind": "silence", "at": 2}}
    asking = asyncio.ensure_future(relay.chat(headers=HEADERS, simulate=script))
    async with asyncio.timeout(5):
        while (await relay.call("GET", "/v1/streams/one")).json.get("last_offset") != 2:  # noqa: ASYNC110 (asked as a client would)
            await asyncio.sleep(0.001)
    return asking


async def test_entry_k_is_event_k_of_the_chat_route_from_every_offset() -> None:
    async with node_in_process() as relay:
        chunks = (await relay.chat(headers=HEADERS, simulate={"text": "one two three"})).chunks
        for after in range(-1, len(chunks) + 1):
            reply = await relay.call("GET", f"/v1/streams/one/events?after={after}", headers=NDJSON)
            assert reply.headers["content-type"] == "application/x-ndjson"
            *entries, end = lines(reply.body)
            assert [entry["chunk"] for entry in entries] == chunks[after + 1 :]
            assert [entry["offset"] for entry in entries] == list(range(after + 1, len(chunks)))
            assert end["offset"] == len(chunks)
            assert end["end"]["state"] == "completed"
            assert end["end"]["usage"]["completion_tokens"] == 3


async def test_events_as_sse_carry_ids_and_last_event_id_resumes() -> None:
    async with node_in_process() as relay:
        last = await ended(relay)
        whole = await relay.call("GET", "/v1/streams/one/events")
        resumed = await relay.call("GET", "/v1/streams/one/events", headers={"Last-Event-ID": "1"})
        assert whole.body.startswith(b"id: 0\ndata: {")
        assert whole.body.endswith(resumed.body)
        assert resumed.body.startswith(b"id: 2\n")
        assert b"id: %d\nevent: end\n" % last in resumed.body


async def test_a_follower_of_a_running_stream_gets_what_is_there_and_then_the_rest() -> None:
    async with node_in_process() as relay:
        asking = await running(relay)
        following = asyncio.ensure_future(relay.call("GET", "/v1/streams/one/events?after=0", headers=NDJSON))
        await asyncio.sleep(0.01)
        assert not following.done()
        cancelled = await relay.call("POST", "/v1/streams/one/cancel")
        assert (cancelled.json["state"], cancelled.json["cause"]) == ("cancelled", "client_stop")
        *entries, end = lines((await following).body)
        assert [entry["offset"] for entry in entries] == [1, 2]
        assert end["end"]["cause"] == "client_stop"
        reply = await asking
        assert reply.chunks[-1]["error"]["cause"] == "client_stop"


async def test_cancelling_an_ended_stream_changes_nothing() -> None:
    async with node_in_process() as relay:
        await ended(relay)
        before = await relay.call("GET", "/v1/streams/one")
        reply = await relay.call("POST", "/v1/streams/one/cancel")
        assert (reply.status, reply.json) == (200, before.json)


@pytest.mark.parametrize("is_running", [True, False])
async def test_an_erased_stream_is_gone_everywhere(is_running: bool) -> None:
    async with node_in_process() as relay:
        asking = await running(relay) if is_running else None
        if asking is None:
            await ended(relay)
        assert (await relay.call("DELETE", "/v1/streams/one")).status == 204
        for method, target in [
            ("GET", "/v1/streams/one"),
            ("GET", "/v1/streams/one/events"),
            ("POST", "/v1/streams/one/cancel"),
            ("DELETE", "/v1/streams/one"),
        ]:
            reply = await relay.call(method, target)
            assert (reply.status, reply.json["error"]["code"]) == (404, "stream_not_found")
        assert (await relay.call("GET", "/v1/streams")).json["data"] == []
        if asking is not None:
            assert (await asking).chunks[-1]["error"]["cause"] == "client_stop"


async def test_the_list_is_newest_first_and_filtered_by_state() -> None:
    async with node_in_process() as relay:
        for name, script in [("a", {}), ("b", {"text": "x", "fault": {"kind": "clean_end", "at": 1}}), ("c", {})]:
            await relay.chat(headers={"Headrace-Stream-Id": name}, simulate=script)
        everything = (await relay.call("GET", "/v1/streams?limit=2")).json
        assert [stream["id"] for stream in everything["data"]] == ["c", "b"]
        assert everything["has_more"] is True
        truncated = (await relay.call("GET", "/v1/streams?state=truncated")).json
        assert [stream["id"] for stream in truncated["data"]] == ["b"]


@pytest.mark.parametrize(
    ("target", "status", "param"),
    [
        ("/v1/streams/one/events?after=99", 400, "after"),
        ("/v1/streams/one/events?after=-2", 400, "after"),
        ("/v1/streams/one/events?after=x", 400, "after"),
        ("/v1/streams/one/events?after=", 400, "after"),
        ("/v1/streams/one/events?after=" + "9" * 400, 400, "after"),
        ("/v1/streams/one/events?after=\u0663", 400, None),
        ("/v1/streams/none", 404, "stream_id"),
        ("/v1/streams/none/events", 404, "stream_id"),
        ("/v1/streams/" + "x" * 500, 404, "stream_id"),
        ("/v1/streams?state=odd", 400, "state"),
        ("/v1/streams?limit=0", 400, "limit"),
        ("/v1/streams?limit=101", 400, "limit"),
        ("/v1/streams?" + "a=1&" * 100, 400, None),
    ],
)
async def test_bad_input_is_refused_by_name(target: str, status: int, param: str | None) -> None:
    async with node_in_process() as relay:
        await ended(relay)
        reply = await relay.call("GET", target)
        assert reply.status == status
        assert reply.json["error"]["param"] == param
        assert reply.json["error"]["type"] == "invalid_request_error"
