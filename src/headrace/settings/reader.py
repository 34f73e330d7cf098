"""Reads raw values into the types of the settings tree, and says for each bad one where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from headrace.errors import SettingsError
from headrace.settings.names import NAME_CHECKS
from headrace.settings.shape import NOTHING, KeyPath, Leaf, Named, Table, shape_of
from headrace.settings.sources import Source
from headrace.settings.toml import toml_path
from headrace.settings.units import parse_bytes, parse_dollars, parse_seconds

T = TypeVar("T", bound=msgspec.Struct)

_PARSERS = {"seconds": parse_seconds, "bytes": parse_bytes, "dollars": parse_dollars}


def read(source: Source, tree: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the values of a source by field name, nested like ``tree``; what the source leaves out is left out.

    Raises:
        SettingsError: A key is unknown or a value is bad; the message begins with the path of the key.
    """
    return _table(source.values, shape_of(tree), (), source)


def build(tree: type[T], values: Mapping[str, Any]) -> T:
    """Return an instance of ``tree`` from what ``read`` has returned; defaults fill the rest.

    Raises:
        SettingsError: A section lacks a key that has no default.
    """
    return cast("T", _built(shape_of(tree), values, ()))


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, ``upper`` winning key by key at every depth."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _table(values: object, table: Table, path: KeyPath, source: Source) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in _mapping(values, path, source).items():
        part = table.parts.get(key)
        if part is None:
            known = ", ".join(sorted(table.parts))
            raise _error((*path, key), f"unknown setting; known here: {known}", source)
        result[part.field] = _part(value, part.shape, (*path, key), source)
    return result


def _part(value: object, shape: Leaf | Table | Named, path: KeyPath, source: Source) -> object:
    match shape:
        case Leaf():
            return _leaf(value, shape, path, source)
        case Table():
            return None if shape.is_optional and value == NOTHING else _table(value, shape, path, source)
        case Named():
            return _named(value, shape, path, source)


def _named(values: object, named: Named, path: KeyPath, source: Source) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in _mapping(values, path, source).items():
        try:
            NAME_CHECKS[named.kind](name)
        except ValueError as error:
            raise _error((*path, name), str(error), source) from error
        result[name] = _table(value, named.table, (*path, name), source)
    return result


def _mapping(values: object, path: KeyPath, source: Source) -> Mapping[str, object]:
    if not isinstance(values, Mapping):
        raise _error(path, "expected a section with keys", source)
    return values


def _leaf(value: object, leaf: Leaf, path: KeyPath, source: Source) -> object:
    """Return one value as the type it must be of."""
    if leaf.is_optional and value == leaf.nothing:
        return None
    try:
        if leaf.unit is not None:
            value = _PARSERS[leaf.unit](value)
        elif source.is_text and isinstance(value, str) and isinstance(leaf.options[0], inspect.VarTupleType):
            value = [part.strip() for part in value.split(",") if part.strip()]
        return msgspec.convert(value, leaf.kind, strict=not source.is_text)
    except msgspec.ValidationError as error:
        raise _error(path, _explained(error, leaf.options[0], value), source) from error
    except ValueError as error:
        raise _error(path, str(error), source) from error


def _explained(error: msgspec.ValidationError, wanted: inspect.Type, value: object) -> str:
    if isinstance(wanted, inspect.LiteralType):
        return f"expected one of {', '.join(map(str, wanted.values))}"
    if isinstance(wanted, inspect.EnumType):
        return f"expected one of {', '.join(str(member.value) for member in wanted.cls)}"
    # Numbers of a file with a point are read as decimals, so that prices are exact.
    message = str(error).replace("`", "").replace("got decimal", "got float").replace("| null", 'or "none"')
    if isinstance(value, str) and not isinstance(wanted, inspect.VarTupleType):
        # A secret is text, and where text is expected its type is right: this repeats no secret. Where a list of text
        # is expected it might be one.
        message = message.replace("got str", f"got {value[:40]!r}")
    return message[0].lower() + message[1:]


def _built(table: Table, values: Mapping[str, Any], path: KeyPath) -> msgspec.Struct:
    fields: dict[str, Any] = {}
    for key, part in table.parts.items():
        here = (*path, key)
        if part.field not in values:
            if part.is_required:
                raise SettingsError(f"{toml_path(here)}: must be set")
            continue
        value = values[part.field]
        match part.shape:
            case Table() as inner if value is not None:
                value = _built(inner, value, here)
            case Named(table=inner):
                value = {name: _built(inner, section, (*here, name)) for name, section in value.items()}
        fields[part.field] = value
    try:
        return table.tree(**fields)
    except ValueError as error:
        raise SettingsError(f"{toml_path(path)}: {error}") from error


def _error(path: KeyPath, message: str, source: Source) -> SettingsError:
    return SettingsError(f"{toml_path(path)}: {message} (from {source.origin})")
