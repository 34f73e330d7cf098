"""Requests by OpenAI's contracts: what Headrace reads of them, and what the engine gets.

Sources: https://platform.openai.com/docs/api-reference/chat/create and
https://platform.openai.com/docs/api-reference/completions/create. Fields that are not named here pass through.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from headrace.errors import ClientRequestError

_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


class StreamOptions(msgspec.Struct, frozen=True):
    """``stream_options`` of a request."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    """vLLM's: usage with every chunk."""


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that Headrace itself acts on, whatever the contract."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    store: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    @property
    def max_output_tokens(self) -> int | None:
        """How many tokens each choice may have, as far as the client says; the newer name wins."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for the usage chunk."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def choices(self) -> int:
        """How many choices the answer has."""
        return self.n or 1


class ChatRequest(GenerationRequest, frozen=True, kw_only=True):
    """A request for a chat completion."""

    messages: list[dict[str, Any]]


class CompletionRequest(GenerationRequest, frozen=True, kw_only=True):
    """A request for a completion of plain text: one prompt or several, as text or as tokens."""

    prompt: str | list[str | int | list[int]]

    @property
    def choices(self) -> int:
        """``n`` of each prompt; a list of numbers is one prompt."""
        prompts = 1
        if isinstance(self.prompt, list) and not all(isinstance(part, int) for part in self.prompt):
            prompts = len(self.prompt)
        return prompts * (self.n or 1)


R = TypeVar("R", bound=GenerationRequest)

_ACTED_ON = frozenset(ChatRequest.__struct_fields__ + CompletionRequest.__struct_fields__)

_chat_decoder = msgspec.json.Decoder(ChatRequest)
_completion_decoder = msgspec.json.Decoder(CompletionRequest)
_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_chat_request(body: bytes, *, max_choices: int) -> ChatRequest:
    """Read a request body.

    Args:
        body: The whole body.
        max_choices: Largest ``n`` allowed.

    Raises:
        ClientRequestError: It is not JSON, or a field has the wrong shape; ``param`` names the field.
    """
    request = _parse(_chat_decoder, body, max_choices=max_choices)
    if not request.messages:
        raise ClientRequestError("messages must hold at least one message", param="messages")
    return request


def parse_completion_request(body: bytes, *, max_choices: int) -> CompletionRequest:
    """Read a request body for plain text.

    Args:
        body: The whole body.
        max_choices: Most choices allowed, over all prompts.

    Raises:
        ClientRequestError: It is not JSON, or a field has the wrong shape; ``param`` names the field.
    """
    request = _parse(_completion_decoder, body, max_choices=max_choices)
    if request.prompt == []:
        raise ClientRequestError("prompt must hold at least one prompt", param="prompt")
    if request.choices > max_choices:
        raise ClientRequestError(f"prompts and n together ask for more than {max_choices} choices", param="prompt")
    return request


def _check_names(body: bytes) -> None:
    """Refuse names that differ from those acted on in their case only: engines exist that take them for the same.

    Raises:
        ClientRequestError: There is one.
    """
    for name in _raw_decoder.decode(body):
        meant = name.lower()
        if name != meant and meant in _ACTED_ON:
            raise ClientRequestError(f"{name[:64]}: the name of this field is {meant}", param=name[:64])


def _parse(decoder: msgspec.json.Decoder[R], body: bytes, *, max_choices: int) -> R:
    try:
        # RFC 8259 8.1. msgspec looks only at the text that it keeps, and the rest would reach the engine.
        body.decode()
        request = decoder.decode(body)
        _check_names(body)
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ClientRequestError(f"the body is not valid JSON: {error}", code="invalid_json") from error
    if request.n is not None and not 1 <= request.n <= max_choices:
        raise ClientRequestError(f"n must be between 1 and {max_choices}", param="n")
    return request


def engine_body(
    body: bytes,
    request: GenerationRequest,
    *,
    model: str | None,
    max_tokens: int | None = None,
    max_tokens_as: str = "max_tokens",
    continuous_usage: bool = False,
) -> bytes:
    """Return the body for the engine: always streamed, always with usage, everything else as the client sent it.

    Args:
        body: The client's body.
        request: The same, parsed.
        model: What the engine calls the model; None leaves it as it is.
        max_tokens: Bound for a request that has none; None leaves it out.
        max_tokens_as: Field in which the engine takes it.
        continuous_usage: Whether to ask for usage with every chunk.
    """
    # Also a body that needs no change is written anew: of a name that stands there twice, the engine must see the one that
    # was looked at here.
    fields: dict[str, Any] = dict(_raw_decoder.decode(body))
    lacks_bound = max_tokens is not None and request.max_output_tokens is None
    fields["stream"] = True
    options: dict[str, Any] = {}
    if request.stream_options is not None:
        options = dict(_raw_decoder.decode(fields["stream_options"]))
    fields["stream_options"] = {**options, "include_usage": True}
    if continuous_usage:
        fields["stream_options"]["continuous_usage_stats"] = True
    if lacks_bound:
        fields[max_tokens_as] = max_tokens
    if model is not None and model != request.model:
        fields["model"] = model
    return msgspec.json.encode(fields)


def _field_error(text: str) -> ClientRequestError:
    """Turn msgspec's "Expected `int`, got `str` - at `$.n`" into an error that names the field."""
    found = _PATH.search(text)
    param = found.group(1) if found else None
    what = text[: found.start()] if found else text
    return ClientRequestError(f"{param or 'the body'}: {what}", param=param)
