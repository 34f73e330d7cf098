"""The Messages API by the official SDK's types: events are checked before they are sent, requests when they arrive."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from anthropic.types import RawMessageStreamEvent
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from anthropic.types.shared import ErrorResponse
from pydantic import BaseModel, TypeAdapter

SAMPLING = frozenset({"temperature", "top_p", "top_k"})
"""Older models take them; the SDK's types have dropped them together with the models."""

_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_ERROR: TypeAdapter[Any] = TypeAdapter(ErrorResponse)
_REQUEST: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsStreaming)

Event = dict[str, Any]


def plain(value: Any) -> Any:
    """Return what pydantic has validated as JSON values. Lists are validated while they are looked at."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def check_request(body: dict[str, Any]) -> None:
    """Check a request: every field has its type, and there is none that the SDK does not know."""
    typed = {name: value for name, value in body.items() if name not in SAMPLING}
    assert plain(_REQUEST.validate_python(typed)) == typed


def checked(event: Event) -> Event:
    """Return an event that is as the SDK describes it."""
    if event["type"] == "ping":
        return event
    found = (_ERROR if event["type"] == "error" else _EVENT).validate_python(event, strict=True)
    _check_known(found)
    return event


def _check_known(model: BaseModel) -> None:
    """Check that a model and those inside have no fields that the SDK does not know."""
    assert not model.model_extra, f"{type(model).__name__} has no {sorted(model.model_extra)}"
    for value in dict(model).values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel):
                _check_known(item)


def sse(event: Event) -> bytes:
    """Return an event as it goes over the wire."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def message_start(**usage: Any) -> Event:
    message: dict[str, Any] = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-8",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 1, **usage},
    }
    return checked({"type": "message_start", "message": message})


def block(index: int, content_block: dict[str, Any], *deltas: dict[str, Any]) -> list[Event]:
    """Return a whole block."""
    return [
        checked({"type": "content_block_start", "index": index, "content_block": content_block}),
        *(checked({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
        checked({"type": "content_block_stop", "index": index}),
    ]


def text(index: int, *pieces: str) -> list[Event]:
    deltas = ({"type": "text_delta", "text": piece} for piece in pieces)
    return block(index, {"type": "text", "text": ""}, *deltas)


def thinking(index: int, *pieces: str, signature: str = "sig==") -> list[Event]:
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    start = {"type": "thinking", "thinking": "", "signature": ""}
    return block(index, start, *deltas, {"type": "signature_delta", "signature": signature})


def redacted(index: int, data: str) -> list[Event]:
    return block(index, {"type": "redacted_thinking", "data": data})


def tool_use(index: int, id: str, name: str, *pieces: str) -> list[Event]:  # noqa: A002 (the field's own name)
    start = {"type": "tool_use", "id": id, "name": name, "input": {}}
    return block(index, start, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


def message_end(stop_reason: str = "end_turn", *, stop_sequence: str | None = None, **usage: Any) -> list[Event]:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"} if stop_reason == "refusal" else None
    delta = {"stop_reason": stop_reason, "stop_sequence": stop_sequence, "stop_details": details}
    return [
        checked({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 15, **usage}}),
        checked({"type": "message_stop"}),
    ]


def error(kind: str, message: str) -> Event:
    return checked({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_01"})


def answer(*blocks: Sequence[Event], stop_reason: str = "end_turn", **end: Any) -> list[Event]:
    """Return a whole answer."""
    events = [message_start(), checked({"type": "ping"})]
    return [*events, *(event for part in blocks for event in part), *message_end(stop_reason, **end)]
