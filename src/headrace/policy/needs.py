"""Needs: what a request asks of the engine that serves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from headrace.types.engine import Endpoint

_TEXT_PARTS = ("text", "refusal")
"""Content parts that every engine takes; others are images, audio and files."""

_TOOL_ROLES = ("tool", "function")


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks of an engine, and whose it is."""

    endpoint: Endpoint = Endpoint.CHAT
    choices: int = 1
    has_tools: bool = False
    """It offers tools, or tells of calls made before."""
    has_logprobs: bool = False
    has_schema: bool = False
    """``response_format`` is a JSON schema."""
    has_images: bool = False
    """Some content is not text: images, audio, files."""
    prompt_tokens: int = 0
    """An estimate."""
    max_tokens: int | None = None
    """How long an answer may become; None when the request does not say."""
    owner: str = ""
    tags: Mapping[str, str] = {}
    """Of the client's key."""

    @property
    def tags_as_text(self) -> frozenset[str]:
        """The tags, each as ``name=value``."""
        return frozenset(f"{name}={value}" for name, value in self.tags.items())


class _Format(msgspec.Struct):
    type: Any = None


class _Part(msgspec.Struct):
    type: Any = "text"


class _Message(msgspec.Struct):
    """Content stays unread here: it is nearly all of a request, and nearly always text."""

    role: Any = None
    content: msgspec.Raw = msgspec.Raw(b"null")
    tool_calls: Any = None
    function_call: Any = None


T = TypeVar("T")

_request_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_message_decoder = msgspec.json.Decoder(list[_Message])
_part_decoder = msgspec.json.Decoder(list[_Part])
_format_decoder = msgspec.json.Decoder(_Format)
_any_decoder = msgspec.json.Decoder()


def needs_of(
    body: bytes, *, endpoint: Endpoint, choices: int, prompt_tokens: int, owner: str, tags: Mapping[str, str]
) -> Needs:
    """Return what a request needs.

    Fields of a shape that is not expected ask for nothing: the engine says what is wrong with them.

    Args:
        body: A JSON object in the endpoint's shape.
        endpoint: Which contract it follows.
        choices: How many answers there are to be.
        prompt_tokens: Estimated.
        owner: Whose request it is.
        tags: Of its key.
    """
    request = _read(_request_decoder, body) or {}
    is_chat = endpoint is Endpoint.CHAT
    messages = (_read(_message_decoder, request.get("messages")) or []) if is_chat else []
    offers_tools = is_chat and bool(_value(request, "tools") or _value(request, "functions"))
    return Needs(
        endpoint=endpoint,
        choices=choices,
        has_tools=offers_tools or any(map(_tells_of_tools, messages)),
        has_logprobs=_wants_logprobs(_value(request, "logprobs")),
        has_schema=_has_schema(request.get("response_format")),
        has_images=any(map(_has_images, messages)),
        prompt_tokens=prompt_tokens,
        max_tokens=_max_tokens(request),
        owner=owner,
        tags=tags,
    )


def _read(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw | None) -> T | None:
    """Return the value that is meant; None when there is none, or another one than the decoder knows."""
    if data is None:
        return None
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError):
        return None


def _value(request: Mapping[str, msgspec.Raw], name: str) -> Any:
    return _read(_any_decoder, request.get(name))


def _tells_of_tools(message: _Message) -> bool:
    return bool(message.tool_calls or message.function_call) or message.role in _TOOL_ROLES


def _has_images(message: _Message) -> bool:
    parts = _read(_part_decoder, message.content)
    return parts is not None and any(part.type not in _TEXT_PARTS for part in parts)


def _wants_logprobs(value: Any) -> bool:
    """Chats say true or false; completions a number, and 0 asks for those of the chosen tokens."""
    return isinstance(value, int) and value is not False


def _has_schema(response_format: msgspec.Raw | None) -> bool:
    read = _read(_format_decoder, response_format)
    return read is not None and read.type == "json_schema"


def _max_tokens(request: Mapping[str, msgspec.Raw]) -> int | None:
    """Return the bound on an answer; the newer name wins, as in ``GenerationRequest``."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = _value(request, name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
