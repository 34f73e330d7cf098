"""Every setting as it would be served with, and where its value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.settings import Settings, load_settings
from headrace.settings.hidden import without_secrets
from headrace.settings.items import Item, items
from headrace.settings.reader import read
from headrace.settings.shape import NOTHING
from headrace.settings.sources import environ_source, file_source
from headrace.settings.toml import toml_path


@dataclass(frozen=True)
class Setting:
    """One setting, fit to be shown."""

    section: str
    """As it stands between the brackets of TOML: ``models."gpt-4.1".limits``."""
    key: str
    value: Any
    """Without secrets; see ``is_hidden``."""
    unit: str | None
    """``seconds``, ``bytes`` or ``dollars``."""
    source: str
    """``default``, ``file`` or ``environment``."""
    is_hidden: bool = False
    """The value, or a part of it, was replaced."""
    nothing: str = NOTHING
    """What None is written as."""


def effective(environ: Mapping[str, str], file: Path | None) -> tuple[Settings, list[Setting]]:
    """Return the settings, and each of them with its source.

    Raises:
        SettingsError: They are wrong.
    """
    settings = load_settings(environ=environ, file=file)
    given = {"environment": read(environ_source(environ), Settings)}
    if file is not None:
        given["file"] = read(file_source(file), Settings)
    return settings, [_setting(item, given) for item in items(settings)]


def _setting(item: Item, given: Mapping[str, Mapping[str, Any]]) -> Setting:
    *section, key = item.path
    shown = without_secrets(key, item.value)
    return Setting(
        section=toml_path(section),
        key=key,
        value=shown,
        unit=item.unit,
        source=next((name for name, tree in given.items() if _is_given(tree, item.fields)), "default"),
        is_hidden=shown != item.value,
        nothing=item.nothing,
    )


def _is_given(values: Any, fields: tuple[str, ...]) -> bool:
    for field in fields:
        if not isinstance(values, Mapping) or field not in values:
            return False
        values = values[field]
    return True
