"""Values and paths as TOML writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from headrace.settings.shape import NOTHING
from headrace.settings.units import parse_bytes, parse_seconds

MAX_NAME_CHARACTERS = 300
"""Of one key in a path; the rest of a longer one is cut off."""

# TOML 1.0, "Keys".
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
# JSON escapes C0 only; TOML wants DEL escaped, and terminals obey C1. Lone surrogates fit into no output.
_UNFIT_IN_JSON = re.compile(r"[\x7f-\x9f\ud800-\udfff]")
_DURATIONS = (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def toml_path(path: Iterable[str]) -> str:
    """Return keys as one dotted key: ``models."gpt-4.1".limits``."""
    keys = (key if len(key) <= MAX_NAME_CHARACTERS else key[:MAX_NAME_CHARACTERS] + "…" for key in path)
    return ".".join(key if _BARE_KEY.fullmatch(key) else _text(key) for key in keys)


def toml_value(value: Any, unit: str | None, nothing: str = NOTHING) -> str:
    """Return the value of a setting.

    Args:
        value: As it stands in the tree.
        unit: ``seconds``, ``bytes``, ``dollars`` or None.
        nothing: What None is written as, since TOML has no null.
    """
    if value is None:
        return _text(nothing)
    if unit == "seconds":
        return _duration(value)
    if unit == "bytes":
        return _size(value)
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(part, None) for part in value) + "]"
    return _text(value)


def plain(amount: Decimal) -> str:
    """Return an amount without an exponent."""
    return format(amount, "f")


def _text(value: object) -> str:
    """Return text, a boolean or a whole number: TOML writes them as JSON does."""
    return _UNFIT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _duration(seconds: float) -> str:
    """Return a duration in its largest unit of which it is a whole number."""
    texts = (f"{seconds / size:.0f}{unit}" for unit, size in _DURATIONS if seconds >= size)
    found = next((text for text in texts if parse_seconds(text) == seconds), None)
    return repr(seconds) if found is None else f'"{found}"'


def _size(size_bytes: int) -> str:
    texts = (f"{size_bytes // size}{unit}" for unit, size in _SIZES if size_bytes >= size)
    found = next((text for text in texts if parse_bytes(text) == size_bytes), None)
    return str(size_bytes) if found is None else f'"{found}"'
