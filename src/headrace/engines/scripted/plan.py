"""From a request to a plan: everything that one answer needs to know, with nothing left to chance or to a clock."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from headrace.engines.scripted.faults import BEFORE_HEAD
from headrace.engines.scripted.script import DEFAULT_TOKENS, MAX_CHOICES, Script, ToolCall
from headrace.errors import ClientRequestError
from headrace.types.engine import Endpoint

_WORD = re.compile(r"\s*\S+|\s+")
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

    def texts(self) -> list[Any]:
        """Return what the prompt consists of."""
        raise NotImplementedError


class ChatRequest(Request, frozen=True, kw_only=True):
    """A request to the chat endpoint."""

    messages: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]

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


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, decided."""

    id: str
    created: int
    """Unix seconds."""
    model: str
    script: Script
    is_stream: bool
    n: int
    seed: int
    rounds: int
    """Deltas of each choice, ``max_tokens`` respected."""
    text_tokens: int
    """Text deltas of each choice, before ``max_tokens``."""
    finish_reason: str | None
    prompt_tokens: int
    has_usage: bool
    has_logprobs: bool
    has_continuous_usage: bool = False
    endpoint: Endpoint = Endpoint.CHAT


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
        found = _PATH.search(str(error))
        raise ClientRequestError(str(error), param=found[1] or None if found else None) from None
    if script.fault is not None and not request.stream and not isinstance(script.fault, BEFORE_HEAD):
        raise ClientRequestError(
            f"fault `{script.fault.kind}` needs `stream: true` - at `$.simulate.fault`", param="simulate.fault"
        )
    if endpoint is Endpoint.COMPLETIONS and (script.tool_calls or script.reasoning):
        raise ClientRequestError("plain completions have neither tool calls nor reasoning", param="simulate")
    return request, script


def plan_of(request: Request, script: Script, *, serial: int, created: int) -> Plan:
    """Return the plan of one answer; the same arguments give the same plan.

    Args:
        request: The request.
        script: Its script.
        serial: Number of the request: part of the id, and the seed if nothing else fixes one.
        created: Unix seconds.
    """
    text_tokens = _text_tokens(script)
    natural = len(words_of(script.reasoning or "")) + text_tokens + sum(map(_tool_frames, script.tool_calls))
    limit = request.max_completion_tokens or request.max_tokens
    rounds = natural if limit is None else min(natural, limit)
    is_chat = isinstance(request, ChatRequest)
    has_usage = _has_usage(request, script)
    options = request.stream_options
    return Plan(
        id=f"{'chatcmpl' if is_chat else 'cmpl'}-{serial:024x}",
        created=created,
        model=request.model,
        script=script,
        is_stream=bool(request.stream),
        n=script.n or request.n or 1,
        seed=_seed(request, script, serial),
        rounds=rounds,
        text_tokens=text_tokens,
        finish_reason=_finish_reason(script, is_cut=rounds < natural),
        prompt_tokens=_prompt_tokens(request.texts()),
        has_usage=has_usage,
        has_continuous_usage=has_usage and options is not None and options.continuous_usage_stats,
        has_logprobs=is_chat and bool(request.logprobs if script.logprobs is None else script.logprobs),
        endpoint=Endpoint.CHAT if is_chat else Endpoint.COMPLETIONS,
    )


def words_of(text: str) -> list[str]:
    """Return the deltas of a text: words with the white space before them. Joined they are the text."""
    return _WORD.findall(text)


def _text_tokens(script: Script) -> int:
    if script.tokens is not None:
        return 0 if script.deltas == [] or script.text == "" else script.tokens
    if script.deltas is not None:
        return len(script.deltas)
    if script.text is not None:
        return len(words_of(script.text))
    return 0 if script.tool_calls else DEFAULT_TOKENS


def _tool_frames(call: ToolCall) -> int:
    return 1 + -(-len(call.arguments) // call.fragment_chars)


def _seed(request: Request, script: Script, serial: int) -> int:
    if script.seed is not None:
        return script.seed
    if request.seed is not None:
        return request.seed
    return 0 if request.temperature == 0 else serial


def _finish_reason(script: Script, *, is_cut: bool) -> str | None:
    if not isinstance(script.finish_reason, msgspec.UnsetType):
        return script.finish_reason
    if is_cut:
        return "length"
    return "tool_calls" if script.tool_calls else "stop"


def _has_usage(request: Request, script: Script) -> bool:
    if script.usage != "auto":
        return script.usage == "always"
    if not request.stream:
        return True
    return request.stream_options is not None and request.stream_options.include_usage


def _prompt_tokens(texts: list[Any]) -> int:
    """Count words of plain text contents: no tokenizer, but the same prompt always counts the same."""
    return max(1, sum(len(text.split()) for text in texts if isinstance(text, str)))
