"""Chunks folded into the one ``chat.completion`` or ``text_completion`` object that a blocking client gets.

Shapes: https://platform.openai.com/docs/api-reference/chat/object and
https://platform.openai.com/docs/api-reference/completions/object. What an engine sent survives:

- Top level: the last value that is not null wins, except ``id`` and ``created``, where the first stays (a continued answer
  keeps its first identity). ``obfuscation``, padding against traffic analysis of streams, is left out.
- Choice: lists concatenate (``token_ids``), else the last value that is not null wins (``stop_reason``). Its ``logprobs``
  fold as deltas do.
- Delta: see ``headrace.protocol.fold``; tool calls: ``headrace.protocol.tool_calls``.
"""

from __future__ import annotations

from typing import Any

from headrace.protocol.chunk_view import choices_of
from headrace.protocol.fold import fold, joined
from headrace.protocol.json_object import decode_object, encode_object, well_formed
from headrace.protocol.tool_calls import ToolCalls
from headrace.types.engine import Endpoint

_FIRST_WINS = frozenset({"id", "created"})
_NOT_KEPT = frozenset({"choices", "object", "obfuscation"})
_OURS = frozenset({"index", "delta", "message"})
"""Fields of a choice that the assembler writes itself."""


class CompletionAssembler:
    """Folds the chunks of one answer. Time is linear in the bytes added; memory is of the order of the result."""

    def __init__(self, endpoint: Endpoint = Endpoint.CHAT) -> None:
        self._is_chat = endpoint is Endpoint.CHAT
        self._top: dict[str, Any] = {"id": None, "created": None, "model": None}
        self._choices: dict[int, _Choice] = {}

    @property
    def text(self) -> str:
        """The content of choice 0 so far; of content in parts, the text of its text parts."""
        choice = self._choices.get(0)
        return "" if choice is None else well_formed(choice.text())

    def add(self, data: bytes) -> None:
        """Fold chunks: JSON objects joined by LF, as in ``Chunks`` and ``Segment``; anything else is skipped."""
        for line in data.split(b"\n"):
            chunk = decode_object(line)
            if chunk is not None:
                self._add_chunk(chunk)

    def completion(self, *, usage: dict[str, Any] | None) -> bytes:
        """Return what was added so far as one JSON object; may be called again after more chunks.

        Args:
            usage: OpenAI's usage object for the whole answer; None takes the last one that a chunk carried.
        """
        top = {key: value for key, value in self._top.items() if key != "usage"}
        usage = usage if usage is not None else self._top.get("usage")
        completion = {
            **top,
            "id": top["id"] or "",
            "object": "chat.completion" if self._is_chat else "text_completion",
            "created": top["created"] or 0,
            "model": top["model"] or "",
            "choices": [
                choice.finished(index, is_chat=self._is_chat) for index, choice in sorted(self._choices.items())
            ],
        }
        return encode_object(completion if usage is None else {**completion, "usage": usage})

    def _add_chunk(self, chunk: dict[str, Any]) -> None:
        for key, value in chunk.items():
            is_settled = key in _FIRST_WINS and self._top[key]
            if value is not None and key not in _NOT_KEPT and not is_settled:
                self._top[key] = value
        for index, choice, delta in choices_of(chunk):
            self._choices.setdefault(index, _Choice()).add(choice, delta)


class _Choice:
    """One choice while it grows."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {"finish_reason": None}
        self._logprobs: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._text: dict[str, Any] = {}
        self._tool_calls = ToolCalls()

    def add(self, choice: dict[str, Any], delta: dict[str, Any]) -> None:
        for key, value in choice.items():
            if key in _OURS:
                continue
            if key == "logprobs":
                fold(self._logprobs, {"logprobs": value})
            elif key == "text":
                fold(self._text, {"text": value})
            elif isinstance(value, list):
                fold(self._fields, {key: value})
            elif value is not None and value != "":
                self._fields[key] = value
        self._tool_calls.add(delta.get("tool_calls"))
        fold(self._message, {key: value for key, value in delta.items() if key != "tool_calls"})

    def text(self) -> str:
        content = joined(self._text.get("text") or self._message.get("content"))
        if isinstance(content, list):
            return "".join(
                part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        return content if isinstance(content, str) else ""

    def finished(self, index: int, *, is_chat: bool) -> dict[str, Any]:
        answer = {"message": self._finished_message()} if is_chat else {"text": self.text()}
        return {
            **joined(self._fields),
            "index": index,
            **answer,
            "logprobs": None,
            **joined(self._logprobs),
        }

    def _finished_message(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": None, "refusal": None, **joined(self._message)}
        message["role"] = message["role"] or "assistant"
        calls = self._tool_calls.calls()
        if calls:
            message["tool_calls"] = calls
        if not message["content"] and (calls or message.get("function_call")):
            # OpenAI's blocking answer has null there; engines open the stream with "".
            message["content"] = None
        return message
