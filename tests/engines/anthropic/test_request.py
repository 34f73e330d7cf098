"""Requests: what the API gets is as the SDK describes it, and what cannot be said in its words is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.anthropic import shapes

from headrace.engines.anthropic.request import messages_body
from headrace.errors import ClientRequestError

USER = {"role": "user", "content": "hi"}
FUNCTION: dict[str, Any] = {
    "name": "f",
    "description": "does f",
    "parameters": {"properties": {"a": {"type": "integer"}}},
}
TOOL = {"type": "function", "function": FUNCTION}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
PNG = "iVBORw0KGgo="


def body(**fields: Any) -> dict[str, Any]:
    """Return what the API gets, checked against the SDK's types."""
    asked = {"model": "m", "messages": [USER], **fields}
    found: dict[str, Any] = json.loads(messages_body(json.dumps(asked).encode(), default_max_tokens=4096))
    shapes.check_request(found)
    return found


def conversation(*messages: dict[str, Any]) -> tuple[Any, Any]:
    found = body(messages=list(messages))
    return found.get("system"), found["messages"]


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def call(id: str, arguments: str = "{}") -> dict[str, Any]:  # noqa: A002 (the field's own name)
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}}


def test_the_least_is_a_model_messages_and_a_bound() -> None:
    messages = [{"role": "user", "content": [text("hi")]}]
    assert body() == {"model": "m", "max_tokens": 4096, "stream": True, "messages": messages}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"temperature": 0.5, "top_p": 0.25, "top_k": 4}, {"temperature": 0.5, "top_p": 0.25, "top_k": 4}),
        ({"temperature": 1}, {"temperature": 1}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"user": "u1"}, {"metadata": {"user_id": "u1"}}),
        ({"user": "u1", "safety_identifier": "s1"}, {"metadata": {"user_id": "s1"}}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ({"thinking": {"type": "adaptive"}, "reasoning_effort": "none"}, {"thinking": {"type": "adaptive"}}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": "minimal"}, {"output_config": {"effort": "low"}}),
        ({"reasoning_effort": "xhigh"}, {"output_config": {"effort": "xhigh"}}),
        ({"output_config": {"effort": "max"}}, {"output_config": {"effort": "max"}}),
        (
            {
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}},
                "reasoning_effort": "low",
            },
            {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
        ({"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral"}}),
        ({"inference_geo": "us", "speed": "fast"}, {"inference_geo": "us", "speed": "fast"}),
        (
            {"tools": [TOOL]},
            {"tools": [{"name": "f", "description": "does f", "input_schema": {"type": "object", **FUNCTION["parameters"]}}]},
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "g", "strict": True}, "cache_control": {"type": "ephemeral"}}]},
            {
                "tools": [
                    {"name": "g", "input_schema": {"type": "object"}, "strict": True, "cache_control": {"type": "ephemeral"}}
                ]
            },
        ),
    ],
)  # fmt: skip
def test_fields_have_their_equivalent(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body(**fields) == {**body(), **expected}


@pytest.mark.parametrize(
    "fields",
    [
        {
            "n": 1,
            "logprobs": False,
            "top_logprobs": 0,
            "logit_bias": {},
            "frequency_penalty": 0,
            "presence_penalty": 0.0,
        },
        {
            "seed": None,
            "functions": [],
            "function_call": "auto",
            "modalities": ["text"],
            "audio": None,
            "verbosity": "medium",
        },
        {"stream": True, "stream_options": {"include_usage": True}, "store": False, "metadata": {"a": "b"}},
        {
            "tools": [],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "response_format": {"type": "text"},
            "stop": [],
        },
        {"max_tokens": None, "temperature": None, "user": None, "tools": None, "prompt_cache_key": "k"},
    ],
)
def test_what_asks_for_nothing_is_left_out(fields: dict[str, Any]) -> None:
    assert body(**fields) == body()


@pytest.mark.parametrize(
    ("choice", "is_parallel", "expected"),
    [
        (None, None, None),
        (None, True, None),
        ("auto", None, {"type": "auto"}),
        ("required", True, {"type": "any"}),
        ("none", False, {"type": "none"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
    ],
)
def test_the_choice_among_tools_has_its_equivalent(choice: Any, is_parallel: bool | None, expected: Any) -> None:
    assert body(tools=[TOOL], tool_choice=choice, parallel_tool_calls=is_parallel).get("tool_choice") == expected


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("n", {"n": 2}),
        ("seed", {"seed": 0}),
        ("logprobs", {"logprobs": True}),
        ("top_logprobs", {"top_logprobs": 3}),
        ("logit_bias", {"logit_bias": {"1": 2}}),
        ("frequency_penalty", {"frequency_penalty": 0.1}),
        ("presence_penalty", {"presence_penalty": -1}),
        ("functions", {"functions": [FUNCTION]}),
        ("function_call", {"function_call": {"name": "f"}}),
        ("modalities", {"modalities": ["text", "audio"]}),
        ("audio", {"audio": {"voice": "x"}}),
        ("prediction", {"prediction": {}}),
        ("verbosity", {"verbosity": "low"}),
        ("web_search_options", {"web_search_options": {}}),
        ("min_p", {"min_p": 0.1}),
        ("temperature", {"temperature": 1.01}),
        ("temperature", {"temperature": -0.5}),
        ("temperature", {"temperature": "hot"}),
        ("top_p", {"top_p": 2}),
        ("max_tokens", {"max_tokens": 0}),
        ("max_completion_tokens", {"max_completion_tokens": -1}),
        ("max_tokens", {"max_tokens": 1.5}),
        ("service_tier", {"service_tier": "flex"}),
        ("reasoning_effort", {"reasoning_effort": "huge"}),
        ("reasoning_effort", {"reasoning_effort": "low", "output_config": {"effort": "low"}}),
        ("response_format.type", {"response_format": {"type": "json_object"}}),
        ("response_format.type", {"response_format": {}}),
        ("response_format.json_schema", {"response_format": {"type": "json_schema"}}),
        (
            "response_format.json_schema.schema",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
        ),
        ("thinking", {"thinking": "much"}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tools": [TOOL], "tool_choice": "some"}),
        ("tool_choice", {"tools": [TOOL], "tool_choice": 1}),
        ("tool_choice.type", {"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}),
        ("tool_choice.function", {"tools": [TOOL], "tool_choice": {"type": "function"}}),
        ("tools[1].type", {"tools": [TOOL, {"type": "custom"}]}),
        ("tools[0].function", {"tools": [{"type": "function"}]}),
        ("tools[0].function.name", {"tools": [{"type": "function", "function": {}}]}),
        ("tools[0]", {"tools": ["f"]}),
        ("model", {"model": None}),
        ("messages", {"messages": []}),
        ("messages", {"messages": [{"role": "user", "content": ""}]}),
        ("messages", {"messages": [{"role": "system", "content": "be"}]}),
        ("messages", {"messages": "hi"}),
    ],
)
def test_what_has_no_equivalent_is_refused_by_name(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ClientRequestError) as raised:
        body(**fields)
    assert (raised.value.status, raised.value.param) == (400, field)
    assert field in raised.value.message


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("role", {"role": "function", "name": "f", "content": "x"}),
        ("role", {"content": "x"}),
        ("content", {"role": "user", "content": 1}),
        ("content[0]", {"role": "user", "content": ["x"]}),
        ("content[0].text", {"role": "user", "content": [{"type": "text"}]}),
        ("content[0].type", {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}),
        ("content[0].image_url", {"role": "user", "content": [{"type": "image_url"}]}),
        ("content[0].image_url.url", {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}),
        ("content[0].image_url.url", {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}),
        (
            "content[0].image_url.url",
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}]},
        ),
        ("content[1].file", {"role": "user", "content": [text("a"), {"type": "file", "file": {"file_id": "f"}}]}),
        (
            "content[0].file.file_data",
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:text/csv;base64,AA"}}]},
        ),
        ("content", {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}),
        ("tool_call_id", {"role": "tool", "content": "x"}),
        ("tool_call_id", {"role": "tool", "content": "x", "tool_call_id": ""}),
        ("tool_calls", {"role": "assistant", "tool_calls": {}}),
        ("tool_calls[0]", {"role": "assistant", "tool_calls": ["f"]}),
        ("tool_calls[0].id", {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}),
        ("tool_calls[0].type", {"role": "assistant", "tool_calls": [{"type": "custom"}]}),
        ("tool_calls[1].function.arguments", {"role": "assistant", "tool_calls": [call("a"), call("b", "[1]")]}),
        ("tool_calls[0].function.arguments", {"role": "assistant", "tool_calls": [call("a", '{"a":')]}),
        ("function_call", {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}),
        ("audio", {"role": "assistant", "audio": {"id": "x"}}),
        ("thinking_blocks[0].type", {"role": "assistant", "thinking_blocks": [{"type": "text"}]}),
        ("thinking_blocks[0].signature", {"role": "assistant", "thinking_blocks": [{"type": "thinking", "thinking": "x"}]}),
        ("thinking_blocks[0].data", {"role": "assistant", "thinking_blocks": [{"type": "redacted_thinking"}]}),
    ],
)  # fmt: skip
def test_what_a_message_cannot_hold_is_refused_by_its_place(field: str, message: dict[str, Any]) -> None:
    with pytest.raises(ClientRequestError) as raised:
        conversation(USER, message)
    assert (raised.value.status, raised.value.param) == (400, f"messages[1].{field}")


