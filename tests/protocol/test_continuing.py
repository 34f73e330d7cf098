"""Continuing: which requests can be, and the request that does it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.continuing import continued_body, is_repeatable, obstacle, text_obstacle, text_to_send
from headrace.types.engine import Continuation, Endpoint

TOOLS = [{"type": "function", "function": {"name": "f"}}]
ASSISTANT = {"role": "assistant", "content": "Once"}
SCHEMA = {"type": "json_schema", "json_schema": {}}


def chat(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})


def plain(prompt: Any = "Once", **fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "prompt": prompt, **fields})


HARMLESS: list[dict[str, Any]] = [
    {},
    {"tools": TOOLS, "tool_choice": "none"},
    {"functions": [{"name": "f"}], "function_call": "none"},
    {"tools": []},
    {"tools": None, "n": 1, "logprobs": False, "top_logprobs": 0, "response_format": {"type": "text"}},
    {"modalities": ["text"], "audio": None, "stop": ["\n"], "logit_bias": {"5": 1}, "seed": 1},
    {"n": None, "logprobs": None, "continue_final_message": False, "add_generation_prompt": True, "n_predict": -1},
]

NEVER: list[tuple[str, dict[str, Any]]] = [
    ("tools", {"tools": TOOLS}),
    ("tools", {"tools": TOOLS, "tool_choice": "auto"}),
    ("functions", {"functions": [{"name": "f"}]}),
    ("n", {"n": 2}),
    ("n_cmpl", {"n_cmpl": 2}),
    ("best_of", {"best_of": 2}),
    ("use_beam_search", {"use_beam_search": True}),
    ("logprobs", {"logprobs": True}),
    ("logprobs", {"logprobs": 0}),
    ("top_logprobs", {"top_logprobs": 2}),
    ("n_probs", {"n_probs": 2}),
    ("prompt_logprobs", {"prompt_logprobs": 0}),
    ("return_token_ids", {"return_token_ids": True}),
    ("modalities", {"modalities": ["text", "audio"]}),
    ("audio", {"audio": {"voice": "x"}}),
    ("web_search_options", {"web_search_options": {}}),
]

NOT_CONTINUED: list[tuple[str, dict[str, Any]]] = [
    ("response_format", {"response_format": SCHEMA}),
    ("response_format", {"response_format": {"type": "json_object"}}),
    ("structured_outputs", {"structured_outputs": {"regex": "a"}}),
    ("guided_json", {"guided_json": {}}),
    ("guided_regex", {"guided_regex": "a"}),
    ("guided_choice", {"guided_choice": ["a"]}),
    ("guided_grammar", {"guided_grammar": "a"}),
    ("json_schema", {"json_schema": {}}),
    ("grammar", {"grammar": "a"}),
    ("regex", {"regex": "a"}),
    ("ebnf", {"ebnf": "a"}),
    ("structural_tag", {"structural_tag": "{}"}),
    ("prediction", {"prediction": {"type": "content"}}),
    ("min_tokens", {"min_tokens": 4}),
    ("n_predict", {"n_predict": 4}),
    ("echo", {"echo": True}),
    ("suffix", {"suffix": "end"}),
    ("continue_final_message", {"continue_final_message": True}),
    ("add_generation_prompt", {"add_generation_prompt": False}),
]


@pytest.mark.parametrize("fields", HARMLESS)
def test_plain_requests_can_be_continued(fields: dict[str, Any]) -> None:
    assert obstacle(chat(**fields), Endpoint.CHAT) is None
    assert obstacle(plain(**fields), Endpoint.COMPLETIONS) is None


@pytest.mark.parametrize(("name", "fields"), NEVER + NOT_CONTINUED)
def test_what_begins_anew_or_counts_from_the_start_is_never_continued(name: str, fields: dict[str, Any]) -> None:
    for found in (obstacle(chat(**fields), Endpoint.CHAT), obstacle(plain(**fields), Endpoint.COMPLETIONS)):
        assert found is not None
        assert found.startswith(f"{name}: ")


def test_a_value_that_cannot_be_decoded_is_an_obstacle() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    assert obstacle(b'{"messages":[{"role":"user"}],"tools":' + deep + b"}", Endpoint.CHAT) is not None
    assert obstacle(b"[]", Endpoint.CHAT) is not None


def test_a_request_that_ends_with_the_assistants_turn_is_not_continued() -> None:
    found = obstacle(chat(messages=[{"role": "user", "content": "hi"}, ASSISTANT]), Endpoint.CHAT)
    assert found is not None
    assert found.startswith("messages: ")
    assert obstacle(chat(messages=[ASSISTANT, {"role": "user", "content": "hi"}]), Endpoint.CHAT) is None


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], [[1, 2]], []])
def test_only_one_prompt_of_text_is_continued(prompt: list[Any]) -> None:
    found = obstacle(plain(prompt), Endpoint.COMPLETIONS)
    assert found is not None
    assert found.startswith("prompt: ")
    assert obstacle(plain(["a"]), Endpoint.COMPLETIONS) is None


@pytest.mark.parametrize(
    "fields", [{"temperature": 0}, {"temperature": 0.0}, {"seed": 0}, {"seed": 7, "temperature": 1}]
)
def test_a_seed_or_no_temperature_makes_a_request_repeatable(fields: dict[str, Any]) -> None:
    assert is_repeatable(chat(**fields))
    assert is_repeatable(plain(**fields))
    assert is_repeatable(plain([1, 2], **fields))
    assert not is_repeatable(plain(["a", "b"], **fields))


@pytest.mark.parametrize("fields", [{}, {"temperature": 0.1}, {"seed": None}, {"seed": -1}, {"temperature": None}])
def test_other_requests_are_not_repeatable(fields: dict[str, Any]) -> None:
    assert not is_repeatable(chat(**fields))


def test_what_is_not_one_answer_of_plain_text_is_not_repeatable() -> None:
    assert all(not is_repeatable(chat(seed=1, **fields)) for _, fields in NEVER)
    assert all(is_repeatable(chat(seed=1, **fields)) for _, fields in NOT_CONTINUED)
    assert is_repeatable(chat(seed=1, messages=[ASSISTANT]))
    assert not is_repeatable(b"[]")


@pytest.mark.parametrize(
    ("how", "message", "fields"),
    [
        (Continuation.ASSISTANT, {}, {}),
        (Continuation.PREFIX, {"prefix": True}, {}),
        (Continuation.FLAG, {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
def test_a_chat_gets_the_text_as_its_last_message(
    how: Continuation, message: dict[str, Any], fields: dict[str, Any]
) -> None:
    body = continued_body(chat(), Endpoint.CHAT, "Once upon \n", how, tokens_left=None)
    user = {"role": "user", "content": "hi"}
    expected = {"model": "m", "messages": [user, {"role": "assistant", "content": "Once upon", **message}], **fields}
    assert msgspec.json.decode(body) == expected


def test_everything_else_stays_as_the_client_wrote_it() -> None:
    body = b'{"x": 1.10000000000000000001,"messages":[{"role":"user","content":"h\\u0069" , "v":[1e400]}],"big":12345678901234567890123}'
    text = continued_body(body, Endpoint.CHAT, "a", Continuation.ASSISTANT, tokens_left=3)
    assert text == (
        b'{"x":1.10000000000000000001,"messages":[{"role":"user","content":"h\\u0069" , "v":[1e400]},'
        b'{"role":"assistant","content":"a"}],"big":12345678901234567890123}'
    )


def test_a_generation_prompt_that_was_asked_for_gives_way_to_the_flag() -> None:
    body = continued_body(chat(add_generation_prompt=True), Endpoint.CHAT, "a", Continuation.FLAG, tokens_left=None)
    assert msgspec.json.decode(body)["add_generation_prompt"] is False


@pytest.mark.parametrize(("prompt", "expected"), [("Once ", "Once upon a"), (["Once "], ["Once upon a"])])
def test_a_plain_prompt_grows(prompt: Any, expected: Any) -> None:
    body = continued_body(plain(prompt), Endpoint.COMPLETIONS, "upon a ", Continuation.NONE, tokens_left=None)
    assert msgspec.json.decode(body) == {"model": "m", "prompt": expected}


def test_the_bounds_that_a_request_has_are_what_is_left() -> None:
    body = chat(max_tokens=9, max_completion_tokens=None)
    continued = msgspec.json.decode(continued_body(body, Endpoint.CHAT, "a", Continuation.ASSISTANT, tokens_left=4))
    assert (continued["max_tokens"], continued["max_completion_tokens"]) == (4, None)
    body = chat(max_completion_tokens=9)
    continued = msgspec.json.decode(continued_body(body, Endpoint.CHAT, "a", Continuation.ASSISTANT, tokens_left=4))
    assert continued["max_completion_tokens"] == 4
    assert "max_tokens" not in continued
    unbounded = continued_body(body, Endpoint.CHAT, "a", Continuation.ASSISTANT, tokens_left=None)
    assert msgspec.json.decode(unbounded)["max_completion_tokens"] == 9


@given(st.text(alphabet=" \n\t\u00a0\u3000\x1c\x85", max_size=4))
def test_behind_nothing_but_white_space_the_answer_begins_anew(space: str) -> None:
    body = chat(max_tokens=9)
    assert continued_body(body, Endpoint.CHAT, space, Continuation.FLAG, tokens_left=2) == body


def test_an_engine_that_does_not_continue_and_prompts_that_cannot_grow_are_refused() -> None:
    with pytest.raises(ValueError, match="does not continue"):
        continued_body(chat(), Endpoint.CHAT, "a", Continuation.NONE, tokens_left=None)
    with pytest.raises(ValueError, match="not one text"):
        continued_body(plain([1, 2]), Endpoint.COMPLETIONS, "a", Continuation.NONE, tokens_left=None)


@given(st.text())
def test_what_is_sent_and_what_is_held_back_are_the_whole_text(text: str) -> None:
    sent = text_to_send(text)
    assert text.startswith(sent)
    assert not text[len(sent) :].strip()
    assert sent == sent.rstrip()


def test_half_surrogate_pairs_are_joined_or_replaced_in_what_is_sent() -> None:
    body = continued_body(chat(), Endpoint.CHAT, "\ud83d\ude00 \ud83d.", Continuation.ASSISTANT, tokens_left=None)
    assert msgspec.json.decode(body)["messages"][-1]["content"] == "\U0001f600 \ufffd."


@pytest.mark.parametrize("text", ["\n<think>\nhm", "hm</think>", "<think>a</think>b"])
def test_reasoning_in_the_text_is_not_continued(text: str) -> None:
    assert text_obstacle(text) == "there is reasoning in the text"


def test_half_a_character_is_not_continued() -> None:
    for text in ("a\ud83d", "a\ufffd"):
        assert text_obstacle(text) == "it broke off inside a character"


def test_other_text_is_continued() -> None:
    for text in ("", " ", "a", "\U0001f600", "\ud83d\ude00", "a\ud83db", "the tag <think> opens it"):
        assert text_obstacle(text) is None
