"""From a request to a plan: everything that one answer needs to know, with nothing left to chance or to a clock."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.engines.scripted.partial import Difference, Partial, Rest, opening_seed, partial_of, rest_after
from headrace.engines.scripted.request import ChatRequest, Request
from headrace.engines.scripted.script import Script, ToolCall
from headrace.engines.scripted.text import pieces_of, text_tokens
from headrace.engines.scripted.text import words_of as words_of  # noqa: PLC0414 (the benchmark's tests find it here)
from headrace.types.engine import Continuation, Endpoint


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """What a request gets instead of an answer, because of what it asks and what its script's engine can."""

    status: int
    message: str
    param: str
    code: str | None = None


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
    """Deltas of each choice that are sent, ``max_tokens`` respected."""
    rest: Rest | None = None
    """What follows the partial answer that the request has, if that is continued; None is a whole answer."""
    rejection: Rejection | None = None
    """What it gets instead."""
    finish_reason: str | None
    prompt_tokens: int
    has_usage: bool
    has_logprobs: bool
    has_continuous_usage: bool = False
    endpoint: Endpoint = Endpoint.CHAT


def plan_of(request: Request, script: Script, *, serial: int, created: int) -> Plan:
    """Return the plan of one answer; the same arguments give the same plan.

    Args:
        request: The request.
        script: Its script.
        serial: Number of the request: part of the id, and the seed if nothing else fixes one.
        created: Unix seconds.
    """
    partial = partial_of(request, script)
    seed = _seed(request, script, partial, serial)
    prompt_tokens = _prompt_tokens(request.texts())
    rejection, rest = _rejection(request, script, partial, prompt_tokens), None
    if rejection is None and partial is not None and partial.is_taken:
        # A model that goes on with its text has thought already.
        script = msgspec.structs.replace(script, reasoning=None)
        found = rest_after(_templated(partial, script), pieces_of(script, seed=seed, index=0))
        rest = found if isinstance(found, Rest) else None
        rejection = _differs(found, _prompt_field(request)) if isinstance(found, Difference) else None
    natural = _natural_rounds(script, rest)
    limit = request.most_tokens
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
        n=_choices(request, script),
        seed=seed,
        rounds=rounds,
        rest=rest,
        rejection=rejection,
        finish_reason=_finish_reason(script, is_cut=rounds < natural),
        prompt_tokens=prompt_tokens,
        has_usage=has_usage,
        has_continuous_usage=has_usage and options is not None and options.continuous_usage_stats,
        has_logprobs=is_chat and bool(request.logprobs if script.logprobs is None else script.logprobs),
        endpoint=Endpoint.CHAT if is_chat else Endpoint.COMPLETIONS,
    )


def _rejection(request: Request, script: Script, partial: Partial | None, prompt_tokens: int) -> Rejection | None:
    """Return what the engine says to a request that it cannot answer, whatever it would have answered."""
    rejection = None if partial is None else _partial_rejection(request, script, partial)
    if rejection is not None or script.context_tokens is None or prompt_tokens <= script.context_tokens:
        return rejection
    message = f"the prompt has {prompt_tokens} tokens, and this model's context has {script.context_tokens}"
    return Rejection(status=400, message=message, param=_prompt_field(request), code="context_length_exceeded")


def _partial_rejection(request: Request, script: Script, partial: Partial) -> Rejection | None:
    """Return what is wrong with a partial answer, without looking at its text."""
    if not partial.is_taken:
        message = "this model does not continue an answer: the last message must not be the assistant's"
        return Rejection(status=400, message=message, param="messages") if script.rejects_partial else None
    if script.continues is Continuation.FLAG and _begins_message(request):
        message = "`continue_final_message` needs `add_generation_prompt: false`"
        return Rejection(status=400, message=message, param="add_generation_prompt")
    if _choices(request, script) > 1:
        return Rejection(status=400, message="an answer is continued only where `n` is 1", param="n")
    return None


def _begins_message(request: Request) -> bool:
    """Tell whether the template would begin another message after the last: vLLM's default, as its other flag knows."""
    return isinstance(request, ChatRequest) and request.add_generation_prompt is not False


def _prompt_field(request: Request) -> str:
    return "messages" if isinstance(request, ChatRequest) else "prompt"


def _differs(difference: Difference, param: str) -> Rejection:
    # 422: what real engines would continue, but in a test it means that somebody mixed up two answers.
    return Rejection(status=422, message=difference.message, param=param, code="partial_answer_differs")


def _templated(partial: Partial, script: Script) -> str:
    """Return a partial answer as the model sees it."""
    return partial.text.rstrip() if script.strips and partial.form is not None else partial.text


def _natural_rounds(script: Script, rest: Rest | None) -> int:
    """Return how many deltas of each choice are to come, were there no ``max_tokens``."""
    left = 0 if rest is None else bool(rest.first) - rest.passed
    return (
        len(words_of(script.reasoning or "")) + text_tokens(script) + left + sum(map(_tool_frames, script.tool_calls))
    )


def _tool_frames(call: ToolCall) -> int:
    return 1 + -(-len(call.arguments) // call.fragment_chars)


def _choices(request: Request, script: Script) -> int:
    return script.n or request.n or 1


def _seed(request: Request, script: Script, partial: Partial | None, serial: int) -> int:
    if script.seed is not None:
        return script.seed
    if request.seed is not None:
        return request.seed
    if request.temperature == 0:
        return 0
    # Who continues an answer must know it again.
    continues = script.prompt is not None or script.continues is not Continuation.NONE
    return opening_seed(request, partial) if continues else serial


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
