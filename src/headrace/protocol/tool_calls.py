"""Tool calls put together from their fragments, as engines really send them."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.protocol.fold import fold, joined


class ToolCalls:
    """The tool calls of one message.

    OpenAI's rule: fragments with the same ``index`` belong together. Around it:

    - Without an index: a known ``id`` belongs to its call, a new ``id`` or a function name without an id begins a call,
      anything else continues the last one.
    - The same index with another ``id`` *and* a function name begins a call (some hosts number all calls 0); with another id
      alone it does not (older vLLM makes up an id for each fragment). The first id stays.
    - ``arguments`` that come as an object instead of text become its JSON.
    - A call that never got an id is named ``call_0``, ``call_1`` …, since clients must name it in their reply.
    """

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._by_index: dict[int, dict[str, Any]] = {}
        self._by_id: dict[str, dict[str, Any]] = {}

    def add(self, fragments: Any) -> None:
        """Fold the fragments of one delta; a single fragment may stand without its list."""
        for fragment in fragments if isinstance(fragments, list) else [fragments]:
            if isinstance(fragment, dict):
                self._add(fragment)

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls so far, in the order in which they began, in the shape of a whole message."""
        return [_finished(joined(call), position) for position, call in enumerate(self._calls)]

    def _add(self, fragment: dict[str, Any]) -> None:
        index, call_id = fragment.get("index"), fragment.get("id")
        call = self._at(index, fragment) if type(index) is int else self._without_index(fragment)
        if call is None:
            call = {}
            self._calls.append(call)
        if type(index) is int:
            self._by_index[index] = call
        if isinstance(call_id, str) and call_id:
            self._by_id.setdefault(call_id, call)
        function = fragment.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), dict | list):
            arguments = msgspec.json.encode(function["arguments"]).decode()
            fragment = {**fragment, "function": {**function, "arguments": arguments}}
        fold(call, {key: value for key, value in fragment.items() if key != "index"})

    def _at(self, index: int, fragment: dict[str, Any]) -> dict[str, Any] | None:
        call = self._by_index.get(index)
        if call is None or not _names_function(fragment):
            return call
        held_id, new_id = str(call.get("id") or ""), str(fragment.get("id") or "")
        return None if held_id and new_id and held_id != new_id else call

    def _without_index(self, fragment: dict[str, Any]) -> dict[str, Any] | None:
        call_id = fragment.get("id")
        if isinstance(call_id, str) and call_id:
            return self._by_id.get(call_id)
        return None if _names_function(fragment) or not self._calls else self._calls[-1]


def _names_function(fragment: dict[str, Any]) -> bool:
    function = fragment.get("function") or fragment.get("custom")
    return isinstance(function, dict) and bool(function.get("name"))


def _finished(call: dict[str, Any], position: int) -> dict[str, Any]:
    finished = {**call, "id": call.get("id") or f"call_{position}", "type": call.get("type") or "function"}
    if finished["type"] == "function":
        function = call.get("function")
        finished["function"] = {"name": "", "arguments": "", **_present(function)}
    return finished


def _present(function: Any) -> dict[str, Any]:
    return {key: value for key, value in function.items() if value is not None} if isinstance(function, dict) else {}
