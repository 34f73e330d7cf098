"""A request as the simulator reads it: the fields that an answer depends on, and the script that it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from headrace.engines.scripted.faults import BEFORE_HEAD
from headrace.engines.scripted.script import MAX_CHOICES, Script
from headrace.errors import ClientRequestError
from headrace.types.engine import Endpoint

_PATH = re.compile(r" - at `\$\.?(.*)`$")


class StreamOptions(msgspec.Struct, frozen=True):
    """OpenAI's ``stream_options``."""

    include_usage: bool = False
    continuous_usage_stats: bool = False
    """vLLM's: every chunk tells the usage so far. Only beside ``include_usage``."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a request that an answer depends on; others are ignored."""

    model: str
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHOICES)] | None = None
    seed: int | None = None
    temperature: float | None = None
    logprobs: bool | int | None = None
    simulate: dict[str, Any] | None = None

    @property
    def most_tokens(self) -> int | None:
        """Deltas that the client wants at most, of each choice."""
        return self.max_completion_tokens or self.max_tokens

    def texts(self) -> list[Any]:
        """Return what the prompt consists of."""
        raise NotImplementedError


class ChatRequest(Request, frozen=True, kw_only=True):
    """A request to the chat endpoint."""

    messages: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    continue_final_message: bool | None = None
    """vLLM's and SGLang's: go on with the last message."""
    add_generation_prompt: bool | None = None
    """vLLM's; None is true."""

    def texts(self) -> list[Any]:
        return [message.get("content") for message in self.messages]


class CompletionRequest(Request, frozen=True, kw_only=True):
    """A request to the endpoint for plain prompts."""

    prompt: str

    def texts(self) -> list[Any]:
        return [self.prompt]


class _Merged(msgspec.Struct):
    """Gives errors in a merged script the path they have in the request."""

    simulate: Script


_DECODERS: dict[Endpoint, msgspec.json.Decoder[Any]] = {
    Endpoint.CHAT: msgspec.json.Decoder(ChatRequest),
    Endpoint.COMPLETIONS: msgspec.json.Decoder(CompletionRequest),
}


def read_request(body: bytes, default: Script, endpoint: Endpoint = Endpoint.CHAT) -> tuple[Request, Script]:
    """Return the request and the script it asks for.

    Raises:
        ClientRequestError: It is no such request, or its script is wrong; the message ends with the path of the field.
    """
    try:
        request: Request = _DECODERS[endpoint].decode(body)
        if not request.simulate:
            script = default
        else:
            merged = {**msgspec.to_builtins(default), **request.simulate}
            script = msgspec.convert({"simulate": merged}, type=_Merged).simulate
    except RecursionError:
        raise ClientRequestError("the request is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise wrong_field(error) from None
    if script.fault is not None and not request.stream and not isinstance(script.fault, BEFORE_HEAD):
        raise ClientRequestError(
            f"fault `{script.fault.kind}` needs `stream: true` - at `$.simulate.fault`", param="simulate.fault"
        )
    if endpoint is Endpoint.COMPLETIONS and (script.tool_calls or script.reasoning):
        raise ClientRequestError("plain completions have neither tool calls nor reasoning", param="simulate")
    return request, script


def read_script(data: str | bytes, over: Mapping[str, Any]) -> Script:
    """Return the script that JSON holds, with the fields of ``over`` laid over it.

    Raises:
        ClientRequestError: It holds none; the message ends with the path of the field.
    """
    try:
        return msgspec.convert({**msgspec.json.decode(data, type=dict[str, Any]), **over}, type=Script)
    except RecursionError:
        raise ClientRequestError("the script is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise wrong_field(error) from None


def wrong_field(error: Exception) -> ClientRequestError:
    """Return what is said of JSON that does not fit; ``param`` is the path that the decoder's message ends with."""
    found = _PATH.search(str(error))
    return ClientRequestError(str(error), param=found[1] or None if found else None)
