"""The stock ``openai`` SDK for Python, unmodified, on what it can do with chat completions."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.processes import Relay, Simulator
from tests.system.sdk import MESSAGES, Seen, blocked, client_of, streamed
from tests.system.wire import chat, wait_for

WORDS = ["Grüße", " aus", " 水車", " ha", " ha", "."]
TEXT = "".join(WORDS)
PLAIN = {"deltas": WORDS, "itl_ms": 5}
TOOLS = {
    "text": "Let me look.",
    "tool_calls": [
        {"name": "get_weather", "arguments": '{"city": "Zürich", "unit": "°C"}', "id": "call_weather"},
        {"name": "get_time", "arguments": "{}", "id": "call_time", "fragment_chars": 1},
    ],
}
CALLS = [(call["id"], call["name"], call["arguments"]) for call in TOOLS["tool_calls"] if isinstance(call, dict)]
USAGE = {"prompt_tokens": 2, "completion_tokens": len(WORDS), "total_tokens": 2 + len(WORDS)}


def usages(seen: Seen) -> list[Any]:
    return [chunk.usage for chunk in seen.chunks if chunk.usage is not None]


def test_a_stream_has_the_engines_text_and_identity(relay: Relay) -> None:
    seen = streamed(relay.url, simulate=PLAIN)
    assert (seen.text, seen.finish_reason, seen.error) == (TEXT, "stop", None)
    assert seen.chunks[0].choices[0].delta.role == "assistant"
    assert {chunk.object for chunk in seen.chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in seen.chunks} == {"sim"}
    assert {chunk.system_fingerprint for chunk in seen.chunks} == {"fp_scripted"}
    assert len({chunk.id for chunk in seen.chunks}) == 1


def test_a_blocking_answer_has_the_same(relay: Relay) -> None:
    seen = blocked(relay.url, simulate=PLAIN)
    completion = seen.completion
    assert (seen.text, seen.finish_reason, completion.object) == (TEXT, "stop", "chat.completion")
    assert completion.choices[0].message.role == "assistant"
    assert completion.id.startswith("chatcmpl-")
    assert completion.usage.model_dump(include=USAGE.keys()) == USAGE


def test_usage_that_was_not_asked_for_is_hidden(relay: Relay) -> None:
    for usage in ("auto", "always"):
        seen = streamed(relay.url, simulate={**PLAIN, "usage": usage})
        assert usages(seen) == []
        assert all(chunk.choices for chunk in seen.chunks)
        assert relay.stream(seen.stream_id)["usage"] == USAGE


def test_usage_that_was_asked_for_comes_last_and_once(relay: Relay) -> None:
    seen = streamed(relay.url, simulate=PLAIN, stream_options={"include_usage": True})
    assert [usage.model_dump(include=USAGE.keys()) for usage in usages(seen)] == [USAGE]
    assert (seen.chunks[-1].choices, seen.chunks[-1].usage) == ([], usages(seen)[0])
    assert seen.text == TEXT


def test_usage_of_an_engine_that_counts_nothing_is_our_count(relay: Relay) -> None:
    simulate = {**PLAIN, "usage": "never"}
    seen = streamed(relay.url, simulate=simulate, stream_options={"include_usage": True})
    assert [usage.completion_tokens for usage in usages(seen)] == [len(WORDS)]
    assert (seen.chunks[-1].choices, seen.chunks[-1].id) == ([], seen.chunks[0].id)
    assert relay.stream(seen.stream_id)["tokens_source"] == "counted"
    assert blocked(relay.url, simulate=simulate).completion.usage.completion_tokens == len(WORDS)


def test_tool_calls_stream_in_frames(relay: Relay) -> None:
    seen = streamed(relay.url, simulate=TOOLS)
    frames = [call for chunk in seen.chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    calls: dict[int, list[str]] = {}
    for frame in frames:
        assert frame.function is not None
        if frame.id is not None:
            calls[frame.index] = [frame.id, frame.function.name or "", ""]
        calls[frame.index][2] += frame.function.arguments or ""
    assert [tuple(call) for call in calls.values()] == CALLS
    assert len(frames) > len(CALLS)
    assert (seen.text, seen.finish_reason) == (TOOLS["text"], "tool_calls")
    assert relay.stream(seen.stream_id)["cause"] == "tool_calls"


def test_tool_calls_of_a_blocking_answer_are_whole(relay: Relay) -> None:
    seen = blocked(relay.url, simulate=TOOLS)
    message = seen.completion.choices[0].message
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] == CALLS
    assert (message.content, seen.finish_reason) == (TOOLS["text"], "tool_calls")


def test_the_stream_helper_of_the_sdk_assembles_tools(relay: Relay) -> None:
    tools: Any = [{"type": "function", "function": {"name": call[1], "parameters": {}}} for call in CALLS]
    with (
        client_of(relay.url) as client,
        client.chat.completions.stream(
            model="sim", messages=MESSAGES, tools=tools, extra_body={"simulate": TOOLS}
        ) as stream,
    ):
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] == CALLS


def test_several_choices(relay: Relay) -> None:
    fields: dict[str, Any] = {"simulate": {"tokens": 8}, "n": 2, "seed": 3}
    seen, whole = streamed(relay.url, **fields), blocked(relay.url, **fields)
    texts = ["", ""]
    for chunk in seen.chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts[0] != texts[1]
    assert [choice.message.content for choice in whole.completion.choices] == texts
    assert [choice.finish_reason for choice in whole.completion.choices] == ["stop", "stop"]


def test_log_probabilities(relay: Relay) -> None:
    fields: dict[str, Any] = {"simulate": PLAIN, "logprobs": True}
    seen, whole = streamed(relay.url, **fields), blocked(relay.url, **fields)
    tokens = [
        item.token
        for chunk in seen.chunks
        for choice in chunk.choices
        if choice.logprobs is not None
        for item in choice.logprobs.content or []
    ]
    assert tokens == WORDS
    assert [item.token for item in whole.completion.choices[0].logprobs.content] == WORDS


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_survives(relay: Relay, field: str) -> None:
    simulate = {**PLAIN, "reasoning": "First I think.", "reasoning_field": field}
    seen, whole = streamed(relay.url, simulate=simulate), blocked(relay.url, simulate=simulate)
    deltas = [choice.delta.model_extra or {} for chunk in seen.chunks for choice in chunk.choices]
    assert "".join(delta.get(field) or "" for delta in deltas) == "First I think."
    assert whole.completion.choices[0].message.model_extra[field] == "First I think."
    assert (seen.text, whole.text) == (TEXT, TEXT)


def test_length_is_a_whole_answer(relay: Relay) -> None:
    seen = streamed(relay.url, simulate=PLAIN, max_tokens=2)
    assert (seen.text, seen.finish_reason, seen.error) == ("".join(WORDS[:2]), "length", None)
    assert relay.stream(seen.stream_id)["cause"] == "length"


def test_models_are_listed(relay: Relay) -> None:
    with client_of(relay.url) as client:
        assert [model.id for model in client.models.list()] == ["sim"]


def test_a_cut_stream_raises_and_is_not_asked_again(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    simulate = {**PLAIN, "fault": {"kind": "fin", "at": 3}}
    seen, whole = streamed(relay.url, simulate=simulate), blocked(relay.url, simulate=simulate)
    assert (seen.error, seen.body["state"], seen.text) == ("APIError", "truncated", "".join(WORDS[:3]))
    assert (whole.error, whole.body["partial_text"]) == ("InternalServerError", "".join(WORDS[:3]))
    assert len(simulator.requests()) == 2


def test_a_failed_stream_raises_and_is_not_asked_again(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    simulate = {"fault": {"kind": "status", "code": 503}}
    for call in (streamed, blocked):
        seen = call(relay.url, simulate=simulate)
        assert (seen.error, seen.status, seen.body["state"]) == ("InternalServerError", 502, "failed")
    # The relay tries each three times, and the SDK but once.
    assert len(simulator.requests()) == 2 * 3


def test_the_engines_rate_limit_arrives_with_its_retry_after(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    simulate = {"fault": {"kind": "status", "code": 429, "retry_after": 30}}
    for call in (streamed, blocked):
        seen = call(relay.url, simulate=simulate)
        assert (seen.error, seen.status, seen.headers["retry-after"]) == ("RateLimitError", 429, "30")
    assert len(simulator.requests()) == 2


def test_an_unknown_model_is_named_and_never_reaches_the_engine(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    seen = streamed(relay.url, model="other")
    assert (seen.error, seen.body["code"], seen.body["param"]) == ("NotFoundError", "model_not_found", "model")
    assert "sim" in seen.message
    assert simulator.requests() == []


def test_the_clients_key_is_ignored_and_not_forwarded(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    streamed(relay.url, simulate=PLAIN)
    assert ["authorization" in request["headers"] for request in simulator.requests()] == [False]


def test_leaving_a_stream_stops_the_engine(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    simulate: dict[str, Any] = {"tokens": 10_000, "itl_ms": 5}
    with client_of(relay.url) as client:
        stream = client.chat.completions.create(
            model="sim", messages=MESSAGES, stream=True, extra_body={"simulate": simulate}
        )
        next(iter(stream))
        stream.close()
    stream_id = stream.response.headers["headrace-stream-id"]
    view = wait_for(lambda: (v := relay.stream(stream_id))["ended_at"] and v, what="the end")
    assert (view["state"], view["cause"]) == ("cancelled", "client_gone")
    record = wait_for(lambda: (r := simulator.requests()[0])["outcome"] and r, what="the engine's end")
    assert record["outcome"] == "client_closed"


async def test_concurrent_streams_do_not_mix(relay: Relay) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        words = [f" {number}.{word}" for word in range(20)]
        extra = {"simulate": {"deltas": words, "itl_ms": 10}}
        stream = await client.chat.completions.create(model="sim", messages=MESSAGES, stream=True, extra_body=extra)
        parts = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
        assert "".join(parts) == "".join(words)
        return stream.response.headers["headrace-stream-id"]

    async with openai.AsyncOpenAI(base_url=relay.url, api_key="none") as client:
        stream_ids = await asyncio.gather(*(one(client, number) for number in range(40)))
    assert len(set(stream_ids)) == 40


@pytest.fixture(scope="module")
def full_relay(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay with room for one stream."""
    environ = {"HEADRACE_LIMITS__MAX_STREAMS": "1"}
    with Relay(simulator.url, tmp_path_factory.mktemp("full") / "streams.db", environ=environ) as relay:
        yield relay


def test_what_was_refused_before_a_stream_is_asked_again(full_relay: Relay) -> None:
    with chat(full_relay.port, simulate={"tokens": 12, "itl_ms": 50}) as first:
        first.read_until(b'"content":"')
        seen = streamed(full_relay.url, simulate=PLAIN)
        first.read()
    assert (seen.text, seen.error) == (TEXT, None)
    assert full_relay.metric("headrace_requests_rejected_total") >= 1
    assert full_relay.metric("headrace_streams_total") == 2


def test_unknown_fields_reach_the_engine_and_come_back(relay: Relay) -> None:
    # The script itself is a field that no OpenAI contract knows; what it adds to chunks is known to nobody either.
    mark = secrets.randbelow(1000) + 1
    seen = streamed(relay.url, simulate={**PLAIN, "pad_bytes": mark})
    assert {json.loads(chunk.model_dump_json())["padding"] for chunk in seen.chunks} == {"x" * mark}