def test_system_messages_become_the_system_prompt_in_their_order() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "one"},
        USER,
        {"role": "developer", "content": [{**text("two"), "cache_control": {"type": "ephemeral"}}, text("")]},
    ]
    system, rest = conversation(*messages)
    assert system == [text("one"), {**text("two"), "cache_control": {"type": "ephemeral"}}]
    assert rest == [{"role": "user", "content": [text("hi")]}]


def test_images_and_files_become_blocks() -> None:
    urls = ["https://x.example/y.png", f"data:image/png;base64,{PNG}", f"data:image/JPG;base64,{PNG}"]
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    parts += [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "file", "file": {"file_data": "https://x.example/b.pdf"}, "cache_control": {"type": "ephemeral"}},
    ]
    _, [message] = conversation({"role": "user", "content": [text("look"), *parts]})
    assert message["content"] == [
        text("look"),
        {"type": "image", "source": {"type": "url", "url": urls[0]}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PNG}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
        {
            "type": "document",
            "source": {"type": "url", "url": "https://x.example/b.pdf"},
            "cache_control": {"type": "ephemeral"},
        },
    ]


def test_calls_and_their_results_stand_in_two_messages() -> None:
    assistant = {
        "role": "assistant",
        "content": "",
        "refusal": None,
        "tool_calls": [call("toolu_1", '{"a": [1, 2]}'), call("functions.f:0", "")],
        "thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "hm", "signature": "s"}],
        "reasoning_content": "hm",
    }
    results: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": [text("a"), text("b")]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": ""},
    ]
    _, messages = conversation(USER, assistant, *results, {"role": "user", "content": "and?"})
    # The API allows letters, digits, _ and - in ids; both sides of a call change alike.
    other = "functions_2e_f_3a_0"
    assert messages[1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, 2]}},
                {"type": "tool_use", "id": other, "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": other, "content": [text("a"), text("b")]},
                {"type": "tool_result", "tool_use_id": "toolu_1"},
                text("and?"),
            ],
        },
    ]


