"""How to draw tokens: the fields that chat requests and plain completions share, checked and translated for llama.cpp.

Words and codes of the errors are those of OpenAI's API (https://platform.openai.com/docs/api-reference/chat/create).
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from headrace.errors import ClientRequestError

MAX_BYTES_PER_TOKEN = 64
"""A body longer than this for each token of context is refused unread. Text has about 4 bytes a token; counting the
tokens of a megabyte takes a second that cannot be cancelled."""

SHORT_BYTES = 400
"""Messages up to this long, as JSON, are a short prompt: with a system prompt about two batches of 64 tokens."""

MAX_STOPS = 4
"""Strings in ``stop``; OpenAI's bound."""

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


class Sampling(msgspec.Struct, kw_only=True):
    """Fields of both contracts that reach llama.cpp."""

    n: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    stream_options: dict[str, Any] | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None


S = TypeVar("S", bound=Sampling)


def decode(decoder: msgspec.json.Decoder[S], body: bytes) -> S:
    """Read a request.

    Raises:
        ClientRequestError: It is not JSON, or a field is missing or has the wrong type; ``param`` names it.
    """
    try:
        return decoder.decode(body)
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


def check_size(body: bytes, *, context_tokens: int, param: str) -> None:
    """Refuse a body that cannot fit into the context, unread.

    Raises:
        ClientRequestError: It cannot; ``param`` is what to shorten.
    """
    if len(body) > context_tokens * MAX_BYTES_PER_TOKEN:
        raise ClientRequestError(
            f"This model's maximum context length is {context_tokens} tokens. "
            f"However, your request has {len(body)} bytes, which cannot fit. Please reduce the length of the {param}.",
            code="context_length_exceeded",
            param=param,
        )


def check_sampling(asked: Sampling, *, slots: int) -> None:
    """Check the values of all fields that have bounds.

    Raises:
        ClientRequestError: One is out of its range; ``param`` names it.
    """
    for field, (kind, least, most) in _RANGES.items():
        _check_range(field, getattr(asked, field, None), kind, least, slots if field == "n" else most)
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


def sampled_fields(asked: Sampling, names: tuple[str, ...], context_tokens: int) -> dict[str, Any]:
    """Return the fields called ``names`` that have a value, as llama.cpp takes them, streamed."""
    fields = {name: getattr(asked, name) for name in names}
    fields = {name: value for name, value in fields.items() if value is not None}
    wanted = fields.pop("max_completion_tokens", None) or fields.pop("max_tokens", None)
    if wanted is not None:
        # More cannot come, and beyond 32 bits llama.cpp would take it for 0.
        fields["max_tokens"] = min(wanted, context_tokens)
    if asked.seed is not None:
        fields["seed"] = asked.seed % _SEEDS
    fields["stream"] = True
    # Progress is not passed on: each report is a chance to cancel the prefill.
    fields["return_progress"] = True
    # A cached prompt is computed in other batches than a fresh one, which may turn a close decision. Who asks for the
    # same answer twice shall get it.
    fields["cache_prompt"] = asked.temperature != 0 and asked.seed is None
    return fields


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
