"""A blocking answer from chunks, beside what the official SDK makes of the same chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from headrace.protocol.assemble import CompletionAssembler

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m"}


def chunk(
    delta: Any = None, *, index: int = 0, finish: str | None = None, choice: dict[str, Any] | None = None, **top: Any
) -> dict[str, Any]:
    return {
        **HEAD,
        "choices": [{"index": index, "delta": delta or {}, "finish_reason": finish, **(choice or {})}],
        **top,
    }


def usage(total: int) -> dict[str, Any]:
    return {"prompt_tokens": total - 1, "completion_tokens": 1, "total_tokens": total}


def assembled(chunks: list[dict[str, Any]], **options: Any) -> Any:
    assembler = CompletionAssembler()
    assembler.add(b"\n".join(json.dumps(each).encode() for each in chunks))
    return json.loads(assembler.completion(**{"usage": None, **options}))


def call(index: int, **function: str) -> dict[str, Any]:
    return {"index": index, "function": function}


def begun(index: int, call_id: str, **function: str) -> dict[str, Any]:
    return {"index": index, "id": call_id, "type": "function", "function": function}


TEXT = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo"}),
    chunk({}, finish="stop"),
    {**HEAD, "choices": [], "usage": usage(5)},
]
OPENAI_TOOLS = [
    chunk(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [begun(0, "call_a", name="weather", arguments="")],
            "refusal": None,
        }
    ),
    *[chunk({"tool_calls": [call(0, arguments=piece)]}) for piece in ('{"', 'city":"', 'Bern"}')],
    chunk({"tool_calls": [begun(1, "call_b", name="time", arguments="")]}),
    chunk({"tool_calls": [call(1, arguments="{}")]}),
    chunk({}, finish="tool_calls"),
]
VLLM_TOOLS = [
    chunk({"role": "assistant", "content": "", "reasoning_content": None}),
    chunk({"reasoning_content": "Let me "}),
    chunk({"reasoning_content": "look."}),
    chunk({"tool_calls": [begun(0, "chatcmpl-tool-1", name="weather")]}),
    chunk({"tool_calls": [call(0, arguments='{"city": "')]}),
    chunk({"tool_calls": [call(0, arguments='Bern"}')]}),
    chunk({"content": ""}, finish="tool_calls", choice={"stop_reason": None, "logprobs": None}),
]
LLAMA_CPP_TOOLS = [
    chunk({"role": "assistant", "content": None}),
    chunk({"tool_calls": [begun(0, "Xy1", name="weather", arguments="{")]}),
    chunk({"tool_calls": [call(0, arguments='"city":"Bern"}')]}),
    chunk({}, finish="tool_calls", timings={"predicted_n": 9}),
]
REFUSAL = [
    chunk({"role": "assistant", "refusal": ""}),
    chunk({"refusal": "I can"}),
    chunk({"refusal": "not."}),
    chunk(finish="stop"),
]
LOGPROBS = [
    chunk({"role": "assistant", "content": ""}, choice={"logprobs": {"content": [], "refusal": None}}),
    *[
        chunk({"content": text}, choice={"logprobs": {"content": [{"token": text, "logprob": -1.0, "bytes": None, "top_logprobs": []}], "refusal": None}})
        for text in "ab"
    ],
    chunk({}, finish="length", choice={"logprobs": None}),
]  # fmt: skip
LEGACY = [
    chunk({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}),
    chunk({"function_call": {"arguments": "{"}}),
    chunk({"function_call": {"arguments": "}"}}),
    chunk({}, finish="function_call"),
]


@pytest.mark.parametrize("chunks", [TEXT, OPENAI_TOOLS, VLLM_TOOLS, LLAMA_CPP_TOOLS, REFUSAL, LOGPROBS, LEGACY])
def test_result_equals_the_sdks_own_accumulation(chunks: list[dict[str, Any]]) -> None:
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for each in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(each))
    theirs = state.current_completion_snapshot
    ours = ChatCompletion.model_validate(assembled(chunks))
    for mine, other in zip(ours.choices, theirs.choices, strict=True):
        message = mine.message.to_dict()
        expected: dict[str, Any] = {key: value for key, value in other.message.to_dict().items() if key != "parsed"}
        for tool_call in expected.get("tool_calls") or []:
            tool_call.pop("index")
            tool_call["function"].pop("parsed_arguments", None)
        if not expected.get("content") and (expected.get("tool_calls") or expected.get("function_call")):
            expected["content"] = None
        assert {key: value for key, value in message.items() if value is not None} == {
            key: value for key, value in expected.items() if value is not None
        }
        assert (mine.index, mine.finish_reason) == (other.index, other.finish_reason)
        assert (mine.logprobs and mine.logprobs.content) == (other.logprobs and other.logprobs.content)
    assert (ours.id, ours.created, ours.model, ours.object) == ("c1", 7, "m", "chat.completion")


def test_plain_answer_has_the_shape_of_openais() -> None:
    assert assembled(TEXT) == {
        "id": "c1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage(5),
    }


def test_tool_calls_alone_leave_content_null() -> None:
    assert assembled(VLLM_TOOLS)["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "reasoning_content": "Let me look.",
        "tool_calls": [
            {
                "id": "chatcmpl-tool-1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Bern"}'},
            }
        ],
    }


def test_given_usage_wins_over_the_chunks() -> None:
    assert assembled(TEXT, usage=usage(9))["usage"] == usage(9)
    assert "usage" not in assembled(TEXT[:2])


def test_choices_are_sorted_by_index_whatever_their_order() -> None:
    chunks = [
        chunk({"content": "b"}, index=1),
        chunk({"content": "a"}),
        chunk({"content": "B"}, index=1, finish="stop"),
    ]
    choices = assembled(chunks)["choices"]
    assert [(each["index"], each["message"]["content"], each["finish_reason"]) for each in choices] == [
        (0, "a", None),
        (1, "bB", "stop"),
    ]


def test_unknown_fields_survive() -> None:
    result = assembled(
        [
            chunk(
                {"content": "a", "mood": "ca"},
                choice={"token_ids": [1]},
                service_tier="auto",
                obfuscation="xx",
                x_groq={"id": "r"},
            ),
            chunk(
                {"content": None, "mood": "lm"},
                choice={"token_ids": [2], "stop_reason": "END"},
                service_tier=None,
                system_fingerprint="fp",
            ),
            chunk(finish="stop", choice={"stop_reason": None, "message": "odd"}, service_tier="default"),
        ]
    )
    assert (result["service_tier"], result["system_fingerprint"], result["x_groq"]) == ("default", "fp", {"id": "r"})
    assert "obfuscation" not in result
    (choice,) = result["choices"]
    assert (choice["token_ids"], choice["stop_reason"], choice["message"]["mood"]) == ([1, 2], "END", "calm")


def test_continued_answer_keeps_its_first_identity_and_takes_the_last_model() -> None:
    result = assembled(
        [
            chunk({"role": "assistant", "content": "a"}),
            chunk({"role": "assistant", "content": "b"}, id="c2", created=9, model="m2"),
        ]
    )
    assert (result["id"], result["created"], result["model"]) == ("c1", 7, "m2")
    assert result["choices"][0]["message"] == {"role": "assistant", "content": "ab", "refusal": None}


def test_content_in_parts_stays_in_parts_and_its_text_is_known() -> None:
    assembler = CompletionAssembler()
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    for delta in ({"content": "a"}, {"content": [thinking]}, {"content": "b"}, "c"):
        assembler.add(json.dumps(chunk(delta)).encode())
    parts = [{"type": "text", "text": "a"}, thinking, {"type": "text", "text": "b"}, {"type": "text", "text": "c"}]
    assert json.loads(assembler.completion(usage=None))["choices"][0]["message"]["content"] == parts
    assert assembler.text == "abc"


def test_text_is_known_at_any_time() -> None:
    assembler = CompletionAssembler()
    assert assembler.text == ""
    assembler.add(json.dumps(chunk({"role": "assistant"})).encode())
    assert assembler.text == ""
    assembler.add(json.dumps(chunk({"content": "a"})).encode())
    assembler.add(json.dumps(chunk({"content": "b"}, index=1)).encode())
    assert assembler.text == "a"


def test_emoji_cut_between_two_chunks_becomes_whole() -> None:
    assembler = CompletionAssembler()
    assembler.add(json.dumps(chunk({"content": "\ud83d"})).encode())
    assert assembler.text == "\ufffd"
    assembler.add(json.dumps(chunk({"content": "\ude00"})).encode())
    assert assembler.text == "😀"
    assert json.loads(assembler.completion(usage=None))["choices"][0]["message"]["content"] == "😀"


def test_nothing_gives_an_empty_answer() -> None:
    assembler = CompletionAssembler()
    assembler.add(b"")
    assembler.add(b"[]\n12")
    assert json.loads(assembler.completion(usage=None)) == {
        "id": "",
        "object": "chat.completion",
        "created": 0,
        "model": "",
        "choices": [],
    }