def test_messages_of_one_role_become_one_and_empty_ones_none() -> None:
    assistant = {"role": "assistant", "content": [text("a"), {"type": "refusal", "refusal": "b"}]}
    said = {"role": "assistant", "content": None, "refusal": "c"}
    _, messages = conversation(USER, {"role": "assistant", "content": None}, USER, assistant, said)
    assert messages == [
        {"role": "user", "content": [text("hi"), text("hi")]},
        {"role": "assistant", "content": [text("a"), text("b"), text("c")]},
    ]


def test_a_partial_answer_stands_last_as_it_is() -> None:
    _, messages = conversation(USER, {"role": "assistant", "content": "Once upon "})
    assert messages[-1] == {"role": "assistant", "content": [text("Once upon ")]}


def test_half_an_emoji_in_arguments_stays_json() -> None:
    _, messages = conversation(USER, {"role": "assistant", "tool_calls": [call("a", r'{"x":"\ud83d"}')]})
    assert messages[1]["content"][0]["input"] == {"x": "\ud83d"}


def test_arguments_nested_too_deeply_are_refused() -> None:
    with pytest.raises(ClientRequestError) as raised:
        conversation(USER, {"role": "assistant", "tool_calls": [call("a", '{"a":' * 5000 + "1" + "}" * 5000)]})
    assert str(raised.value.param).startswith("messages")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-5, 5)
        | st.sampled_from(["user", "text", "tool", "function", "assistant", "x"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "role",
                        "content",
                        "type",
                        "text",
                        "tool_calls",
                        "function",
                        "id",
                        "name",
                        "arguments",
                        "tool_call_id",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_message_is_translated_rightly_or_refused(message: Any) -> None:
    refusal = None
    try:
        body(messages=[USER, message])
    except ClientRequestError as error:
        refusal = error
    assert refusal is None or (refusal.status == 400 and str(refusal.param).startswith("messages"))
