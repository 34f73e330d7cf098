"""The shape of a settings tree: which keys it has, and what may stand under each.

Looked up once, since ten thousand tables under names may have the same shape.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args, get_origin

import msgspec
from msgspec import inspect

KeyPath: TypeAlias = tuple[str, ...]
"""Keys from the root down; names that the user chose among them."""

NOTHING = "none"
"""What None is written as: TOML and environments cannot say null, but must be able to undo what stands in a lower source."""

DEFAULT = "default"
"""The same where ``none`` is a value of its own."""

ANY_NAME = "NAME"
"""Stands for every name that the user may choose, in paths of the tree itself."""


@dataclass(frozen=True)
class Leaf:
    """A key with a value."""

    kind: Any
    """The value's type, as ``msgspec.convert`` takes it."""
    options: tuple[inspect.Type, ...]
    """The same, looked into: what the value may be."""

    unit: str | None
    """``seconds``, ``bytes``, ``dollars`` or None."""

    @property
    def is_optional(self) -> bool:
        return any(isinstance(option, inspect.NoneType) for option in self.options)

    @property
    def nothing(self) -> str:
        """What None is written as."""
        enums = (option.cls for option in self.options if isinstance(option, inspect.EnumType))
        return DEFAULT if any(member.value == NOTHING for enum in enums for member in enum) else NOTHING


@dataclass(frozen=True)
class Table:
    """A section."""

    tree: type[msgspec.Struct]
    parts: Mapping[str, Part]
    """What stands in it, by key."""
    is_optional: bool = False
    """The whole section may be None."""


@dataclass(frozen=True)
class Named:
    """Sections of one shape, each under a name that the user chooses."""

    kind: str
    """What the names are those of; see ``headrace.settings.names``."""
    table: Table


@dataclass(frozen=True)
class Part:
    """What stands under one key of a section."""

    field: str
    """Its name in Python."""
    shape: Leaf | Table | Named
    is_required: bool


def shape_of(tree: type[msgspec.Struct], *, is_optional: bool = False) -> Table:
    """Return the shape of a tree: fields that are structs (or None) are sections, dicts are sections under names."""
    parts = {field.encode_name: Part(field.name, _shape(field.type), field.required) for field in _fields(tree)}
    return Table(tree, parts, is_optional)


def paths(table: Table, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every key there is; ``ANY_NAME`` stands where the user chooses."""
    for key, part in table.parts.items():
        match part.shape:
            case Leaf():
                yield (*path, key)
            case Table():
                yield from paths(part.shape, (*path, key))
            case Named():
                yield from paths(part.shape.table, (*path, key, ANY_NAME))


def _fields(tree: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(tree)


def _shape(kind: Any) -> Leaf | Table | Named:
    if get_origin(kind) is dict:
        name, section = get_args(kind)
        info = inspect.type_info(name)
        if not isinstance(info, inspect.Metadata) or not info.extra:
            raise TypeError(f"{kind}: names must say whose they are")
        return Named(info.extra["names"], shape_of(section))
    options = get_args(kind) if get_origin(kind) is types.UnionType else (kind,)
    sections = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    if sections:
        return shape_of(sections[0], is_optional=types.NoneType in options)
    info = inspect.type_info(kind)
    leaf_options = info.types if isinstance(info, inspect.UnionType) else (info,)
    return Leaf(kind, leaf_options, next(filter(None, map(_unit, leaf_options)), None))


def _unit(option: inspect.Type) -> str | None:
    if isinstance(option, inspect.DecimalType):
        # The only decimal numbers in settings are amounts of money.
        return "dollars"
    return option.extra.get("unit") if isinstance(option, inspect.Metadata) and option.extra else None
