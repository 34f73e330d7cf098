"""The same answers, read by the official SDK and by the engine: both must find the same."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from tests.engines.anthropic import shapes
from tests.engines.anthropic.conftest import KEY, FakeMessages, ask
from tests.engines.anthropic.reading import by_engine, by_sdk, completion_of

from headrace.engines.anthropic import AnthropicEngine
from headrace.types.outcome import Cause

CITATION = {
    "type": "char_location",
    "cited_text": "grass",
    "document_index": 0,
    "document_title": None,
    "end_char_index": 5,
    "file_id": None,
    "start_char_index": 0,
}
CALLS = (
    shapes.text(0, "Let me", " see."),
    shapes.tool_use(1, "toolu_01A", "weather", "", '{"city": "Pa', 'ris", "n": [1, 2.5, null]}'),
    shapes.tool_use(2, "toolu_01B", "now"),
)
THOUGHTS = (
    shapes.thinking(0, "First, ", "the \u00e9l\u00e9phant.", signature="EqQBCgIYAhIM1gbc=="),
    shapes.redacted(1, "EmwKAhgBEgy3va3p="),
    shapes.thinking(2, signature="silent=="),
    shapes.text(3, "Done \U0001f600."),
)

ANSWERS: dict[str, list[shapes.Event]] = {
    "text": shapes.answer(shapes.text(0, "Hello", ", ", "world", "\n\n", " ha", " ha")),
    "nothing": shapes.answer(),
    "two texts": shapes.answer(shapes.text(0, "one "), shapes.text(1, "two")),
    "text at the start of a block": shapes.answer(
        shapes.block(0, {"type": "text", "text": "He"}, {"type": "text_delta", "text": "llo"})
    ),
    "thoughts": shapes.answer(*THOUGHTS),
    "calls": shapes.answer(*CALLS, stop_reason="tool_use"),
    "thoughts and calls": shapes.answer(
        shapes.thinking(0, "hm"), shapes.tool_use(1, "toolu_01", "f", "{}"), stop_reason="tool_use"
    ),
    "arguments at the start of a block": shapes.answer(
        shapes.block(0, {"type": "tool_use", "id": "toolu_9", "name": "f", "input": {"a": 1}}), stop_reason="tool_use"
    ),
    "citations": shapes.answer(
        shapes.block(
            0,
            {"type": "text", "text": "", "citations": []},
            {"type": "text_delta", "text": "Grass is green."},
            {"type": "citations_delta", "citation": CITATION},
        )
    ),
    "cache": [
        shapes.message_start(cache_creation_input_tokens=100, cache_read_input_tokens=900, output_tokens=3),
        *shapes.text(0, "x"),
        *shapes.message_end(output_tokens_details={"thinking_tokens": 4}),
    ],
    "usage that the end corrects": [
        shapes.message_start(),
        *shapes.text(0, "x"),
        *shapes.message_end(input_tokens=40, cache_read_input_tokens=2, cache_creation_input_tokens=0),
    ],
}
STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "stop",
}


async def sdk_message(fake: FakeMessages) -> anthropic.types.Message:
    # Authorities would be read from disk each time, for a peer without TLS.
    http = anthropic.DefaultAsyncHttpxClient(verify=False)
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=fake.root, max_retries=0, http_client=http) as client:
        messages: list[Any] = [{"role": "user", "content": "hi"}]
        async with client.messages.stream(model="claude-opus-4-8", max_tokens=64, messages=messages) as stream:
            return await stream.get_final_message()


async def both(
    fake: FakeMessages, engine: AnthropicEngine, events: list[shapes.Event]
) -> tuple[dict[str, Any], list[bytes]]:
    """Let both read an answer, check that they agree, and return what was found and the chunks."""
    fake.stream(*events)
    by_vendor = by_sdk(await sdk_message(fake))
    fake.stream(*events)
    answer = await ask(engine)
    assert answer.end.cause is None
    assert answer.malformed == 0
    assert by_engine(answer.lines) == by_vendor
    return by_vendor, answer.lines


@pytest.mark.parametrize("name", ANSWERS)
async def test_sdk_and_engine_find_the_same(fake: FakeMessages, engine: AnthropicEngine, name: str) -> None:
    await both(fake, engine, ANSWERS[name])


def test_every_stop_reason_of_the_sdk_is_in_the_table() -> None:
    assert set(STOPS) == set(anthropic.types.StopReason.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("reason", "finish_reason"), STOPS.items())
async def test_stop_reasons_agree_and_have_openai_words(
    fake: FakeMessages, engine: AnthropicEngine, reason: str, finish_reason: str
) -> None:
    sequence = "END" if reason == "stop_sequence" else None
    events = shapes.answer(shapes.text(0, "so"), stop_reason=reason, stop_sequence=sequence)
    found, lines = await both(fake, engine, events)
    assert found["stop_reason"] == reason
    assert completion_of(lines)["choices"][0]["finish_reason"] == finish_reason


@pytest.mark.parametrize(
    ("kind", "status"),
    [("overloaded_error", 529), ("api_error", 500), ("rate_limit_error", 429), ("timeout_error", 504)],
)
async def test_an_error_inside_a_stream_reaches_both(
    fake: FakeMessages, engine: AnthropicEngine, kind: str, status: int
) -> None:
    events = [shapes.message_start(), *shapes.text(0, "Hel"), shapes.error(kind, "Over loaded")]
    fake.stream(*events)
    with pytest.raises(anthropic.APIStatusError) as raised:
        await sdk_message(fake)
    body: Any = raised.value.body
    fake.stream(*events)
    answer = await ask(engine)
    error = answer.views[-1].error
    assert (
        (error["type"], error["message"]) == (body["error"]["type"], body["error"]["message"]) == (kind, "Over loaded")
    )
    assert error == {"type": kind, "message": "Over loaded", "param": None, "code": status}
    assert [view.error for view in answer.views[:-1]] == [None] * (len(answer.views) - 1)
    assert completion_of(answer.lines[:-1])["choices"][0]["message"]["content"] == "Hel"


async def test_of_an_answer_that_is_cut_off_nothing_is_made_up(fake: FakeMessages, engine: AnthropicEngine) -> None:
    events = [shapes.message_start(cache_read_input_tokens=5), *shapes.text(0, "one", "two", "three")]
    fake.stream(*events, is_cut=True)
    with pytest.raises(Exception, match=r"incomplete|closed"):
        await sdk_message(fake)
    fake.stream(*events, is_cut=True)
    answer = await ask(engine)
    assert answer.end.cause is Cause.UPSTREAM_CLOSED
    choice = completion_of(answer.lines)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("onetwothree", None)
    assert not any(b'"usage"' in line for line in answer.lines), "clients get usage at the end only"
    assert answer.usage is not None
    assert (answer.usage["prompt_tokens"], answer.usage["completion_tokens"]) == (16, 3)


async def test_an_answer_that_ends_without_its_last_events_has_no_finish_reason(
    fake: FakeMessages, engine: AnthropicEngine
) -> None:
    fake.stream(shapes.message_start(), *shapes.text(0, "one"))
    answer = await ask(engine)
    assert answer.end.cause is None
    assert not any(choice.finish_reason for view in answer.views for choice in view.choices)


async def test_what_came_goes_back_and_is_what_the_sdk_would_send(fake: FakeMessages, engine: AnthropicEngine) -> None:
    """Thoughts, text and calls of a turn are sent back with the results, block for block."""
    events = shapes.answer(*THOUGHTS, *[shapes.tool_use(4, "toolu_7", "f", '{"a":', "1}")], stop_reason="tool_use")
    fake.stream(*events)
    vendor = (await sdk_message(fake)).to_param()
    fake.stream(*events)
    message = completion_of((await ask(engine)).lines)["choices"][0]["message"]
    fake.stream(*shapes.answer(shapes.text(0, "ok")))
    result = {"role": "tool", "tool_call_id": "toolu_7", "content": "42"}
    tools = [{"type": "function", "function": {"name": "f"}}]
    await ask(engine, messages=[{"role": "user", "content": "hi"}, message, result], tools=tools)
    sent = fake.asked[-1].body
    shapes.check_request(sent)
    expected = [
        {name: value for name, value in shapes.plain(block).items() if value is not None and name != "caller"}
        for block in vendor["content"]
    ]
    assert sent["messages"][1] == {"role": "assistant", "content": expected}
    assert sent["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "toolu_7", "content": "42"}]
