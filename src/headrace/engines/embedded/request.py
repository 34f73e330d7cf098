"""From a chat request to what llama.cpp gets.

Only the fields named here pass: llama.cpp has others that would undo our bookkeeping (``id_slot``, ``n_cmpl``) or that
nobody bounds. It also accepts much that means nothing (no messages, a ``max_tokens`` of 0 or beyond 32 bits, a
``stop`` that is a number) and answers something else, so values are checked here. Words and codes of the errors are
those of OpenAI's API (https://platform.openai.com/docs/api-reference/chat/create).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headrace.errors import ClientRequestError

MAX_BYTES_PER_TOKEN = 64
"""A body longer than this for each token of context is refused unread. Text has about 4 bytes a token; counting the
tokens of a megabyte takes a second that cannot be cancelled."""

SHORT_BYTES = 400
"""Messages up to this long, as JSON, are a short prompt: with a system prompt about two batches of 64 tokens."""

MAX_SCHEMA_BYTES = 8192
"""Size of ``response_format``. A choice of 500 words (7 KB) takes 0.5 s to prepare, one of 20 000 over a minute, and
every stream waits for it."""

MAX_STOPS = 4
"""Strings in ``stop``; OpenAI's bound."""

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")

# Field: type, least, most. The last three are llama.cpp's own.
_RANGES: dict[str, tuple[str, float, float | None]] = {
    "n": ("integer", 1, None),
    "max_tokens": ("integer", 1, None),
    "max_completion_tokens": ("integer", 1, None),
    "temperature": ("decimal", 0, 2),
    "top_p": ("decimal", 0, 1),
    "frequency_penalty": ("decimal", -2, 2),
    "presence_penalty": ("decimal", -2, 2),
    "top_logprobs": ("integer", 0, 20),
    "top_k": ("integer", 0, 1000),
    "min_p": ("decimal", 0, 1),
    "repeat_penalty": ("decimal", 0, 2),
}

# llama.cpp takes 32 bits, and the largest value for "draw one".
_SEEDS = 2**32 - 1

_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")


class NativeRequest(msgspec.Struct, frozen=True):
    """A request as llama.cpp gets it."""

    body: bytes
    choices: int
    """Slots it takes."""
    is_short: bool
    """Whether its prompt is done within a batch or two."""


class _Passed(msgspec.Struct, kw_only=True):
    """Fields that reach llama.cpp."""

    messages: list[dict[str, Any]]
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    response_format: dict[str, Any] | None = None
    stream_options: dict[str, Any] | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None


class _Asked(_Passed, kw_only=True):
    """Those, and the fields that are refused."""

    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None


_decoder = msgspec.json.Decoder(_Asked)


def native_request(body: bytes, *, slots: int, context_tokens: int) -> NativeRequest:
    """Check a chat request and translate it.

    Args:
        body: JSON in OpenAI's shape.
        slots: Upper bound of ``n``.
        context_tokens: Upper bound of prompt and answer together.

    Raises:
        ClientRequestError: The request can never be served; ``param`` names the field.
    """
    if len(body) > context_tokens * MAX_BYTES_PER_TOKEN:
        raise ClientRequestError(
            f"This model's maximum context length is {context_tokens} tokens. "
            f"However, your request has {len(body)} bytes, which cannot fit. Please reduce the length of the messages.",
            code="context_length_exceeded",
            param="messages",
        )
    asked = _decode(body)
    _check_messages(asked.messages)
    for field, (kind, least, most) in _RANGES.items():
        _check_range(field, getattr(asked, field), kind, least, slots if field == "n" else most)
    _check_shapes(asked)
    _check_tools(asked)
    return NativeRequest(
        msgspec.json.encode(_native_fields(asked, context_tokens)),
        choices=asked.n or 1,
        is_short=len(msgspec.json.encode(asked.messages)) <= SHORT_BYTES,
    )


