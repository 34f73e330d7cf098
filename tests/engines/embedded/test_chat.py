from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.embedded.chat import MAX_SCHEMA_BYTES, native_chat
from headrace.engines.embedded.native import NativeRequest
from headrace.engines.embedded.sampling import MAX_BYTES_PER_TOKEN, SHORT_BYTES
from headrace.errors import ClientRequestError

_MESSAGES = [{"role": "user", "content": "Hi"}]


def _translate(body: bytes) -> NativeRequest:
    return native_chat(body, slots=4, context_tokens=2048)


def _native(**fields: Any) -> dict[str, Any]:
    native: dict[str, Any] = msgspec.json.decode(
        _translate(msgspec.json.encode({"messages": _MESSAGES, **fields})).body
    )
    return native


def _refused(**fields: Any) -> ClientRequestError:
    with pytest.raises(ClientRequestError) as caught:
        _translate(msgspec.json.encode({"messages": _MESSAGES, **fields}))
    assert caught.value.status == 400
    return caught.value


def test_what_openai_names_passes_through() -> None:
    asked = {
        "stop": ["a", "b"],
        "logprobs": True,
        "top_logprobs": 3,
        "temperature": 0.5,
        "response_format": {"type": "json_object"},
        "stream_options": {"include_usage": True},
        "top_k": 5,
    }
    native = _native(**asked)
    assert {key: native[key] for key in asked} == asked
    assert native["messages"] == _MESSAGES


def test_what_only_llama_cpp_names_is_dropped_and_null_is_absent() -> None:
    native = _native(id_slot=1, n_cmpl=4, grammar="x", model="other", max_tokens=None, stop=None)
    assert set(native) == {"messages", "stream", "return_progress", "cache_prompt"}


def test_it_is_always_streamed_with_progress() -> None:
    native = _native(stream=False, return_progress=False)
    assert native["stream"] is True
    assert native["return_progress"] is True


@pytest.mark.parametrize(
    ("fields", "is_cached"),
    [({}, True), ({"temperature": 0.1}, True), ({"temperature": 0}, False), ({"seed": 7}, False)],
)
def test_an_answer_that_shall_repeat_uses_no_cached_prompt(fields: dict[str, Any], is_cached: bool) -> None:
    assert _native(**fields)["cache_prompt"] is is_cached


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_beyond_the_context_is_cut_to_it(field: str) -> None:
    assert _native(**{field: 2**33})["max_tokens"] == 2048
    assert _native(**{field: 5})["max_tokens"] == 5


def test_any_seed_becomes_one_that_llama_cpp_does_not_take_for_random() -> None:
    for seed in (-1, 2**32 - 1, 2**63 - 1):
        assert 0 <= _native(seed=seed)["seed"] < 2**32 - 1


def test_a_developer_speaks_as_the_system() -> None:
    native = _native(messages=[{"role": "developer", "content": "Be short."}])
    assert native["messages"] == [{"role": "system", "content": "Be short."}]


def _continued(text: Any, **fields: Any) -> dict[str, Any]:
    return _native(messages=[*_MESSAGES, {"role": "assistant", "content": text}], **fields)


def test_a_partial_answer_goes_on_with_its_last_word_written_again() -> None:
    native = _continued("The quic", max_tokens=5)
    assert native["messages"] == [*_MESSAGES, {"role": "assistant", "content": "The"}]
    assert native["grammar"] == 'root ::= " quic" .*'
    assert native["echo"] is False
    assert native["max_tokens"] == 6
    body = msgspec.json.encode({"messages": [*_MESSAGES, {"role": "assistant", "content": "The quic"}]})
    assert _translate(body).again == len(" quic")


def test_room_for_the_word_does_not_go_beyond_the_context() -> None:
    assert _continued("The quic", max_tokens=4000)["max_tokens"] == 2048
    assert "max_tokens" not in _continued("The quic")


