"""Tool calls from fragments of many engines."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.protocol.tool_calls import ToolCalls


def calls(*deltas: Any) -> list[dict[str, Any]]:
    tool_calls = ToolCalls()
    for delta in deltas:
        tool_calls.add(delta)
    return tool_calls.calls()


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def fragment(**fields: Any) -> dict[str, Any]:
    name, arguments = fields.pop("name", None), fields.pop("arguments", None)
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": function}


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param(
            [
                [fragment(index=0, id="a", type="function", name="f", arguments="")],
                [fragment(index=0, arguments='{"x"')],
                [fragment(index=1, id="b", name="g", arguments="{"), fragment(index=0, arguments=":1}")],
                [fragment(index=1, arguments="}")],
            ],
            [call("a", "f", '{"x":1}'), call("b", "g", "{}")],
            id="openai",
        ),
        pytest.param(
            [
                [fragment(index=0, id="r1", type="function", name="f")],
                [fragment(index=0, id="r2", type="function", arguments="{")],
                [fragment(index=0, id="r3", type="function", name="", arguments="}")],
            ],
            [call("r1", "f", "{}")],
            id="an id for each fragment",
        ),
        pytest.param(
            [[fragment(index=0, id="a", name="f", arguments="{}")], [fragment(index=0, id="b", name="g", arguments="{}")],
             [fragment(index=0, arguments=" ")]],
            [call("a", "f", "{}"), call("b", "g", "{} ")],
            id="all calls at index 0",
        ),
        pytest.param(
            [[fragment(index=0, id="a", name="f", arguments="{")], [fragment(index=0, id="a", name="f", arguments="}")]],
            [call("a", "f", "{}")],
            id="id and name repeated",
        ),
        pytest.param(
            [[fragment(id="a", name="f", arguments="{"), fragment(id="b", name="g")], [fragment(arguments="{}")],
             [fragment(id="a", arguments="}")]],
            [call("a", "f", "{}"), call("b", "g", "{}")],
            id="no index",
        ),
        pytest.param(
            [[fragment(name="f", arguments="{}")], [fragment(name="g", arguments="{}")], [fragment(arguments=" ")]],
            [call("call_0", "f", "{}"), call("call_1", "g", "{} ")],
            id="neither index nor id",
        ),
        pytest.param([[fragment(arguments="{}")]], [call("call_0", "", "{}")], id="arguments alone"),
        pytest.param([[fragment(index=0, name="f", arguments={"x": [1]})]], [call("call_0", "f", '{"x":[1]}')], id="arguments as object"),
        pytest.param([fragment(index=0, id="a", name="f", arguments="{}")], [call("a", "f", "{}")], id="no list"),
        pytest.param([[{"index": 0, "id": "a", "function": None}], [{"index": 0, "function": {"name": None}}]], [call("a", "", "")], id="nulls"),
        pytest.param(
            [[{"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SEL"}}], [{"index": 0, "custom": {"input": "ECT"}}]],
            [{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT"}}],
            id="custom tool",
        ),
        pytest.param([None, [None, 5]], [], id="nothing"),
    ],
)  # fmt: skip
def test_fragments_become_calls(deltas: list[Any], expected: list[dict[str, Any]]) -> None:
    assert calls(*deltas) == expected
