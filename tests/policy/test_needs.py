"""What a request asks of the engine that serves it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.needs import Needs, needs_of
from headrace.types.engine import Endpoint

TEXT = [{"role": "user", "content": "Hi"}]


def needs(body: bytes | dict[str, Any], endpoint: Endpoint = Endpoint.CHAT) -> Needs:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return needs_of(data, endpoint=endpoint, choices=2, prompt_tokens=7, owner="ann", tags={"tier": "gold"})


def asked_for(body: dict[str, Any], endpoint: Endpoint = Endpoint.CHAT) -> set[str]:
    """Return the names of what a request needs beyond text."""
    found = needs(body, endpoint)
    return {name for name in ("tools", "logprobs", "schema", "images") if getattr(found, f"has_{name}")}


def test_passes_on_what_is_known_of_the_request() -> None:
    found = needs({"messages": TEXT})
    assert found == Needs(choices=2, prompt_tokens=7, owner="ann", tags={"tier": "gold"})
    assert found.tags_as_text == {"tier=gold"}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, set()),
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"tools": [], "functions": None, "tool_choice": "auto"}, set()),
        ({"messages": [{"role": "tool", "content": "4"}]}, {"tools"}),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]}, {"tools"}),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": []}]}, set()),
        ({"logprobs": True}, {"logprobs"}),
        ({"logprobs": False}, set()),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"schema"}),
        ({"response_format": {"type": "json_object"}}, set()),
        ({"response_format": {"type": "text"}}, set()),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}, set()),
        ({"messages": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]}]}, set()),
        ({"messages": [*TEXT, {"role": "user", "content": [{"type": "image_url"}]}]}, {"images"}),
        ({"messages": [{"role": "user", "content": [{"type": "text"}, {"type": "input_audio"}]}]}, {"images"}),
    ],
)
def test_tells_what_a_chat_asks_for(fields: dict[str, Any], names: set[str]) -> None:
    assert asked_for({"messages": TEXT, **fields}) == names


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, set()),
        ({"logprobs": 0}, {"logprobs"}),
        ({"logprobs": 5}, {"logprobs"}),
        ({"logprobs": None}, set()),
        ({"tools": [{}], "messages": [{"role": "tool"}]}, set()),
    ],
)
def test_tells_what_a_plain_completion_asks_for(fields: dict[str, Any], names: set[str]) -> None:
    assert asked_for({"prompt": "Once", **fields}, Endpoint.COMPLETIONS) == names


@pytest.mark.parametrize(
    ("fields", "max_tokens"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
    ],
)
def test_tells_how_long_an_answer_may_become(fields: dict[str, Any], max_tokens: int | None) -> None:
    assert needs({"messages": TEXT, **fields}).max_tokens == max_tokens


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": 5, "tools": 0, "logprobs": "yes", "response_format": "json_schema", "max_tokens": True},
        {"messages": [1, 2]},
        {"messages": [{"role": ["tool"], "content": {"type": "image_url"}}], "max_tokens": "many"},
        {"messages": [{"content": ["text", 5]}], "response_format": {"type": ["json_schema"]}, "max_tokens": 1.5},
    ],
)
def test_fields_of_an_odd_shape_ask_for_nothing(fields: dict[str, Any]) -> None:
    assert asked_for(fields) == set()
    assert needs(fields).max_tokens is None


def test_a_part_of_an_odd_type_is_not_text() -> None:
    assert asked_for({"messages": [{"role": "user", "content": [{"type": ["image_url"]}]}]}) == {"images"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "role", "content"]), inner),
    max_leaves=10,
)
NAMES = st.sampled_from(["messages", "tools", "functions", "logprobs", "response_format", "max_tokens", "prompt"])


@given(st.dictionaries(NAMES, JSON), st.sampled_from(Endpoint))
def test_reads_any_object(body: dict[str, Any], endpoint: Endpoint) -> None:
    assert needs(body, endpoint).choices == 2


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b'{"tools": ' + b"[" * 100_000, b'{"messages": [{"content": "\\ud83d"}]}']
)
def test_what_is_no_json_object_asks_for_nothing(body: bytes) -> None:
    assert not needs(body).has_tools
