"""Continuing: whether another engine can go on with an answer that broke off, and the request that makes it do so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headrace.protocol.json_object import well_formed
from headrace.types.engine import Continuation, Endpoint

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])

TOKEN_BOUNDS = ("max_tokens", "max_completion_tokens")
"""Fields that bound an answer."""

Test = Callable[[Any], bool]

_FIRST_HALVES = range(0xD800, 0xDC00)


def _is_set(value: Any) -> bool:
    return bool(value)


def _is_given(value: Any) -> bool:
    return value is not None


def _is_several(value: Any) -> bool:
    return value is not None and value != 1


def _is_not_text(value: Any) -> bool:
    return value is not None and value != {"type": "text"}


def _is_more_than_text(value: Any) -> bool:
    return bool(value) and value != ["text"]


_LOGPROBS = "log probabilities are asked for"
_NUMBERS = "token ids are asked for"
_GRAMMAR = "a grammar would begin anew"
_RAW_TEMPLATE = "the request says itself how its last message goes on"

# One answer of plain text, and nothing that refers to places in it: else there is nothing to compare, nor to go on with.
_NEVER: Mapping[str, tuple[Test, str]] = {
    "n": (_is_several, "several choices are asked for"),
    "n_cmpl": (_is_several, "several choices are asked for"),
    "best_of": (_is_several, "the engine chooses among several answers"),
    "use_beam_search": (_is_set, "the engine chooses among several answers"),
    "logprobs": (lambda value: value is not None and value is not False, _LOGPROBS),
    "top_logprobs": (_is_set, _LOGPROBS),
    "n_probs": (_is_set, _LOGPROBS),
    "prompt_logprobs": (_is_given, _LOGPROBS),
    "return_token_ids": (_is_set, _NUMBERS),
    "return_tokens": (_is_set, _NUMBERS),
    "modalities": (_is_more_than_text, "more than text is asked for"),
    "audio": (_is_set, "more than text is asked for"),
    "web_search_options": (_is_given, "the engine searches the web"),
}

# What holds for an answer from its beginning only.
_NOT_CONTINUED: Mapping[str, tuple[Test, str]] = {
    "response_format": (_is_not_text, _GRAMMAR),
    "structured_outputs": (_is_set, _GRAMMAR),
    "structural_tag": (_is_set, _GRAMMAR),
    "guided_json": (_is_given, _GRAMMAR),
    "guided_regex": (_is_set, _GRAMMAR),
    "guided_choice": (_is_set, _GRAMMAR),
    "guided_grammar": (_is_set, _GRAMMAR),
    "json_schema": (_is_given, _GRAMMAR),
    "grammar": (_is_set, _GRAMMAR),
    "regex": (_is_set, _GRAMMAR),
    "ebnf": (_is_set, _GRAMMAR),
    "thinking": (lambda value: value is not None and value != {"type": "disabled"}, "the engine thinks first"),
    "prediction": (_is_given, "a predicted answer is given"),
    "n_predict": (lambda value: value is not None and value != -1, "a bound that Headrace does not follow"),
    "min_tokens": (_is_set, "a least number of tokens is asked for"),
    "echo": (_is_set, "the prompt is to be echoed"),
    "suffix": (_is_set, "a suffix is to follow"),
    "continue_final_message": (_is_set, _RAW_TEMPLATE),
    "add_generation_prompt": (lambda value: value is False, _RAW_TEMPLATE),
}


def obstacle(body: bytes, endpoint: Endpoint) -> str | None:
    """Return why an answer to a request can never be continued; None when it can, by an engine that is able to.

    A request whose last message is the assistant's own has one: whether that message is a beginning to go on with, or a
    turn of its own, is for each engine to say, and text must not be put behind it unless that is known.

    Args:
        body: A request that has been parsed without an error.
        endpoint: Its contract.
    """
    fields = _fields(body)
    if fields is None:
        return "the request cannot be read"
    found = _tools(fields) or _first(_NEVER, fields) or _first(_NOT_CONTINUED, fields)
    if found is not None:
        return found
    return _last_message(fields) if endpoint is Endpoint.CHAT else _prompt(fields)


def is_repeatable(body: bytes) -> bool:
    """Return whether a request may get the same answer twice: temperature 0 or a seed, and one answer of plain text.

    Args:
        body: A request by either contract that has been parsed without an error.
    """
    fields = _fields(body)
    if fields is None or _tools(fields) or _first(_NEVER, fields) or _several_prompts(fields):
        return False
    temperature, seed = _value(fields, "temperature"), _value(fields, "seed")
    # Engines take a negative seed for a random one.
    return (type(temperature) in (int, float) and temperature == 0) or (type(seed) is int and seed >= 0)


def text_obstacle(text: str) -> str | None:
    """Return why no engine can continue a text, though it may be repeated; None when one can.

    Args:
        text: What has been delivered.
    """
    # Models think in the text where their engine does not take it out; templates cut it out of an assistant's message.
    if text.lstrip().startswith("<think>") or "</think>" in text:
        return "there is reasoning in the text"
    # The first half as it came, or what stands for it in views.
    if text and (text[-1] == "\ufffd" or ord(text[-1]) in _FIRST_HALVES):
        return "it broke off inside a character"
    return None


def text_to_send(text: str) -> str:
    """Return what of a text so far an engine is told: all but the white space at its end.

    Templates strip it, and a space alone tokenises otherwise than one before a word.
    """
    return text.rstrip()


def continued_body(body: bytes, endpoint: Endpoint, text: str, how: Continuation, *, tokens_left: int | None) -> bytes:
    """Return the request that makes another engine go on behind ``text``; all other fields are as they were.

    When ``text`` is nothing but white space, that is the request itself: the answer begins anew.

    Args:
        body: The engine's request, one without an ``obstacle``.
        endpoint: Its contract.
        text: What has been delivered.
        how: How the engine takes it; it concerns chats only.
        tokens_left: What becomes of the bounds that the request has, 1 or more. None: they stay.

    Raises:
        ValueError: ``how`` is ``NONE``, or the request is not of that contract.
    """
    sent = well_formed(text_to_send(text))
    if not sent:
        return body
    fields: dict[str, Any] = dict(_OBJECT.decode(body))
    if endpoint is Endpoint.CHAT:
        _append_message(fields, sent, how)
    else:
        _append_to_prompt(fields, sent)
    if tokens_left is not None:
        fields.update({name: tokens_left for name in TOKEN_BOUNDS if _value(fields, name) is not None})
    return msgspec.json.encode(fields)


def _append_message(fields: dict[str, Any], text: str, how: Continuation) -> None:
    if how is Continuation.NONE:
        raise ValueError("the engine does not continue")
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if how is Continuation.PREFIX:
        message["prefix"] = True
    if how is Continuation.FLAG:
        fields["continue_final_message"] = True
        fields["add_generation_prompt"] = False
    fields["messages"] = [*_ARRAY.decode(fields["messages"]), message]


def _append_to_prompt(fields: dict[str, Any], text: str) -> None:
    prompt = _value(fields, "prompt")
    if isinstance(prompt, str):
        fields["prompt"] = prompt + text
    elif isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        fields["prompt"] = [prompt[0] + text]
    else:
        raise ValueError("the prompt is not one text")


def _fields(body: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return _OBJECT.decode(body)
    except (ValueError, RecursionError):
        return None


def _value(fields: Mapping[str, Any], name: str) -> Any:
    """Return a field's value, None when it is not there; one that cannot be decoded is something, whatever it is."""
    if name not in fields:
        return None
    try:
        return msgspec.json.decode(fields[name])
    except (ValueError, RecursionError):
        return fields[name]


