"""Reads raw values into the types of the settings tree, and says for each bad one where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from headrace.errors import SettingsError
from headrace.settings.sources import Source
from headrace.settings.units import parse_bytes, parse_seconds

T = TypeVar("T", bound=msgspec.Struct)

_PARSERS = {"seconds": parse_seconds, "bytes": parse_bytes}


def read(source: Source, tree: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the values of a source by field name, nested like ``tree``; what the source leaves out is left out.

    Raises:
        SettingsError: A key is unknown or a value is bad; the message begins with the path of the key.
    """
    return _table(source.values, tree, (), source)


def build(tree: type[T], values: Mapping[str, Any]) -> T:
    """Return an instance of ``tree`` from what ``read`` has returned; defaults fill the rest."""
    nested = _sections(tree)
    return tree(**{name: build(nested[name], value) if name in nested else value for name, value in values.items()})


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, ``upper`` winning key by key at every depth."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _table(values: object, tree: type[msgspec.Struct], path: tuple[str, ...], source: Source) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise _error(path, "expected a section with keys", source)
    fields = {field.encode_name: field for field in msgspec.structs.fields(tree)}
    nested = _sections(tree)
    result: dict[str, Any] = {}
    for key, value in values.items():
        field = fields.get(key)
        if field is None:
            raise _error((*path, key), f"unknown setting; known here: {', '.join(sorted(fields))}", source)
        section = nested.get(field.name)
        if section is not None:
            result[field.name] = _table(value, section, (*path, key), source)
        else:
            result[field.name] = _leaf(value, field.type, (*path, key), source)
    return result


def _sections(tree: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    return {
        field.name: field.type
        for field in msgspec.structs.fields(tree)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }


def _leaf(value: object, kind: Any, path: tuple[str, ...], source: Source) -> object:
    """Return one value as the type ``kind``."""
    info = inspect.type_info(kind)
    options = info.types if isinstance(info, inspect.UnionType) else (info,)
    if value == "none" and any(isinstance(option, inspect.NoneType) for option in options):
        # TOML and environments cannot say null, but must be able to undo what stands in a lower source.
        return None
    try:
        for option in options:
            if isinstance(option, inspect.Metadata) and option.extra is not None:
                value = _PARSERS[option.extra["unit"]](value)
            elif source.is_text and isinstance(option, inspect.VarTupleType) and isinstance(value, str):
                value = [part.strip() for part in value.split(",") if part.strip()]
        return msgspec.convert(value, kind, strict=not source.is_text)
    except msgspec.ValidationError as error:
        raise _error(path, _explained(error, info, value), source) from error
    except ValueError as error:
        raise _error(path, str(error), source) from error


def _explained(error: msgspec.ValidationError, info: inspect.Type, value: object) -> str:
    if isinstance(info, inspect.LiteralType):
        return f"expected one of {', '.join(map(str, info.values))}"
    message = str(error).replace("`", "")
    if isinstance(value, str):
        # A secret is text, and where text is expected its type is right: this repeats no secret.
        message = message.replace("got str", f"got {value[:40]!r}")
    return message[0].lower() + message[1:]


def _error(path: tuple[str, ...], message: str, source: Source) -> SettingsError:
    return SettingsError(f"{'.'.join(path)}: {message} (from {source.origin})")
