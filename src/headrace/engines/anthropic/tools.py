"""Tools: OpenAI's functions as tools of the Messages API, and the choice among them."""

from __future__ import annotations

from typing import Any

from headrace.engines.anthropic.refusal import a_text, an_object, shown, unsupported, wrong

_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_PASSED_ON = ("cache_control", "eager_input_streaming")
"""The API's own fields, which may stand beside ``function``."""


def tools_of(tools: list[Any]) -> list[dict[str, Any]]:
    """Return a request's tools.

    Raises:
        ClientRequestError: One of them is no function, or is wrong.
    """
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]


def tool_choice_of(choice: Any, *, is_parallel: bool | None) -> dict[str, Any] | None:
    """Return the choice among tools that a request has; None leaves it to the API.

    Args:
        choice: ``tool_choice``.
        is_parallel: ``parallel_tool_calls``.

    Raises:
        ClientRequestError: The choice is of a kind that the API does not know.
    """
    found = None if choice is None else _choice(choice)
    if is_parallel is False and (found is None or found["type"] != "none"):
        return {**(found or {"type": "auto"}), "disable_parallel_tool_use": True}
    return found


def _tool(value: Any, at: str) -> dict[str, Any]:
    tool = an_object(value, at)
    if tool.get("type") != "function":
        raise unsupported(
            f"{at}.type", f"{shown(tool.get('type'))} has no equivalent in this engine; it takes function"
        )
    function = an_object(tool.get("function"), f"{at}.function")
    parameters = an_object(function.get("parameters") or {}, f"{at}.function.parameters")
    found: dict[str, Any] = {
        "name": a_text(function.get("name"), f"{at}.function.name"),
        # OpenAI takes a function without parameters; here a schema must be there, and be an object's.
        "input_schema": {"type": "object", **parameters},
    }
    if function.get("description") is not None:
        found["description"] = a_text(function["description"], f"{at}.function.description")
    if function.get("strict"):
        found["strict"] = True
    return found | {field: tool[field] for field in _PASSED_ON if field in tool}


def _choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}
    if isinstance(choice, str):
        raise wrong("tool_choice", f"{shown(choice)} is none of none, auto, required")
    kind = an_object(choice, "tool_choice").get("type")
    if kind != "function":
        raise unsupported("tool_choice.type", f"{shown(kind)} has no equivalent in this engine; it takes function")
    function = an_object(choice.get("function"), "tool_choice.function")
    return {"type": "tool", "name": a_text(function.get("name"), "tool_choice.function.name")}
