"""The fake against itself, and against the official SDK: what one half says, the other half and a stock client see."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai
import pytest

from headrace.engines.scripted import ScriptedEngine, SimulatorServer
from headrace.types.engine import EngineRequest

Ask = Callable[..., Awaitable[Any]]
Body = Callable[..., bytes]
MESSAGES: Any = [{"role": "user", "content": "one two"}]
TOOL = {"name": "weather", "arguments": '{"city": "Genoa"}'}


def comparable(data: bytes) -> dict[str, Any]:
    """Return a chunk without the second it was made in."""
    return {**json.loads(data), "created": 0}


@pytest.mark.parametrize(
    "script",
    [
        {},
        {"text": "né 🌊\nok", "reasoning": "hm hm", "n": 3, "logprobs": True},
        {"tool_calls": [TOOL], "usage": "always"},
        {"tokens": 30, "itl_ms": 0.5, "jitter_ms": 3, "pad_bytes": 20},
        {"tokens": 4, "fault": {"kind": "rst", "at": 2}},
        {"tokens": 4, "fault": {"kind": "error_event", "at": 2}},
        {"tokens": 4, "fault": {"kind": "burst", "events": 10}},
        {"tokens": 4, "fault": {"kind": "split_utf8"}},
        {"tokens": 4, "fault": {"kind": "huge_event", "bytes": 1000, "at": 1}},
    ],
    ids=str,
)
async def test_engine_and_server_send_the_same_chunks(ask: Ask, body_of: Body, script: dict[str, Any]) -> None:
    response = await ask(script)
    over_http = [comparable(data) for data in response_data(response) if data != b"[DONE]"]
    async with ScriptedEngine(manual=True) as engine:
        in_process: list[dict[str, Any]] = []
        generation = engine.start(EngineRequest(body=body_of(script)), lambda: None)
        engine.advance(60)
        while generation.end is None:
            chunks = generation.read()
            in_process += map(comparable, chunks.lines() if chunks else ())
    assert in_process == over_http


CONTINUED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "assistant": ({}, {}),
    "prefix": ({"prefix": True}, {}),
    "continue_final_message": ({}, {"continue_final_message": True, "add_generation_prompt": False}),
}


@pytest.mark.parametrize("continues", CONTINUED)
@pytest.mark.parametrize("fault", [None, {"kind": "rst", "at": 1}], ids=str)
async def test_engine_and_server_go_on_alike(ask: Ask, body_of: Body, continues: str, fault: Any) -> None:
    of_message, of_request = CONTINUED[continues]
    script = {"deltas": ["né", " \n\n ", "🌊 ", "ok", "!"], "continues": continues, "usage": "always", "fault": fault}
    partial = {"role": "assistant", "content": "né \n", **of_message}
    asked = {"messages": [*MESSAGES, partial], **of_request}
    response = await ask(script, **asked)
    over_http = [comparable(data) for data in response_data(response) if data != b"[DONE]"]
    async with ScriptedEngine(manual=True) as engine:
        chunks = engine.start(EngineRequest(body=body_of(script, **asked)), lambda: None).read()
    assert chunks is not None
    assert list(map(comparable, chunks.lines())) == over_http
    assert "né" + response.text == ("né \n\n 🌊 ok!" if fault is None else "né \n\n ")


def response_data(response: Any) -> list[bytes]:
    data: list[bytes] = response.data
    return data


@pytest.fixture
async def client(simulator: SimulatorServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=simulator.url, api_key="sk-test", max_retries=0) as client:
        yield client


async def test_the_sdk_streams_text_and_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="scripted",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"simulate": {"text": "Hello 🌊 there", "itl_ms": 1}},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello 🌊 there"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (2, 3)


async def test_the_sdk_joins_tool_calls(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="scripted", messages=MESSAGES, extra_body={"simulate": {"tool_calls": [TOOL, TOOL]}}
    ) as stream:
        completion = await stream.get_final_completion()
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("weather", {"city": "Genoa"})
    ] * 2
    assert len({call.id for call in calls}) == 2
    assert completion.choices[0].finish_reason == "tool_calls"


async def test_the_sdk_takes_a_blocking_answer(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(
        model="scripted",
        messages=MESSAGES,
        n=2,
        logprobs=True,
        max_tokens=4,
        extra_body={"simulate": {"tokens": 9}},
    )
    assert [choice.finish_reason for choice in completion.choices] == ["length", "length"]
    assert completion.choices[0].logprobs is not None
    tokens = completion.choices[0].logprobs.content or []
    assert "".join(token.token for token in tokens) == completion.choices[0].message.content
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 8


async def test_the_sdk_raises_on_errors(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError, match="429"):
        await client.chat.completions.create(
            model="scripted", messages=MESSAGES, extra_body={"simulate": {"fault": {"kind": "status", "code": 429}}}
        )
    policy = {"kind": "status", "code": 400, "message": "not this", "error_code": "content_policy_violation"}
    with pytest.raises(openai.BadRequestError, match="not this") as caught:
        await client.chat.completions.create(
            model="scripted", messages=MESSAGES, extra_body={"simulate": {"fault": policy}}
        )
    assert (caught.value.code, caught.value.type) == ("content_policy_violation", "invalid_request_error")
    stream = await client.chat.completions.create(
        model="scripted",
        messages=MESSAGES,
        stream=True,
        extra_body={"simulate": {"tokens": 2, "fault": {"kind": "error_event", "message": "oh no"}}},
    )
    with pytest.raises(openai.APIError, match="oh no"):
        [chunk async for chunk in stream]


async def test_the_sdk_lists_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["scripted"]
