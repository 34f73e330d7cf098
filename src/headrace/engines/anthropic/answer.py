"""One answer: the events of the Messages API as what they change in OpenAI's one choice.

===============================  ==========================================================================================
Event                            Change
===============================  ==========================================================================================
``message_start``                ``delta.role``
``text_delta``                   ``delta.content``
``thinking_delta``               ``delta.reasoning_content``, and the same in ``delta.thinking_blocks``
``signature_delta``              ``delta.thinking_blocks``, at the end of the block
``redacted_thinking``            ``delta.thinking_blocks``
``tool_use``                     ``delta.tool_calls`` with index, id and name
``input_json_delta``             ``delta.tool_calls`` with a piece of the arguments
``citations_delta``              ``delta.citations``
``message_delta``                ``finish_reason``, beside it ``stop_reason``, ``stop_sequence`` and ``stop_details``
``message_stop``                 the answer is whole
``ping``                         nothing
===============================  ==========================================================================================

``thinking_blocks`` are the API's blocks, each with an ``index`` that counts them, in pieces that fold as tool calls do:
``[{"index": 0, "type": "thinking", "thinking": "…"}]``, then ``[{"index": 0, "type": "thinking", "signature": "…"}]``, or
``[{"index": 1, "type": "redacted_thinking", "data": "…"}]``. Folded, they are what ``conversation`` takes back.

Events and blocks of other types are left out: the API may add some at any time
(https://platform.claude.com/docs/en/api/versioning). What is wrong is left out too, and told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.protocol.json_object import encode_object

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    # Tools that run at the API had too many turns: the answer ends here, and a client that sends it back gets more.
    "pause_turn": "stop",
}
"""https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons; a reason that is not there is a ``stop``."""

MAX_OPEN_BLOCKS = 8
"""Blocks that have begun and not ended. The API ends one before it begins the next."""

Choice = dict[str, Any]


class MalformedEvent(ValueError):
    """An event that cannot belong to an answer at this point."""


class _Block:
    """A block that has begun."""

    __slots__ = ("arguments", "index", "signature", "type")

    def __init__(self, kind: str, index: int = 0, *, arguments: str = "", signature: str = "") -> None:
        self.type = kind
        self.index = index
        """Among the tool calls or thinking blocks."""
        self.arguments = arguments
        """Of a tool call that has brought none in pieces: what it began with; else empty."""
        self.signature = signature
        """The last one: it comes whole, so that a further one takes its place."""


class Answer:
    """State of one answer. Time and memory for an event are of the order of its size."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.has_begun = False
        self.is_whole = False
        self._has_finished = False
        self._blocks: dict[int, _Block] = {}
        self._tool_calls = 0
        self._thinking_blocks = 0
        self._on_event: dict[str, Callable[[dict[str, Any]], Choice | None]] = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
        }

    def receive(self, event: dict[str, Any]) -> Choice | None:
        """Return how an event changes the choice: ``delta``, ``finish_reason`` and vendor fields; None: it does not.

        Raises:
            MalformedEvent: It is not as the API describes it, or comes out of turn; nothing was changed.
            UpstreamProtocolError: It is nested too deeply; likewise.
        """
        handle = self._on_event.get(_text(event, "type"))
        if handle is None:
            return None
        if self.has_begun == (event["type"] == "message_start"):
            raise MalformedEvent("begins twice, or goes on with what has not begun")
        return handle(event)

    def _message_start(self, event: dict[str, Any]) -> Choice:
        message = _object(event, "message")
        self.id, self.model = _text(message, "id"), _text(message, "model")
        self.has_begun = True
        return _changed(role="assistant", content="")

    def _block_start(self, event: dict[str, Any]) -> Choice | None:
        at, content = _index(event), _object(event, "content_block")
        if at in self._blocks or len(self._blocks) >= MAX_OPEN_BLOCKS:
            raise MalformedEvent("a block begins that has begun, or one too many")
        kind = _text(content, "type")
        begin = {
            "tool_use": self._begin_call,
            "thinking": self._begin_thought,
            "redacted_thinking": self._begin_thought,
        }
        block, choice = begin[kind](content) if kind in begin else (_Block(kind), _beginning(content))
        self._blocks[at] = block
        return choice

    def _begin_call(self, content: dict[str, Any]) -> tuple[_Block, Choice]:
        function = {"name": _text(content, "name"), "arguments": ""}
        call = {"index": self._tool_calls, "id": _text(content, "id"), "type": "function", "function": function}
        # The API begins with {} and sends the arguments in pieces, or no pieces when there are none.
        given = content.get("input")
        arguments = encode_object(given) if isinstance(given, dict) else b"{}"
        block = _Block("tool_use", self._tool_calls, arguments=arguments.decode())
        self._tool_calls += 1
        return block, _changed(tool_calls=[call])

    def _begin_thought(self, content: dict[str, Any]) -> tuple[_Block, Choice | None]:
        block = _Block(content["type"], self._thinking_blocks)
        if block.type == "thinking":
            block.signature = _text_or_none(content, "signature")
            choice = _thought(block, _text_or_none(content, "thinking"))
        else:
            choice = _in_thought(block, data=_text(content, "data"))
        self._thinking_blocks += 1
        return block, choice

    def _block_delta(self, event: dict[str, Any]) -> Choice | None:
        block, delta = self._blocks.get(_index(event)), _object(event, "delta")
        if block is None:
            raise MalformedEvent("goes on with a block that has not begun")
        return _changes(block, delta)

    def _block_stop(self, event: dict[str, Any]) -> Choice | None:
        block = self._blocks.pop(_index(event), None)
        if block is None:
            raise MalformedEvent("a block ends that has not begun")
        if block.signature:
            return _in_thought(block, signature=block.signature)
        return _arguments(block, block.arguments)

    def _message_delta(self, event: dict[str, Any]) -> Choice | None:
        delta = _object(event, "delta")
        reason = delta.get("stop_reason")
        if not isinstance(reason, str) or self._has_finished:
            return None
        self._has_finished = True
        vendor = {name: delta[name] for name in ("stop_sequence", "stop_details") if delta.get(name) is not None}
        finish = FINISH_REASONS.get(reason, "stop")
        return {"delta": {}, "finish_reason": finish, "stop_reason": reason, **vendor}

    def _message_stop(self, _: dict[str, Any]) -> None:
        self.is_whole = True


