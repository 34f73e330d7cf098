"""A chat request by OpenAI's contract: what Headrace reads of it, and what the engine gets.

Source: https://platform.openai.com/docs/api-reference/chat/create. Fields that are not named here pass through.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headrace.errors import ClientRequestError

_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


class StreamOptions(msgspec.Struct, frozen=True):
    """``stream_options`` of a request."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """The fields that Headrace itself acts on."""

    messages: list[dict[str, Any]]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    store: bool | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for the usage chunk."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


_decoder = msgspec.json.Decoder(ChatRequest)
_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_chat_request(body: bytes, *, max_choices: int) -> ChatRequest:
    """Read a request body.

    Args:
        body: The whole body.
        max_choices: Largest ``n`` allowed.

    Raises:
        ClientRequestError: It is not JSON, or a field has the wrong shape; ``param`` names the field.
    """
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ClientRequestError(f"the body is not valid JSON: {error}", code="invalid_json") from error
    if not request.messages:
        raise ClientRequestError("messages must hold at least one message", param="messages")
    if request.n is not None and not 1 <= request.n <= max_choices:
        raise ClientRequestError(f"n must be between 1 and {max_choices}", param="n")
    return request


def engine_body(body: bytes, request: ChatRequest, *, model: str | None) -> bytes:
    """Return the body for the engine: always streamed, always with usage, everything else as the client sent it.

    Args:
        body: The client's body.
        request: The same, parsed.
        model: Model name for a request that names none; None leaves it out.
    """
    if request.stream and request.wants_usage and request.model is not None:
        return body
    fields: dict[str, Any] = dict(_raw_decoder.decode(body))
    fields["stream"] = True
    options: dict[str, Any] = {}
    if request.stream_options is not None:
        options = dict(_raw_decoder.decode(fields["stream_options"]))
    fields["stream_options"] = {**options, "include_usage": True}
    if request.model is None and model is not None:
        fields["model"] = model
    return msgspec.json.encode(fields)


def _field_error(text: str) -> ClientRequestError:
    """Turn msgspec's "Expected `int`, got `str` - at `$.n`" into an error that names the field."""
    found = _PATH.search(text)
    param = found.group(1) if found else None
    what = text[: found.start()] if found else text
    return ClientRequestError(f"{param or 'the body'}: {what}", param=param)