def _decode(body: bytes) -> _Asked:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        missing = _MISSING.search(text)
        if missing is not None:
            param = missing.group(1)
            raise ClientRequestError(
                f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param
            ) from error
        found = _PATH.search(text)
        param = found.group(1) if found is not None else None
        what = text[: found.start()] if found is not None else text
        raise ClientRequestError(
            f"Invalid type for '{param or 'body'}': {what}.", code="invalid_type", param=param
        ) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ClientRequestError("We could not parse the JSON body of your request.", code="invalid_json") from error


def _native_fields(asked: _Asked, context_tokens: int) -> dict[str, Any]:
    fields = {name: getattr(asked, name) for name in _Passed.__struct_fields__}
    fields = {name: value for name, value in fields.items() if value is not None}
    wanted = fields.pop("max_completion_tokens", None) or fields.pop("max_tokens", None)
    if wanted is not None:
        # More cannot come, and beyond 32 bits llama.cpp would take it for 0.
        fields["max_tokens"] = min(wanted, context_tokens)
    if asked.seed is not None:
        fields["seed"] = asked.seed % _SEEDS
    # The model's template knows no developer.
    fields["messages"] = [
        {**message, "role": "system"} if message.get("role") == "developer" else message for message in asked.messages
    ]
    fields["stream"] = True
    # Progress is not passed on: each report is a chance to cancel the prefill.
    fields["return_progress"] = True
    # A cached prompt is computed in other batches than a fresh one, which may turn a close decision. Who asks for the
    # same answer twice shall get it.
    fields["cache_prompt"] = asked.temperature != 0 and asked.seed is None
    return fields


def _check_messages(messages: list[dict[str, Any]]) -> None:
    if not messages:
        raise ClientRequestError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            code="empty_array",
            param="messages",
        )
    for index, message in enumerate(messages):
        if message.get("role") not in _ROLES:
            names = ", ".join(f"'{role}'" for role in _ROLES)
            raise ClientRequestError(
                f"Invalid value for 'messages[{index}].role'. Supported values are: {names}.",
                code="invalid_value",
                param=f"messages[{index}].role",
            )


def _check_range(field: str, value: float | None, kind: str, least: float, most: float | None) -> None:
    if value is None:
        return
    if value < least:
        where, sign, bound = "below minimum", ">=", least
    elif most is not None and value > most:
        where, sign, bound = "above maximum", "<=", most
    else:
        return
    raise ClientRequestError(
        f"Invalid '{field}': {kind} {where} value. Expected a value {sign} {bound:.15g}, but got {value:.15g} instead.",
        code=f"{kind}_{where.replace('imum', '').replace(' ', '_')}_value",
        param=field,
    )


def _check_shapes(asked: _Asked) -> None:
    if isinstance(asked.stop, list) and len(asked.stop) > MAX_STOPS:
        raise ClientRequestError(
            f"Invalid 'stop': array too long. Expected an array with maximum length {MAX_STOPS}, "
            f"but got an array with length {len(asked.stop)} instead.",
            code="array_above_max_length",
            param="stop",
        )
    if asked.logit_bias is not None and not all(-100 <= bias <= 100 for bias in asked.logit_bias.values()):
        raise ClientRequestError(
            "Invalid 'logit_bias': expected values from -100 to 100.", code="invalid_value", param="logit_bias"
        )
    if asked.response_format is not None:
        size_bytes = len(msgspec.json.encode(asked.response_format))
        if size_bytes > MAX_SCHEMA_BYTES:
            raise ClientRequestError(
                f"Invalid 'response_format': expected at most {MAX_SCHEMA_BYTES} bytes, but got {size_bytes} instead.",
                code="invalid_value",
                param="response_format",
            )


def _check_tools(asked: _Asked) -> None:
    """Refuse tools: the model's chat template would drop them without a word."""
    for field, choice in (("tools", asked.tool_choice), ("functions", asked.function_call)):
        if getattr(asked, field) and choice != "none":
            raise ClientRequestError(
                f"Unsupported parameter: '{field}' is not supported with this model.",
                code="unsupported_parameter",
                param=field,
            )
