"""Every setting as it would be served with, and where its value comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from headrace.settings import Settings, load_settings
from headrace.settings.reader import read
from headrace.settings.sources import environ_source, file_source

HIDDEN = "***"

_SECRET = re.compile(r"(^|_)(key|secret|token|password)$")
_PLACES = frozenset({"tls_key"})
"""Settings that sound like a secret and say where one is."""
# All between the slashes and the last @: a password may hold an @ itself, though it should not.
_USER_INFO = re.compile(r"//.*@")
_SECRET_PARAMETER = re.compile(r"([?&][^=&#]*(?:key|secret|token|password)[^=&#]*=)[^&#]*", re.IGNORECASE)


@dataclass(frozen=True)
class Setting:
    """One setting, fit to be shown."""

    section: str
    key: str
    value: Any
    """Without secrets; see ``is_hidden``."""
    unit: str | None
    """``seconds`` or ``bytes``."""
    source: str
    """``default``, ``file`` or ``environment``."""
    is_hidden: bool = False
    """The value, or a part of it, was replaced."""


def effective(environ: Mapping[str, str], file: Path | None) -> tuple[Settings, list[Setting]]:
    """Return the settings, and each of them with its source.

    Raises:
        SettingsError: They are wrong.
    """
    settings = load_settings(environ=environ, file=file)
    given = {"environment": read(environ_source(environ), Settings)}
    if file is not None:
        given["file"] = read(file_source(file), Settings)
    return settings, list(_all(settings, given))


def _all(settings: Settings, given: Mapping[str, Mapping[str, Any]]) -> Iterator[Setting]:
    for section in msgspec.structs.fields(Settings):
        values = getattr(settings, section.name)
        for field in msgspec.structs.fields(type(values)):
            sources = [name for name, tree in given.items() if field.name in tree.get(section.name, {})]
            value = getattr(values, field.name)
            shown = _without_secrets(field.encode_name, value)
            yield Setting(
                section=section.encode_name,
                key=field.encode_name,
                value=shown,
                unit=_unit(field.type),
                source=sources[0] if sources else "default",
                is_hidden=shown != value,
            )


def _without_secrets(key: str, value: Any) -> Any:
    """Return a value as it may be shown."""
    if isinstance(value, tuple):
        return tuple(_without_secrets(key, part) for part in value)
    if not isinstance(value, str):
        return value
    if _SECRET.search(key) is not None and key not in _PLACES:
        return HIDDEN
    if value.startswith("sqlite:"):
        # A path: nobody logs in to a file.
        return value
    return _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", _USER_INFO.sub(f"//{HIDDEN}@", value))


def _unit(kind: Any) -> str | None:
    info = inspect.type_info(kind)
    options = info.types if isinstance(info, inspect.UnionType) else (info,)
    units = [option.extra["unit"] for option in options if isinstance(option, inspect.Metadata) and option.extra]
    return units[0] if units else None
