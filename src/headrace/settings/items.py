"""All keys of a settings tree with their values, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from headrace.settings.shape import NOTHING, KeyPath, Leaf, Named, Table, shape_of


@dataclass(frozen=True)
class Item:
    """One key and its value."""

    path: KeyPath
    fields: KeyPath
    """The path in Python: names of fields instead of keys."""
    value: Any
    unit: str | None
    """``seconds``, ``bytes`` or ``dollars``."""
    nothing: str = NOTHING
    """What None is written as."""


def items(settings: msgspec.Struct) -> Iterator[Item]:
    """Yield every key with its value, the keys of a section before the sections in it, else in the tree's order.

    A section that is None is one item; names that the user chose come in their order.
    """
    return _items(shape_of(type(settings)), settings, (), ())


def _items(table: Table, values: Any, path: KeyPath, fields: KeyPath) -> Iterator[Item]:
    parts = [(key, part, getattr(values, part.field)) for key, part in table.parts.items()]
    # TOML: what follows the header of an inner section belongs to that.
    for key, part, value in sorted(parts, key=lambda entry: not _is_one_item(entry[1].shape, entry[2])):
        here, place = (*path, key), (*fields, part.field)
        match part.shape:
            case Leaf() as leaf:
                yield Item(here, place, value, leaf.unit, leaf.nothing)
            case Table() if value is None:
                yield Item(here, place, None, None)
            case Table() as inner:
                yield from _items(inner, value, here, place)
            case Named(table=inner):
                for name, section in value.items():
                    yield from _items(inner, section, (*here, name), (*place, name))


def _is_one_item(shape: Leaf | Table | Named, value: object) -> bool:
    return isinstance(shape, Leaf) or value is None