@pytest.mark.parametrize(
    "fields",
    [{"n": 2}, {"logprobs": True}, {"response_format": {"type": "json_object"}}, {"stop": "quic"}, {"stop": ["u"]}],
)
def test_a_partial_answer_goes_on_as_it_is_where_no_word_can_be_written_again(fields: dict[str, Any]) -> None:
    native = _continued("The quic", max_tokens=5, **fields)
    assert native["messages"][-1]["content"] == "The quic"
    assert "grammar" not in native
    assert native["max_tokens"] == 5


@pytest.mark.parametrize("fields", [{}, {"n": 1}, {"response_format": {"type": "text"}}, {"logprobs": False}])
def test_a_partial_answer_of_one_word_leaves_no_message(fields: dict[str, Any]) -> None:
    native = _continued("The", **fields)
    assert native["messages"] == _MESSAGES
    assert native["grammar"] == 'root ::= "The" .*'


@pytest.mark.parametrize("nothing", ["", None, []])
def test_an_empty_partial_answer_is_none(nothing: Any) -> None:
    native = _continued(nothing)
    assert native["messages"] == _MESSAGES
    assert "grammar" not in native


def test_a_request_without_a_partial_answer_is_as_ever() -> None:
    assert not {"grammar", "echo"} & set(_native())
    assert _translate(msgspec.json.encode({"messages": _MESSAGES})).again == 0


def test_choices_are_counted() -> None:
    assert _translate(msgspec.json.encode({"messages": _MESSAGES})).choices == 1
    assert _translate(msgspec.json.encode({"messages": _MESSAGES, "n": 3})).choices == 3


def test_a_prompt_is_short_by_its_messages_alone() -> None:
    def is_short(content: str, **fields: Any) -> bool:
        messages = [{"role": "user", "content": content}]
        return _translate(msgspec.json.encode({"messages": messages, **fields})).is_short

    assert is_short("Hi", user="x" * 1000)
    assert not is_short("x" * SHORT_BYTES)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": [5]}, "messages[0]", "invalid_type"),
        ({"messages": [{"role": "pirate"}]}, "messages[0].role", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": "5"}, "max_tokens", "invalid_type"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "integer_below_min_value"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 5}, "n", "integer_above_max_value"),
        ({"temperature": 2.5}, "temperature", "decimal_above_max_value"),
        ({"top_p": -0.5}, "top_p", "decimal_below_min_value"),
        ({"top_logprobs": 5000}, "top_logprobs", "integer_above_max_value"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"stop": ["a"] * 5}, "stop", "array_above_max_length"),
        ({"logit_bias": {"1": 101}}, "logit_bias", "invalid_value"),
        ({"response_format": {"x": "y" * MAX_SCHEMA_BYTES}}, "response_format", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
        ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_field(fields: dict[str, Any], param: str, code: str) -> None:
    error = _refused(**fields)
    assert (error.param, error.code) == (param, code)


def test_a_refusal_speaks_openais_words() -> None:
    assert _refused(max_tokens=0).message == (
        "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, but got 0 instead."
    )
    with pytest.raises(ClientRequestError, match=r"^Missing required parameter: 'messages'\.$"):
        _translate(b"{}")


def test_tools_that_may_not_be_called_are_no_error() -> None:
    assert "tools" not in _native(tools=[{"type": "function"}], tool_choice="none")
    assert "tools" not in _native(tools=[])


def test_a_body_that_cannot_fit_is_refused_unread() -> None:
    with pytest.raises(ClientRequestError) as caught:
        _translate(b" " * (2048 * MAX_BYTES_PER_TOKEN + 1))
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"", b"{nope", b"[" * 100_000, b'{"messages": "\xff"}'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ClientRequestError):
        _translate(body)


@given(st.binary() | st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists).map(
    lambda value: msgspec.json.encode({"messages": _MESSAGES, "n": value, "seed": value, "temperature": value})
))  # fmt: skip
def test_any_body_is_translated_or_refused(body: bytes) -> None:
    try:
        native = _translate(body)
    except ClientRequestError:
        return
    assert 1 <= native.choices <= 4
