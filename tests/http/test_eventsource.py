"""The route for EventSource: text in events whose ids say where to go on, and a way back that never starts anew."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.node import InProcess, Reply, node_in_process

from headrace.engines.scripted import ScriptedEngine
from headrace.engines.scripted.script import Script
from headrace.policy.timeouts import Timeouts
from headrace.protocol.sse import SSEDecoder, SSEEvent

ROUTE = "/v1/completions/stream"
SCRIPT = Script(text="one two three")


def events_of(reply: Reply) -> list[SSEEvent]:
    assert reply.status == 200, reply.body
    return SSEDecoder(max_event_bytes=1 << 20).receive_data(reply.body)


def text_of(events: list[SSEEvent]) -> str:
    return "".join(msgspec.json.decode(event.data)["token"] for event in events if event.data.startswith("{"))


async def begun(relay: InProcess, target: str = f"{ROUTE}?prompt=hi", **options: Any) -> Reply:
    return await relay.call("GET", target, **options)


async def test_a_prompt_becomes_events_with_tokens_and_done() -> None:
    async with node_in_process(engine=ScriptedEngine(SCRIPT)) as relay:
        reply = await begun(relay)
        stream_id = reply.headers["headrace-stream-id"]
        assert reply.body.startswith(f"retry: 1000\nid: {stream_id}:-1\n\n".encode())
        *tokens, done = events_of(reply)
        assert text_of(tokens) == "one two three"
        assert [event.id for event in tokens] == [f"{stream_id}:{offset}" for offset in (1, 2, 3)]
        assert (done.data, done.id) == ("[DONE]", f"{stream_id}:5")


async def test_a_post_takes_any_field_of_a_chat_request() -> None:
    async with node_in_process() as relay:
        body = {"prompt": "hi", "max_tokens": 2, "simulate": {"text": "one two three"}, "system": "Be brief."}
        reply = await relay.call("POST", ROUTE, body)
        assert text_of(events_of(reply)) == "one two"


async def test_an_answer_has_256_tokens_at_most_unless_asked_otherwise() -> None:
    async with node_in_process(engine=ScriptedEngine(Script(tokens=300))) as relay:
        assert len(events_of(await begun(relay))) == 256 + 1
        assert len(events_of(await begun(relay, f"{ROUTE}?prompt=hi&max_tokens=7"))) == 7 + 1


async def test_a_reconnect_goes_on_behind_the_last_event_and_starts_nothing() -> None:
    async with node_in_process(engine=ScriptedEngine(SCRIPT)) as relay:
        *_, third, done = events_of(await begun(relay))
        stream_id = done.id.partition(":")[0]
        for place, text in ((f"{stream_id}:-1", "one two three"), (f"{stream_id}:2", " three"), (third.id, "")):
            rest = events_of(await begun(relay, headers={"Last-Event-ID": place}))
            assert (text_of(rest), rest[-1].data) == (text, "[DONE]")
        after = await begun(relay, headers={"Last-Event-ID": done.id})
        assert (after.status, after.body) == (204, b"")
        assert len((await relay.call("GET", "/v1/streams")).json["data"]) == 1


@pytest.mark.parametrize(
    ("last_event_id", "status"),
    [
        ("nonsense", 400),
        ("s:x", 400),
        ("a b:1", 400),
        ("s:-2", 400),
        (":1", 400),
        ("unknown:1", 404),
        ("s:" + "9" * 30, 400),
    ],
)
async def test_a_bad_last_event_id_is_an_error_and_never_a_new_stream(last_event_id: str, status: int) -> None:
    async with node_in_process(engine=ScriptedEngine(SCRIPT)) as relay:
        reply = await begun(relay, headers={"Last-Event-ID": last_event_id})
        assert reply.status == status
        assert reply.json["error"]["message"]
        assert (await relay.call("GET", "/v1/streams")).json["data"] == []


async def test_a_page_that_leaves_finds_its_stream_again_for_a_while() -> None:
    engine = ScriptedEngine(Script(text="one two three", itl_ms=20))
    async with node_in_process(engine=engine) as relay:
        gone = asyncio.Event()
        gone.set()
        left = await begun(relay, gone=gone)
        place = f"{left.headers['headrace-stream-id']}:-1"
        assert text_of(events_of(await begun(relay, headers={"Last-Event-ID": place}))) == "one two three"


async def test_a_page_that_never_comes_back_stops_the_engine_when_linger_ends() -> None:
    engine = ScriptedEngine(Script(tokens=10_000, itl_ms=20))
    async with node_in_process(engine=engine, timeouts=Timeouts(commit_wait_s=5, reconnect_s=0.2)) as relay:
        gone = asyncio.Event()
        gone.set()
        left = await begun(relay, gone=gone)
        assert engine.active() == 1
        async with asyncio.timeout(5):
            while engine.active():  # noqa: ASYNC110 (the sweep says nothing)
                await asyncio.sleep(0.01)
        stream = f"/v1/streams/{left.headers['headrace-stream-id']}"
        await relay.call("GET", f"{stream}/events")  # The engine is told first; the end is committed a tick later.
        shown = await relay.call("GET", stream)
        assert (shown.json["state"], shown.json["cause"]) == ("cancelled", "client_gone")


async def test_an_answer_that_is_not_whole_ends_in_an_error_event_and_no_done() -> None:
    async with node_in_process() as relay:
        body = {"prompt": "hi", "simulate": {"text": "one two", "fault": {"kind": "fin", "at": 1}}}
        *_, last = events_of(await relay.call("POST", ROUTE, body))
        assert last.event == "error"
        assert msgspec.json.decode(last.data)["error"]["cause"] == "upstream_closed"
        place = await relay.call("POST", ROUTE, body, headers={"Last-Event-ID": last.id})
        assert place.status == 204


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "prompt"),
        ("prompt=", "prompt"),
        ("prompt=x&max_tokens=many", "max_tokens"),
        ("prompt=x&temperature=nan", "temperature"),
        ("prompt=x&temperature=inf", "temperature"),
        ("prompt=x&linger=-1", "linger"),
        ("prompt=x&merge=perhaps", "merge"),
        ("prompt=x&api_key=secret", "api_key"),
    ],
)
async def test_a_bad_query_names_the_parameter(query: str, param: str) -> None:
    async with node_in_process() as relay:
        reply = await begun(relay, f"{ROUTE}?{query}")
        assert (reply.status, reply.json["error"]["param"]) == (400, param)
        assert "secret" not in reply.json["error"]["message"]


async def test_an_unknown_model_is_404_and_an_absent_one_the_default() -> None:
    async with node_in_process(engine=ScriptedEngine(SCRIPT)) as relay:
        assert (await begun(relay, f"{ROUTE}?prompt=x&model=none")).status == 404
        assert (await begun(relay, f"{ROUTE}?prompt=x&model=scripted")).status == 200


async def test_a_ticket_starts_one_stream_and_comes_back_to_it() -> None:
    async with node_in_process(engine=ScriptedEngine(SCRIPT)) as relay:
        issued = await relay.call("POST", "/v1/tickets")
        assert (issued.status, issued.headers["cache-control"]) == (201, "no-store")
        target = f"{ROUTE}?prompt=x&ticket={issued.json['ticket']}"
        first = await begun(relay, target)
        place = f"{first.headers['headrace-stream-id']}:1"
        assert text_of(events_of(await begun(relay, target, headers={"Last-Event-ID": place}))) == " two three"
        again = await begun(relay, target)
        assert (again.status, again.json["error"]["code"]) == (401, "ticket_invalid")
        other = (await begun(relay)).headers["headrace-stream-id"]
        assert (await begun(relay, target, headers={"Last-Event-ID": f"{other}:1"})).status == 401
        assert (await begun(relay, f"{ROUTE}?prompt=x&ticket=guess")).status == 401
