"""Where settings come from. A source is a nested mapping from keys to raw values, not checked yet."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import SettingsError
from headrace.settings.toml import toml_path

PREFIX = "HEADRACE_"
SEPARATOR = "__"
NO_SETTINGS = frozenset({"HEADRACE_API_KEY"})
"""Variables with that prefix that are read elsewhere: the key of whoever uses a relay."""

Values = Mapping[str, Any]


class Source(msgspec.Struct, frozen=True):
    """Raw settings of one origin."""

    values: Values
    origin: str
    """Where they come from, for messages."""
    is_text: bool = False
    """Values are text whatever their type: numbers and booleans are read from it, lists are separated by commas."""


def file_source(path: Path) -> Source:
    """Return the settings in a TOML file; numbers with a point are decimals, so that 0.1 is exactly that.

    Raises:
        SettingsError: The file cannot be read or is not TOML.
    """
    try:
        return Source(tomllib.loads(path.read_text(encoding="utf-8"), parse_float=_number), str(path))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        # Not only tomllib's own: numbers may have more digits than Python takes, and tables be nested too deeply.
        raise SettingsError(f"{path}: is not TOML: {error}") from error


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError("the exponent of a number is out of range") from error


def environ_source(environ: Mapping[str, str]) -> Source:
    """Return the settings in an environment: ``HEADRACE_SERVER__PORT`` is the key ``server.port``.

    Raises:
        SettingsError: Two variables contradict each other, one being a part of the other's path.
    """
    values: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in NO_SETTINGS:
            continue
        *sections, key = name.removeprefix(PREFIX).lower().split(SEPARATOR)
        table = values
        for depth, section in enumerate(sections, 1):
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                variable = PREFIX + SEPARATOR.join(sections[:depth]).upper()
                raise SettingsError(f"{toml_path(sections[:depth])}: is a section, but {variable} is set too")
        table[key] = environ[name]
    return Source(values, "the environment", is_text=True)