def _changed(**delta: Any) -> Choice:
    return {"delta": delta, "finish_reason": None}


def _content(text: str) -> Choice | None:
    return _changed(content=text) if text else None


def _beginning(content: dict[str, Any]) -> Choice | None:
    """Return what a block of another type begins with: the API begins text with an empty one."""
    return _content(_text(content, "text")) if content["type"] == "text" else None


def _changes(block: _Block, delta: dict[str, Any]) -> Choice | None:
    """Return what a piece of a block changes: nothing when such a block has no such pieces, or they are not translated."""
    match block.type, _text(delta, "type"):
        case "text", "text_delta":
            return _content(_text(delta, "text"))
        case "text", "citations_delta":
            return _changed(citations=[_object(delta, "citation")])
        case "thinking", "thinking_delta":
            return _thought(block, _text(delta, "thinking"))
        case "thinking", "signature_delta":
            block.signature = _text(delta, "signature")
            return None
        case "tool_use", "input_json_delta":
            return _arguments(block, _text(delta, "partial_json"))
        case _:
            return None


def _in_thought(block: _Block, **fields: str) -> Choice:
    return _changed(thinking_blocks=[{"index": block.index, "type": block.type, **fields}])


def _thought(block: _Block, text: str) -> Choice | None:
    if not text:
        return None
    choice = _in_thought(block, thinking=text)
    choice["delta"] = {"reasoning_content": text, **choice["delta"]}
    return choice


def _arguments(block: _Block, text: str) -> Choice | None:
    if not text:
        return None
    block.arguments = ""
    return _changed(tool_calls=[{"index": block.index, "function": {"arguments": text}}])


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise MalformedEvent(f"{name} is no text")
    return value


def _text_or_none(fields: dict[str, Any], name: str) -> str:
    """Return a text that may be missing; empty then."""
    return "" if fields.get(name) is None else _text(fields, name)


def _object(fields: dict[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    if not isinstance(value, dict):
        raise MalformedEvent(f"{name} is no object")
    return value


def _index(event: dict[str, Any]) -> int:
    value = event.get("index")
    if type(value) is not int:
        raise MalformedEvent("index is no number")
    return value
