"""The body of a blocking answer: ``chat.completion`` or ``text_completion``, made of the same deltas as the stream."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.engines.scripted.chunks import deltas_of, usage_of
from headrace.engines.scripted.plan import Plan
from headrace.types.engine import Endpoint


def answer_of(plan: Plan) -> bytes:
    """Return the answer as JSON."""
    is_chat = plan.endpoint is Endpoint.CHAT
    answer: dict[str, Any] = {
        "id": plan.id,
        "object": "chat.completion" if is_chat else "text_completion",
        "created": plan.created,
        "model": plan.model,
        "system_fingerprint": "fp_scripted",
        "choices": [(_choice if is_chat else _text_choice)(plan, index) for index in range(plan.n)],
    }
    if plan.has_usage:
        answer["usage"] = usage_of(plan, plan.n * plan.rounds)
    return msgspec.json.encode(answer)


def _choice(plan: Plan, index: int) -> dict[str, Any]:
    text: dict[str, list[str]] = {}
    tool_calls: list[dict[str, Any]] = []
    logprobs: list[Any] = []
    for delta, probabilities in deltas_of(plan, index):
        for field, value in msgspec.json.decode(delta).items():
            if field == "tool_calls":
                _add_tool_part(tool_calls, value[0])
            else:
                text.setdefault(field, []).append(value)
        if probabilities != b"null":
            logprobs += msgspec.json.decode(probabilities)["content"]
    message: dict[str, Any] = {"role": "assistant", "content": None}
    message |= {field: "".join(parts) for field, parts in text.items()}
    if tool_calls:
        message["tool_calls"] = tool_calls
    elif message["content"] is None:
        message["content"] = ""
    return {
        "index": index,
        "message": message,
        "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
        "finish_reason": plan.finish_reason,
    }


def _text_choice(plan: Plan, index: int) -> dict[str, Any]:
    text = "".join(msgspec.json.decode(delta)["content"] for delta, _ in deltas_of(plan, index))
    return {"index": index, "text": text, "logprobs": None, "finish_reason": plan.finish_reason}


def _add_tool_part(tool_calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    """Append a first frame, or add an argument fragment to the last call."""
    if "id" in part:
        del part["index"]
        tool_calls.append(part)
    else:
        tool_calls[-1]["function"]["arguments"] += part["function"]["arguments"]