def _first(tests: Mapping[str, tuple[Test, str]], fields: Mapping[str, Any]) -> str | None:
    for name, (is_obstacle, reason) in tests.items():
        if name in fields and is_obstacle(_value(fields, name)):
            return f"{name}: {reason}"
    return None


def _tools(fields: Mapping[str, Any]) -> str | None:
    for offered, choice in (("tools", "tool_choice"), ("functions", "function_call")):
        if _value(fields, offered) and _value(fields, choice) != "none":
            return f"{offered}: the answer may call them"
    return None


def _last_message(fields: Mapping[str, Any]) -> str | None:
    messages = _ARRAY.decode(fields["messages"])
    last = msgspec.json.decode(messages[-1]) if messages else None
    if not isinstance(last, dict) or last.get("role") == "assistant":
        return "messages: the last one is the assistant's already"
    return None


def _prompt(fields: Mapping[str, Any]) -> str | None:
    if _several_prompts(fields):
        return "prompt: there are several"
    prompt = _value(fields, "prompt")
    text = prompt[0] if isinstance(prompt, list) and prompt else prompt
    return None if isinstance(text, str) else "prompt: it is given as tokens"


def _several_prompts(fields: Mapping[str, Any]) -> bool:
    prompt = _value(fields, "prompt")
    return isinstance(prompt, list) and len(prompt) > 1 and not all(isinstance(part, int) for part in prompt)
