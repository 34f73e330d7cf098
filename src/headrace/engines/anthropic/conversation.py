"""Messages: OpenAI's list as ``system`` and ``messages`` of the Messages API.

- ``system`` and ``developer`` messages, wherever they stand, become blocks of the one ``system`` prompt, in their order.
- ``tool`` messages become ``tool_result`` blocks of a ``user`` message.
- Messages of one role in a row become one: the results of parallel calls must stand together in the message that follows
  the calls, and the API would join the others itself.
- A message that says nothing is left out, since the API refuses empty ones. ``name`` has no equivalent and is left out.
- ``thinking_blocks`` of an assistant's message, in the shape in which ``MessageStreamDecoder`` hands them out, come first:
  the API wants them back unchanged in a turn with tool calls. ``reasoning_content`` repeats them and is not sent.
- A last message of the role ``assistant`` is the beginning of the answer. Newer models refuse it with 400.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from headrace.engines.anthropic.content import Block, blocks_of, text_blocks
from headrace.engines.anthropic.refusal import a_text, an_object, shown, unsupported, wrong
from headrace.protocol.json_object import decode_object

# What the API allows in the id of a call. Other engines put other things there.
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]")


class Conversation:
    """A request's messages, translated one by one."""

    def __init__(self) -> None:
        self.system: list[Block] = []
        self.messages: list[dict[str, Any]] = []

    def add(self, message: Any, at: str) -> None:
        """Translate the next message.

        Args:
            message: In OpenAI's shape.
            at: Its place, such as ``messages[0]``, for errors.

        Raises:
            ClientRequestError: It is wrong, or holds something that the API does not take.
        """
        fields = an_object(message, at)
        match fields.get("role"):
            case "system" | "developer":
                self.system += _system_blocks(fields, at)
            case "user":
                self._append("user", blocks_of(fields.get("content"), f"{at}.content"))
            case "assistant":
                self._append("assistant", list(_assistant_blocks(fields, at)))
            case "tool":
                self._append("user", [_tool_result(fields, at)])
            case role:
                raise unsupported(f"{at}.role", f"{shown(role)} is none of system, developer, user, assistant, tool")

    def _append(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        else:
            self.messages.append({"role": role, "content": blocks})


def _system_blocks(message: dict[str, Any], at: str) -> list[Block]:
    blocks = blocks_of(message.get("content"), f"{at}.content")
    if any(block["type"] != "text" for block in blocks):
        raise unsupported(f"{at}.content", f"a message of the role {message['role']} holds text only")
    return blocks


def _assistant_blocks(message: dict[str, Any], at: str) -> Iterator[Block]:
    for field in ("function_call", "audio"):
        if message.get(field) is not None:
            raise unsupported(f"{at}.{field}", "has no equivalent in this engine")
    for index, block in enumerate(_listed(message, "thinking_blocks", at)):
        yield _thinking(block, f"{at}.thinking_blocks[{index}]")
    yield from blocks_of(message.get("content"), f"{at}.content")
    if message.get("refusal") is not None:
        yield from text_blocks(a_text(message["refusal"], f"{at}.refusal"))
    for index, call in enumerate(_listed(message, "tool_calls", at)):
        yield _tool_use(call, f"{at}.tool_calls[{index}]")


def _listed(message: dict[str, Any], field: str, at: str) -> list[Any]:
    value = message.get(field)
    if value is not None and not isinstance(value, list):
        raise wrong(f"{at}.{field}", "must be a list")
    return value or []


def _thinking(value: Any, at: str) -> Block:
    block = an_object(value, at)
    if block.get("type") == "redacted_thinking":
        return {"type": "redacted_thinking", "data": a_text(block.get("data"), f"{at}.data")}
    if block.get("type") != "thinking":
        raise wrong(f"{at}.type", "must be thinking or redacted_thinking")
    signature = a_text(block.get("signature"), f"{at}.signature")
    # Models may keep their thoughts to themselves and send the signature alone.
    return {
        "type": "thinking",
        "thinking": a_text(block.get("thinking") or "", f"{at}.thinking"),
        "signature": signature,
    }


def _tool_use(value: Any, at: str) -> Block:
    call = an_object(value, at)
    if call.get("type", "function") != "function":
        raise unsupported(f"{at}.type", f"{shown(call['type'])} has no equivalent in this engine; it takes function")
    function = an_object(call.get("function"), f"{at}.function")
    name = a_text(function.get("name"), f"{at}.function.name")
    arguments = a_text(function.get("arguments") or "{}", f"{at}.function.arguments")
    value = decode_object(arguments.encode())
    if value is None:
        raise wrong(f"{at}.function.arguments", "must be a JSON object")
    return {"type": "tool_use", "id": _id(call.get("id"), f"{at}.id"), "name": name, "input": value}


def _tool_result(message: dict[str, Any], at: str) -> Block:
    content = message.get("content")
    result: Block = {"type": "tool_result", "tool_use_id": _id(message.get("tool_call_id"), f"{at}.tool_call_id")}
    blocks = blocks_of(content, f"{at}.content")
    if blocks:
        result["content"] = content if isinstance(content, str) else blocks
    if "cache_control" in message:
        result["cache_control"] = message["cache_control"]
    return result


def _id(value: Any, param: str) -> str:
    """Return a call's id as the API takes it; equal ids stay equal, different ones different."""
    text = a_text(value, param)
    if not text:
        raise wrong(param, "must not be empty")
    return _NOT_IN_ID.sub(lambda found: f"_{ord(found[0]):x}_", text)
