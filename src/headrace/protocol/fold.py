"""Folding deltas into what they add up to, without knowing their fields.

The rule, for a field that came before and comes again:

========================  =====================================================================
both text                 concatenated
both lists                concatenated; objects with the same ``index`` are folded into one
both objects              folded field by field, down to ``MAX_DEPTH``
a list and something else the other becomes a part of the list (text: ``{"type": "text", …}``)
anything else             the last one wins
null                      never replaces anything
``id``, ``type``, …       (``WHOLE``) the first one wins: engines repeat them whole
``name``                  as text, but a repetition of the whole name adds nothing
========================  =====================================================================
"""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 8
"""Nesting below a delta that is folded; deeper, the last value wins. Bounds the recursion that a peer can cause."""
MAX_REACH = 32
"""How far back a list is searched for an ``index``: keeps folding linear however many an engine sends."""
WHOLE = frozenset({"id", "type", "role", "index", "format"})
"""Fields that are not text in pieces."""


class Pieces:
    """Text that grows by appending: joined once, so a long answer of short deltas costs linear time."""

    __slots__ = ("_length", "_parts")

    def __init__(self, first: str) -> None:
        self._parts = [first]
        self._length = len(first)

    def append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def equals(self, text: str) -> bool:
        """True when the whole is ``text``. Joins only when the lengths agree, so asking each time stays linear."""
        return len(text) == self._length and str(self) == text

    def __str__(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]


def fold(into: dict[str, Any], delta: dict[str, Any], *, depth: int = MAX_DEPTH) -> None:
    """Fold the fields of ``delta`` into ``into``, whose texts may become ``Pieces``."""
    for key, value in delta.items():
        held = into.get(key)
        if value is None:
            into.setdefault(key, None)
        elif held is None:
            into[key] = _begun(value, depth)
        elif key in WHOLE:
            into[key] = held if str(held) else value
        elif key != "name" or not _repeats(held, value):
            into[key] = _merged(held, value, depth)


def joined(value: Any, *, depth: int = MAX_DEPTH * 2 + 2) -> Any:
    """Return ``value`` with all ``Pieces`` in it as text, copied as far down as they can be."""
    if isinstance(value, Pieces):
        return str(value)
    if depth and isinstance(value, dict):
        return {key: joined(item, depth=depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list):
        return [joined(item, depth=depth - 1) for item in value]
    return value


def _begun(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return Pieces(value)
    if depth and isinstance(value, dict):
        begun: dict[str, Any] = {}
        fold(begun, value, depth=depth - 1)
        return begun
    if isinstance(value, list):
        return _extended([], value, depth)
    return value


def _repeats(held: Any, value: Any) -> bool:
    return isinstance(held, Pieces) and isinstance(value, str) and held.equals(value)


def _merged(held: Any, value: Any, depth: int) -> Any:
    if isinstance(held, Pieces) and isinstance(value, str):
        held.append(value)
        return held
    if isinstance(held, list) or isinstance(value, list):
        items = held if isinstance(held, list) else [_part(held)]
        return _extended(items, value if isinstance(value, list) else [_part(value)], depth)
    if depth and isinstance(held, dict) and isinstance(value, dict):
        fold(held, value, depth=depth - 1)
        return held
    return _begun(value, depth)


def _part(value: Any) -> Any:
    return {"type": "text", "text": str(value)} if isinstance(value, str | Pieces) else value


def _extended(items: list[Any], more: list[Any], depth: int) -> list[Any]:
    for item in more:
        twin = _twin(items, item) if depth else None
        if twin is None:
            # Texts in a list are whole items and stay as they are; only an object can grow.
            items.append(_begun(item, depth - 1) if depth and isinstance(item, dict) else item)
        else:
            fold(twin, item, depth=depth - 1)
    return items


def _twin(items: list[Any], item: Any) -> dict[str, Any] | None:
    if not isinstance(item, dict) or type(item.get("index")) is not int:
        return None
    for held in reversed(items[-MAX_REACH:]):
        if isinstance(held, dict) and held.get("index") == item["index"]:
            return held
    return None
