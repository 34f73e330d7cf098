"""An answer in neutral words, from the SDK's message and from OpenAI's, so that the two can be compared."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from anthropic.types import Message

from headrace.protocol.assemble import CompletionAssembler


def by_sdk(message: Message) -> dict[str, Any]:
    """Return what the SDK has made of an answer."""
    usage = message.usage
    blocks = message.content
    return {
        "id": message.id,
        "model": message.model,
        "text": "".join(block.text for block in blocks if block.type == "text"),
        "citations": [
            found.model_dump(mode="json") for block in blocks if block.type == "text" for found in block.citations or ()
        ],
        "thoughts": [
            {"type": "thinking", "thinking": block.thinking, "signature": block.signature}
            if block.type == "thinking"
            else {"type": "redacted_thinking", "data": block.data}
            for block in blocks
            if block.type in ("thinking", "redacted_thinking")
        ],
        "calls": [(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"],
        "stop_reason": message.stop_reason,
        "stop_sequence": message.stop_sequence,
        "stop_details": None if message.stop_details is None else message.stop_details.model_dump(mode="json"),
        "prompt_tokens": usage.input_tokens
        + (usage.cache_creation_input_tokens or 0)
        + (usage.cache_read_input_tokens or 0),
        "cached_tokens": usage.cache_read_input_tokens or 0,
        "completion_tokens": usage.output_tokens,
    }


def by_engine(lines: list[bytes]) -> dict[str, Any]:
    """Return what clients make of an answer's chunks."""
    completion = completion_of(lines)
    choice = completion["choices"][0]
    message, usage = choice["message"], completion.get("usage") or {}
    thoughts = [_thought(block) for block in message.get("thinking_blocks", ())]
    assert "".join(block.get("thinking", "") for block in thoughts) == (message.get("reasoning_content") or "")
    calls = message.get("tool_calls", ())
    return {
        "id": completion["id"],
        "model": completion["model"],
        "text": message["content"] or "",
        "citations": message.get("citations", []),
        "thoughts": thoughts,
        "calls": [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls],
        "stop_reason": choice.get("stop_reason"),
        "stop_sequence": choice.get("stop_sequence"),
        "stop_details": choice.get("stop_details"),
        "prompt_tokens": usage.get("prompt_tokens"),
        "cached_tokens": usage.get("prompt_tokens_details", {}).get("cached_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
    }


def completion_of(lines: list[bytes]) -> dict[str, Any]:
    """Return the blocking answer that some chunks make."""
    assembler = CompletionAssembler()
    for line in lines:
        assembler.add(line)
    found: dict[str, Any] = msgspec.json.decode(assembler.completion(usage=None))
    return found


def _thought(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block without its index; models that keep their thoughts to themselves send none."""
    whole = {name: value for name, value in block.items() if name != "index"}
    return {"thinking": "", "signature": "", **whole} if whole["type"] == "thinking" else whole
