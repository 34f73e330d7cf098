"""From a chat request to what llama.cpp gets.

Only the fields named here pass: llama.cpp has others that would undo our bookkeeping (``id_slot``, ``n_cmpl``) or that
nobody bounds. It also accepts much that means nothing (no messages, a ``max_tokens`` of 0 or beyond 32 bits, a
``stop`` that is a number) and answers something else, so values are checked here. Words and codes of the errors are
those of OpenAI's API (https://platform.openai.com/docs/api-reference/chat/create).
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.engines.embedded.native import NativeRequest
from headrace.engines.embedded.partial import Partial, beginning_with, partial_answer, split_end
from headrace.engines.embedded.sampling import (
    SHORT_BYTES,
    Sampling,
    check_sampling,
    check_size,
    decode,
    sampled_fields,
)
from headrace.errors import ClientRequestError

MAX_SCHEMA_BYTES = 8192
"""Size of ``response_format``. A choice of 500 words (7 KB) takes 0.5 s to prepare, one of 20 000 over a minute, and
every stream waits for it."""

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")


class _Passed(Sampling, kw_only=True):
    """Fields that reach llama.cpp."""

    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: dict[str, Any] | None = None


class _Asked(_Passed, kw_only=True):
    """Those, and the fields that are refused."""

    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None


_decoder = msgspec.json.Decoder(_Asked)


def native_chat(body: bytes, *, slots: int, context_tokens: int) -> NativeRequest:
    """Check a chat request and translate it.

    Args:
        body: JSON in OpenAI's shape.
        slots: Upper bound of ``n``.
        context_tokens: Upper bound of prompt and answer together.

    Raises:
        ClientRequestError: The request can never be served; ``param`` names the field.
    """
    check_size(body, context_tokens=context_tokens, param="messages")
    asked = decode(_decoder, body)
    _check_messages(asked.messages)
    check_sampling(asked, slots=slots)
    _check_schema(asked)
    _check_tools(asked)
    fields = sampled_fields(asked, _Passed.__struct_fields__, context_tokens)
    # The model's template knows no developer.
    fields["messages"] = [
        {**message, "role": "system"} if message.get("role") == "developer" else message for message in asked.messages
    ]
    again = _go_on(fields, asked, context_tokens)
    return NativeRequest(
        msgspec.json.encode(fields),
        choices=asked.n or 1,
        is_short=len(msgspec.json.encode(asked.messages)) <= SHORT_BYTES,
        again=again,
    )


def _go_on(fields: dict[str, Any], asked: _Asked, context_tokens: int) -> int:
    """Prepare for an answer that goes on behind a partial one. Returns how many characters it begins with anew."""
    text = partial_answer(asked.messages)
    if text is None:
        return 0
    partial = split_end(text, stops=_stops(asked)) if _may_write_again(asked) else Partial(text, "")
    end = [{**asked.messages[-1], "content": partial.kept}] if partial.kept else []
    fields["messages"] = [*fields["messages"][:-1], *end]
    fields["echo"] = False
    if partial.again:
        fields["grammar"] = beginning_with(partial.again)
        if "max_tokens" in fields:
            # For what is written again: mostly one token, and no more are taken off the count of those used.
            fields["max_tokens"] = min(fields["max_tokens"] + 1, context_tokens)
    return len(partial.again)


def _may_write_again(asked: _Asked) -> bool:
    form = (asked.response_format or {}).get("type", "text")
    return (asked.n or 1) == 1 and not asked.logprobs and form == "text"


def _stops(asked: _Asked) -> list[str]:
    return [asked.stop] if isinstance(asked.stop, str) else asked.stop or []


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


def _check_schema(asked: _Asked) -> None:
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
