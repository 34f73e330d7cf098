"""The JSON of a plan's chunks, put together from bytes that are prepared once an answer.

Shape: OpenAI's ``chat.completion.chunk`` (https://platform.openai.com/docs/api-reference/chat-streaming/streaming), or
``text_completion`` (https://platform.openai.com/docs/api-reference/completions/object).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.engines.scripted.plan import Plan
from headrace.engines.scripted.script import ToolCall
from headrace.engines.scripted.text import pieces_of, words_of
from headrace.types.engine import Endpoint

SENT_AT = b'"sent_at":                 0'
"""Place for a timestamp. No text can hold these bytes: inside a JSON string the quotes would be escaped."""

_BEFORE_TEXT = b'{"content":'
_NULL = b"null"


def stamp(monotonic_s: float) -> bytes:
    """Return ``SENT_AT`` filled in, as long as it was."""
    return b'"sent_at":%18.6f' % monotonic_s


def json_bytes(value: Any) -> bytes:
    """Return compact JSON; text stays UTF-8."""
    return msgspec.json.encode(value)


class ChunkWriter:
    """Writes the chunks of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._is_chat = plan.endpoint is Endpoint.CHAT
        self._head = b'{"id":%b,"object":%b,"created":%d,"model":%b,"system_fingerprint":%b' % (
            json_bytes(plan.id),
            b'"chat.completion.chunk"' if self._is_chat else b'"text_completion"',
            plan.created,
            json_bytes(plan.model),
            b'"fp_scripted"',
        )
        if plan.script.pad_bytes:
            self._head += b',"padding":"%b"' % (b"x" * plan.script.pad_bytes)
        if plan.script.timestamps:
            self._head += b"," + SENT_AT
        field = b"delta" if self._is_chat else b"text"
        self._starts = [self._head + b',"choices":[{"index":%d,"%b":' % (index, field) for index in range(plan.n)]
        self._counts = [0] * plan.n
        self._is_continuous = plan.has_continuous_usage

    def delta(self, index: int, delta: bytes, logprobs: bytes = _NULL) -> bytes:
        """Return the chunk that carries the JSON object ``delta``, one token, for choice ``index``."""
        self._counts[index] += 1
        return self.uncounted(index, delta, logprobs)

    def role(self, index: int) -> bytes:
        """Return the chunk that begins choice ``index``."""
        return self.uncounted(index, b'{"role":"assistant","content":""}')

    def uncounted(self, index: int, delta: bytes, logprobs: bytes = _NULL) -> bytes:
        """Return a chunk as ``delta`` does, that no usage knows of, as of what a fault adds."""
        value = delta if self._is_chat else delta[len(_BEFORE_TEXT) : -1]
        end = self._usage_so_far(index) if self._is_continuous else b"}"
        return self._starts[index] + value + b',"logprobs":' + logprobs + b',"finish_reason":null}]' + end

    def finish(self, index: int, reason: str) -> bytes:
        """Return the chunk that ends choice ``index``."""
        nothing = b"{}" if self._is_chat else b'""'
        finish = b'%b,"logprobs":null,"finish_reason":%b}]' % (nothing, json_bytes(reason))
        return self._starts[index] + finish + (self._usage_so_far(index) if self._is_continuous else b"}")

    def usage(self) -> bytes:
        """Return the chunk with the usage object and no choice: all tokens counted so far."""
        return self._head + b',"choices":[],"usage":%b}' % json_bytes(usage_of(self._plan, sum(self._counts)))

    def _usage_so_far(self, index: int) -> bytes:
        """Return the end of a chunk that tells the usage of its own choice, as vLLM does.

        ``stream_options.continuous_usage_stats``: vllm/entrypoints/openai/chat_completion/serving.py. The role chunk
        tells 0 tokens; the last chunk, without choices, tells the sum of all choices.
        """
        return b',"usage":%b}' % json_bytes(usage_of(self._plan, self._counts[index]))


def usage_of(plan: Plan, completion_tokens: int) -> dict[str, int]:
    """Return OpenAI's usage object."""
    return {
        "prompt_tokens": plan.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": plan.prompt_tokens + completion_tokens,
    }


def text_delta(text: bytes) -> bytes:
    """Return the delta that adds ``text``, which is the inside of a JSON string."""
    return _BEFORE_TEXT + b'"' + text + b'"}'


def rounds(plan: Plan, writer: ChunkWriter) -> Iterator[tuple[bytes, ...]]:
    """Yield, for each delta number from 0, its chunk for every choice."""
    streams = [deltas_of(plan, index) for index in range(plan.n)]
    write = writer.delta
    if plan.n == 1:
        for delta, logprobs in streams[0]:
            yield (write(0, delta, logprobs),)
        return
    for deltas in zip(*streams, strict=True):
        yield tuple(write(index, delta, logprobs) for index, (delta, logprobs) in enumerate(deltas))


def deltas_of(plan: Plan, index: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield every delta of choice ``index`` with its logprobs, both JSON."""
    return itertools.islice(_deltas(plan, index), plan.rounds)


def _texts(plan: Plan, index: int) -> Iterator[bytes]:
    """Yield the text deltas of choice ``index`` that are to come, each as the inside of a JSON string."""
    pieces = pieces_of(plan.script, seed=plan.seed, index=index)
    rest = plan.rest
    if rest is None:
        return pieces
    return itertools.chain([rest.first] if rest.first else (), itertools.islice(pieces, rest.passed, None))


def _deltas(plan: Plan, index: int) -> Iterator[tuple[bytes, bytes]]:
    script = plan.script
    for word in words_of(script.reasoning or ""):
        yield json_bytes({script.reasoning_field: word}), _NULL
    for text in _texts(plan, index):
        yield text_delta(text), (_logprobs(text) if plan.has_logprobs else _NULL)
    for position, call in enumerate(script.tool_calls):
        call_id = call.id or f"call_{plan.id[-12:]}{index:03d}{position:03d}"
        for part in _tool_parts(call, call_id):
            yield json_bytes({"tool_calls": [{"index": position, **part}]}), _NULL


def _tool_parts(call: ToolCall, call_id: str) -> Iterator[dict[str, Any]]:
    yield {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    for start in range(0, len(call.arguments), call.fragment_chars):
        yield {"function": {"arguments": call.arguments[start : start + call.fragment_chars]}}


def _logprobs(text: bytes) -> bytes:
    """Return made-up log probabilities of one token."""
    raw = list(msgspec.json.decode(b'"' + text + b'"', type=str).encode())
    return b'{"content":[{"token":"%b","logprob":-0.25,"bytes":%b,"top_logprobs":[]}],"refusal":null}' % (
        text,
        json_bytes(raw),
    )
