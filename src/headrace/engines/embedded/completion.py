"""From a plain completion request to what llama.cpp gets.

Source: https://platform.openai.com/docs/api-reference/completions/create. As for chat, only the fields named here pass.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.engines.embedded.native import NativeRequest
from headrace.engines.embedded.sampling import (
    SHORT_BYTES,
    Sampling,
    check_sampling,
    check_size,
    decode,
    sampled_fields,
)
from headrace.errors import ClientRequestError
from headrace.types.engine import Endpoint

DEFAULT_TOKENS = 16
"""Length of an answer when the request names none; OpenAI's default for this endpoint."""


class _Passed(Sampling, kw_only=True):
    """Fields that reach llama.cpp."""

    prompt: str | list[str | int | list[int]]


class _Asked(_Passed, kw_only=True):
    """Those, and the fields that are refused."""

    logprobs: int | None = None
    best_of: int | None = None
    echo: bool | None = None
    suffix: str | None = None


_decoder = msgspec.json.Decoder(_Asked)


def native_completion(body: bytes, *, slots: int, context_tokens: int) -> NativeRequest:
    """Check a completion request and translate it.

    Args:
        body: JSON in OpenAI's shape.
        slots: Upper bound of ``n``.
        context_tokens: Upper bound of prompt and answer together.

    Raises:
        ClientRequestError: The request can never be served; ``param`` names the field.
    """
    check_size(body, context_tokens=context_tokens, param="prompt")
    asked = decode(_decoder, body)
    check_sampling(asked, slots=slots)
    _check_support(asked)
    fields = sampled_fields(asked, _Passed.__struct_fields__, context_tokens)
    fields.setdefault("max_tokens", DEFAULT_TOKENS)
    fields["prompt"] = _only_prompt(asked.prompt)
    return NativeRequest(
        msgspec.json.encode(fields),
        choices=1,
        is_short=len(fields["prompt"]) <= SHORT_BYTES,
        endpoint=Endpoint.COMPLETIONS,
    )


def _only_prompt(prompt: Any) -> str:
    """Return the one text; an empty one would make llama.cpp answer nothing at all."""
    texts = prompt if isinstance(prompt, list) else [prompt]
    if len(texts) != 1 or not isinstance(texts[0], str) or not texts[0]:
        raise ClientRequestError(
            "Invalid 'prompt': this model takes one prompt, a text that is not empty.",
            code="invalid_value",
            param="prompt",
        )
    return texts[0]


def _check_support(asked: _Asked) -> None:
    """Refuse what llama.cpp would drop without a word, or count wrongly."""
    asked_for = {
        "n": (asked.n or 1) > 1,
        "best_of": (asked.best_of or 1) > 1,
        "echo": bool(asked.echo),
        "suffix": bool(asked.suffix),
        "logprobs": asked.logprobs is not None,
    }
    for field, is_asked in asked_for.items():
        if is_asked:
            raise ClientRequestError(
                f"Unsupported parameter: '{field}' is not supported with this model on this endpoint.",
                code="unsupported_parameter",
                param=field,
            )
