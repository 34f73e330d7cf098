"""Settings as TOML that ``--config`` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from headrace.cli.config.effective import Setting
from headrace.cli.untrusted import json_text
from headrace.settings.units import parse_bytes, parse_seconds

_DURATIONS = (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def toml(settings: Iterable[Setting]) -> str:
    """Return the settings as a document; what is hidden stands in a comment, since it would not be read back."""
    sections = groupby(settings, key=lambda setting: setting.section)
    return "\n".join("".join(line + "\n" for line in _section(name, group)) for name, group in sections)


def _section(name: str, settings: Iterable[Setting]) -> Iterator[str]:
    yield f"[{name}]"
    for setting in settings:
        line = f"{setting.key} = {_value(setting.value, setting.unit)}"
        if setting.is_hidden:
            line = f"# {line}  # hidden; from the {setting.source}"
        elif setting.source != "default":
            line = f"{line}  # from the {setting.source}"
        yield line


def _value(value: Any, unit: str | None) -> str:
    if value is None:
        # TOML has no null.
        return '"none"'
    if unit == "seconds":
        return _duration(value)
    if unit == "bytes":
        return _size(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(part, None) for part in value) + "]"
    # TOML's booleans, numbers and basic strings are those of JSON.
    return json_text(value)


def _duration(seconds: float) -> str:
    """Return a duration in its largest unit of which it is a whole number."""
    texts = (f"{seconds / size:.0f}{unit}" for unit, size in _DURATIONS if seconds >= size)
    found = next((text for text in texts if parse_seconds(text) == seconds), None)
    return repr(seconds) if found is None else f'"{found}"'


def _size(size_bytes: int) -> str:
    texts = (f"{size_bytes // size}{unit}" for unit, size in _SIZES if size_bytes >= size)
    found = next((text for text in texts if parse_bytes(text) == size_bytes), None)
    return str(size_bytes) if found is None else f'"{found}"'
