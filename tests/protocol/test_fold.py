"""Folding deltas: one rule for every field."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.protocol.fold import MAX_DEPTH, Pieces, fold, joined


def folded(*deltas: dict[str, Any]) -> Any:
    into: dict[str, Any] = {}
    for delta in deltas:
        fold(into, delta)
    return joined(into)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", None, "b", "", "c"], "abc"),
        ([None, "a"], "a"),
        ([None, None], None),
        ([1, 2], 2),
        ([1, "a", "b"], "ab"),
        ([[1], [2, 3]], [1, 2, 3]),
        ([["a"], ["b"]], ["a", "b"]),
        ([{"x": "a", "y": {"z": "b"}}, {"x": "c", "y": {"z": "d"}}], {"x": "ac", "y": {"z": "bd"}}),
        ([{"x": 1}, 5], 5),
        ([5, {"x": "a"}, {"x": "b"}], {"x": "ab"}),
        (["a", [{"t": 1}], "b", 7], [{"type": "text", "text": "a"}, {"t": 1}, {"type": "text", "text": "b"}, 7]),
        ([[{"index": 0, "t": "a", "type": "x"}, {"index": 1, "t": "b"}], [{"index": 0, "t": "c", "type": "x"}]],
         [{"index": 0, "t": "ac", "type": "x"}, {"index": 1, "t": "b"}]),
        ([[{"t": "a"}, {"index": None}], [{"t": "a"}, {"index": 3}]], [{"t": "a"}, {"index": None}, {"t": "a"}, {"index": 3}]),
        ([[5], [{"index": 0}]], [5, {"index": 0}]),
    ],
)  # fmt: skip
def test_field_folds_by_its_type(values: list[Any], expected: Any) -> None:
    assert folded(*[{"f": value} for value in values]) == {"f": expected}


@pytest.mark.parametrize(("values", "expected"), [(["a", "a", "b"], "a"), (["", "a"], "a"), ([0, 1], 0)])
def test_identifiers_are_taken_whole(values: list[Any], expected: Any) -> None:
    assert folded(*[{"id": value} for value in values]) == {"id": expected}


def test_name_may_come_in_pieces_or_again_and_again() -> None:
    assert folded({"name": "get_"}, {"name": "time"}) == {"name": "get_time"}
    assert folded({"name": "get_time"}, {"name": "get_time"}, {"name": ""}) == {"name": "get_time"}
    assert folded({"name": 5}, {"name": "x"}) == {"name": "x"}


def test_depth_is_bounded() -> None:
    def nested(depth: int, text: str) -> dict[str, Any]:
        return {"d": nested(depth - 1, text)} if depth else {"l": [{"index": 0, "t": text}], "t": text}

    assert folded(nested(2, "a"), nested(2, "b")) == nested(2, "ab")
    assert folded(nested(900, "a"), nested(900, "b")) == nested(900, "b")
    deep = folded(nested(MAX_DEPTH + 1, "a"), nested(MAX_DEPTH + 1, "b"))
    for _ in range(MAX_DEPTH + 1):
        deep = deep["d"]
    assert deep["t"] == "b"


def test_pieces_know_when_they_are_whole() -> None:
    pieces = Pieces("a")
    pieces.append("b")
    assert pieces.equals("ab")
    assert not pieces.equals("ba")
    assert not pieces.equals("abc")
    assert str(pieces) == "ab"
