"""OpenAI's routes in process: what a client gets for each way a stream can go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.node import InProcess, Reply, node_in_process

from headrace.engines.scripted import ScriptedEngine
from headrace.engines.scripted.generation import ScriptedGeneration
from headrace.policy.limits import Limits
from headrace.policy.timeouts import Timeouts
from headrace.types.engine import EngineRequest
from headrace.types.ids import StreamId

QUICK = Timeouts(commit_wait_s=5, first_token_s=0.3, idle_s=0.3)


async def test_a_stream_ends_in_done_and_names_itself() -> None:
    async with node_in_process() as relay:
        reply = await relay.chat(simulate={"text": "one two three"})
        assert reply.status == 200
        assert reply.text == "one two three"
        assert reply.body.endswith(b"data: [DONE]\n\n")
        assert b"\nid:" not in reply.body
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.headers["cache-control"] == "no-store, no-transform"
        assert reply.headers["x-accel-buffering"] == "no"
        assert reply.headers["x-request-id"]
        shown = await relay.call("GET", f"/v1/streams/{reply.headers['headrace-stream-id']}")
        assert shown.json["state"] == "completed"
        assert shown.json["last_offset"] == len(reply.chunks)


async def test_a_blocking_answer_is_the_same_text_with_usage() -> None:
    async with node_in_process() as relay:
        reply = await relay.chat(stream=False, simulate={"text": "one two three"})
        assert reply.status == 200
        assert reply.json["object"] == "chat.completion"
        assert reply.json["choices"][0]["message"]["content"] == "one two three"
        assert reply.json["usage"]["completion_tokens"] == 3
        assert reply.headers["headrace-stream-id"]


@pytest.mark.parametrize(("usage", "source"), [("auto", "engine"), ("never", "counted")])
async def test_usage_is_hidden_unless_asked_for_and_then_always_there(usage: str, source: str) -> None:
    async with node_in_process() as relay:
        script = {"text": "one two three", "usage": usage}
        hidden = await relay.chat(simulate=script)
        assert all(chunk["choices"] for chunk in hidden.chunks)
        asked = await relay.chat(simulate=script, stream_options={"include_usage": True})
        assert asked.chunks[-1]["choices"] == []
        assert asked.chunks[-1]["usage"]["completion_tokens"] == 3
        shown = await relay.call("GET", f"/v1/streams/{asked.headers['headrace-stream-id']}")
        assert shown.json["tokens_source"] == source


async def test_an_early_failure_is_an_http_error_that_sdks_do_not_retry() -> None:
    async with node_in_process() as relay:
        reply = await relay.chat(simulate={"fault": {"kind": "status", "code": 429, "retry_after": 30}})
        assert reply.status == 429
        assert reply.headers["x-should-retry"] == "false"
        assert reply.headers["retry-after"] == "30"
        assert reply.json["error"]["cause"] == "upstream_rejected"


async def test_a_truncated_stream_ends_in_an_error_event_and_no_done() -> None:
    async with node_in_process() as relay:
        reply = await relay.chat(simulate={"text": "one two three", "fault": {"kind": "fin", "at": 2}})
        assert reply.status == 200
        assert b"[DONE]" not in reply.body
        assert reply.chunks[-1]["error"]["code"] == "upstream_closed"
        assert reply.text == "one two"


async def test_a_truncated_blocking_answer_is_502_with_the_partial_text() -> None:
    async with node_in_process() as relay:
        script = {"text": "one two three", "fault": {"kind": "rst", "at": 2}}
        reply = await relay.chat(stream=False, simulate=script)
        assert reply.status == 502
        assert reply.json["error"]["partial_text"] == "one two"
        assert reply.json["error"]["state"] == "truncated"


async def test_silence_before_the_first_token_is_504() -> None:
    async with node_in_process(timeouts=QUICK) as relay:
        reply = await relay.chat(simulate={"fault": {"kind": "silence_before"}})
        assert reply.status == 504
        assert reply.json["error"]["cause"] == "first_token_timeout"


async def test_a_first_token_timeout_just_behind_head_wait_is_still_504() -> None:
    timeouts = Timeouts(commit_wait_s=5, head_wait_s=0.2, first_token_s=0.3)
    async with node_in_process(timeouts=timeouts) as relay:
        assert (await relay.chat(simulate={"fault": {"kind": "silence_before"}})).status == 504


async def test_a_head_does_not_wait_longer_than_head_wait_and_pings_follow() -> None:
    timeouts = Timeouts(commit_wait_s=5, head_wait_s=0.1, heartbeat_s=0.2, first_token_s=0.9)
    async with node_in_process(timeouts=timeouts) as relay:
        reply = await relay.chat(simulate={"fault": {"kind": "silence_before"}})
        assert reply.status == 200
        assert reply.body.startswith(b": ping\n\n")
        assert b'"first_token_timeout"' in reply.body


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_engine(stream: bool) -> None:
    engine = ScriptedEngine(models=["scripted"])
    async with node_in_process(engine=engine) as relay:
        gone = asyncio.Event()
        asking = asyncio.ensure_future(
            relay.chat(
                gone=gone,
                stream=stream,
                headers={"Headrace-Stream-Id": "left"},
                simulate={"fault": {"kind": "silence", "at": 1}},
            )
        )
        while relay.node.supervisor.find(StreamId("left")) is None:  # noqa: ASYNC110 (no event says so)
            await asyncio.sleep(0.001)
        gone.set()
        await asking
        assert engine.active() == 0
        shown = await relay.call("GET", "/v1/streams/left")
        assert (shown.json["state"], shown.json["cause"]) == ("cancelled", "client_gone")


async def test_a_lingering_stream_goes_on_and_can_be_resumed() -> None:
    async with node_in_process() as relay:
        gone = asyncio.Event()
        gone.set()
        headers = {"Headrace-Stream-Id": "linger", "Headrace-Linger": "5"}
        await relay.chat(gone=gone, headers=headers, simulate={"text": "one two three", "itl_ms": 5})
        followed = await relay.call("GET", "/v1/streams/linger/events")
        assert followed.text == "one two three"
        assert b"event: end" in followed.body


@pytest.mark.parametrize(
    ("headers", "fields", "status", "param"),
    [
        ({"Headrace-Stream-Id": "no spaces"}, {}, 400, "Headrace-Stream-Id"),
        ({"Headrace-Stream-Id": "x" * 65}, {}, 400, "Headrace-Stream-Id"),
        ({"Headrace-Linger": "soon"}, {}, 400, "Headrace-Linger"),
        ({"Headrace-Linger": "-1"}, {}, 400, "Headrace-Linger"),
        ({"Headrace-Linger": "nan"}, {}, 400, "Headrace-Linger"),
        ({}, {"model": "other"}, 404, "model"),
        ({}, {"n": 99}, 400, "n"),
        ({}, {"messages": []}, 400, "messages"),
        ({}, {"messages": "x" * (1 << 20)}, 413, None),
    ],
)
async def test_a_bad_request_names_its_field_and_makes_no_stream(
    headers: dict[str, str], fields: dict[str, Any], status: int, param: str | None
) -> None:
    async with node_in_process() as relay:
        reply = await relay.chat(headers=headers, **fields)
        assert reply.status == status
        assert reply.json["error"]["param"] == param
        assert "headrace-stream-id" not in reply.headers
        assert (await relay.call("GET", "/v1/streams")).json["data"] == []


async def test_a_taken_stream_id_is_409_while_it_runs_and_after() -> None:
    async with node_in_process() as relay:
        headers = {"Headrace-Stream-Id": "mine"}
        assert (await relay.chat(headers=headers)).status == 200
        assert (await relay.chat(headers=headers)).status == 409


async def test_linger_true_means_the_server_s_own_time() -> None:
    async with node_in_process(timeouts=Timeouts(commit_wait_s=5, linger_s=0.2)) as relay:
        gone = asyncio.Event()
        gone.set()
        headers = {"Headrace-Stream-Id": "linger", "Headrace-Linger": "true"}
        await relay.chat(gone=gone, headers=headers, simulate={"fault": {"kind": "silence", "at": 1}})
        followed = asyncio.ensure_future(relay.call("GET", "/v1/streams/linger"))
        assert (await followed).json["state"] in ("queued", "in_progress")
        await asyncio.sleep(0.5)
        assert (await relay.call("GET", "/v1/streams/linger")).json["cause"] == "client_gone"


async def test_too_many_streams_are_503_with_retry_after() -> None:
    async with node_in_process(limits=Limits(max_streams=1)) as relay:
        first = asyncio.ensure_future(relay.chat(simulate={"itl_ms": 20, "tokens": 10}))
        await asyncio.sleep(0.02)
        reply = await relay.chat()
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"
        assert (await first).status == 200


async def test_forwarded_headers_are_those_on_the_list() -> None:
    seen: list[EngineRequest] = []

    class Spy(ScriptedEngine):
        def start(self, request: EngineRequest, on_ready: Callable[[], None]) -> ScriptedGeneration:
            seen.append(request)
            return super().start(request, on_ready)

    async with node_in_process(engine=Spy(models=["scripted"])) as relay:
        await relay.chat(
            headers={"traceparent": "00-1", "authorization": "Bearer secret", "x-other": "1"}, tools=[{"a": 1}]
        )
    (request,) = seen
    body = msgspec.json.decode(request.body)
    assert request.headers == (("traceparent", "00-1"),)
    assert body["tools"] == [{"a": 1}]
    assert body["stream_options"] == {"include_usage": True}


LINES = {"accept": "application/x-ndjson"}


def lines_of(body: bytes) -> list[Any]:
    return [msgspec.json.decode(line) for line in body.splitlines() if line]


@pytest.mark.parametrize(
    ("path", "headers", "fields"),
    [
        ("/v1/chat/completions", LINES, {}),
        ("/v1/chat/completions", LINES, {"stream": True}),
        ("/api/v1/chat/stream", {}, {}),
        ("/api/v1/chat/stream", {"accept": "application/json"}, {"stream": False}),
    ],
)
async def test_chat_comes_as_lines_where_they_are_asked_for(
    path: str, headers: dict[str, str], fields: dict[str, Any]
) -> None:
    async with node_in_process() as relay:
        body = {"messages": [{"role": "user", "content": "hi"}], "simulate": {"text": "one two"}, **fields}
        reply = await relay.call("POST", path, body, headers=headers)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/x-ndjson")
        *chunks, end = lines_of(reply.body)
        assert [chunk["object"] for chunk in chunks] == ["chat.completion.chunk"] * 4
        assert end["offset"] == len(chunks)
        assert end["end"]["state"] == "completed"
        stream_id = reply.headers["headrace-stream-id"]
        followed = await relay.call("GET", f"/v1/streams/{stream_id}/events", headers=LINES)
        assert [entry.get("chunk") for entry in lines_of(followed.body)[:-1]] == chunks


async def test_a_whole_object_that_is_asked_for_in_so_many_words_is_no_lines() -> None:
    async with node_in_process() as relay:
        reply = await relay.chat(stream=False, headers=LINES)
        assert reply.json["object"] == "chat.completion"


async def test_lines_of_a_cut_answer_end_with_how_it_ended() -> None:
    async with node_in_process() as relay:
        reply = await relay.chat(headers=LINES, simulate={"text": "one two", "fault": {"kind": "fin", "at": 1}})
        *_, end = lines_of(reply.body)
        assert (end["end"]["state"], end["end"]["cause"]) == ("truncated", "upstream_closed")


async def completion(relay: InProcess, *, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    return await relay.call("POST", "/v1/completions", {"prompt": "hi", **fields}, headers=headers)


async def test_plain_completions_stream_their_own_chunks_and_block_as_one_object() -> None:
    async with node_in_process() as relay:
        script = {"text": "one two three"}
        streamed = await completion(relay, stream=True, simulate=script)
        assert [chunk["object"] for chunk in streamed.chunks] == ["text_completion"] * 4
        assert "".join(chunk["choices"][0]["text"] for chunk in streamed.chunks) == "one two three"
        assert streamed.body.endswith(b"data: [DONE]\n\n")
        shown = await relay.call("GET", f"/v1/streams/{streamed.headers['headrace-stream-id']}")
        assert (shown.json["state"], shown.json["usage"]["completion_tokens"]) == ("completed", 3)
        blocked = (await completion(relay, simulate=script)).json
        assert blocked["object"] == "text_completion"
        assert blocked["choices"] == [{"index": 0, "text": "one two three", "logprobs": None, "finish_reason": "stop"}]
        assert blocked["usage"]["completion_tokens"] == 3


async def test_a_cut_plain_completion_has_its_text_in_the_error() -> None:
    async with node_in_process() as relay:
        reply = await completion(relay, simulate={"text": "one two", "fault": {"kind": "fin", "at": 1}})
        assert (reply.status, reply.json["error"]["partial_text"]) == (502, "one")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a"] * 9, "n": 2}, "prompt"),
        ({"n": 0}, "n"),
    ],
)
async def test_a_bad_plain_completion_names_the_field(fields: dict[str, Any], param: str) -> None:
    async with node_in_process() as relay:
        reply = await completion(relay, **fields)
        assert (reply.status, reply.json["error"]["param"]) == (400, param)


@pytest.mark.parametrize("route", ["?merge=true&coalesce_tokens=50", ""])
async def test_merged_and_gathered_chunks_are_fewer_and_the_same_text(route: str) -> None:
    async with node_in_process() as relay:
        headers = {} if route else {"Headrace-Merge": "true", "Headrace-Coalesce-Tokens": "50"}
        body = {
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "simulate": {"text": "one two three four five", "itl_ms": 2},
        }
        reply = await relay.call("POST", f"/v1/chat/completions{route}", body, headers=headers)
        assert reply.text == "one two three four five"
        assert len(reply.chunks) < 6
        metrics = (await relay.call("GET", "/metrics")).body.decode()
        assert 'headrace_saved_bytes_total{by="merge"} 0.0' not in metrics
        assert "headrace_delivered_entries_total 7.0" in metrics


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"Headrace-Merge": "yes"}, "Headrace-Merge"),
        ({"Headrace-Coalesce-Tokens": "0"}, "Headrace-Coalesce-Tokens"),
        ({"Headrace-Coalesce-Tokens": "1001"}, "Headrace-Coalesce-Tokens"),
    ],
)
async def test_bad_delivery_options_name_themselves(headers: dict[str, str], param: str) -> None:
    async with node_in_process() as relay:
        reply = await relay.chat(headers=headers)
        assert (reply.status, reply.json["error"]["param"]) == (400, param)
