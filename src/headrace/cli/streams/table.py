"""Streams as text: many as a table, one as a list of its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from headrace.cli.columns import aligned
from headrace.cli.untrusted import one_line

HEADINGS = ("ID", "STATE", "MODEL", "AGE", "TOKENS")

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_NOTHING: tuple[object, ...] = (None, "", {})
_TIMES = frozenset({"created_at", "first_content_at", "ended_at"})

Stream = Mapping[str, Any]


def table(streams: Sequence[Stream], *, now: float) -> list[str]:
    """Return a line of headings and one for each stream.

    Args:
        streams: As the relay gives them.
        now: Unix seconds.
    """
    return aligned([HEADINGS, *(_row(stream, now) for stream in streams)], right=[len(HEADINGS) - 1])


def details(stream: Stream) -> list[str]:
    """Return one line for each field that says something."""
    shown = {key: _shown(key, value) for key, value in stream.items() if value not in _NOTHING and key != "object"}
    return aligned([(one_line(key), value) for key, value in shown.items()]) if shown else []


def _row(stream: Stream, now: float) -> tuple[str, ...]:
    usage = stream.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    created = stream.get("created_at")
    return (
        one_line(stream.get("id", "")),
        "/".join(one_line(stream[key]) for key in ("state", "cause") if stream.get(key)),
        one_line(stream.get("model", "")),
        _age(now - created) if isinstance(created, int | float) else "",
        "" if tokens is None else one_line(tokens),
    )


def _age(seconds: float) -> str:
    """Return a duration in its largest unit."""
    seconds = max(0.0, seconds)
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= size or size == 1)
    return f"{int(seconds // size)} {unit}"


def _shown(key: str, value: object) -> str:
    if key in _TIMES and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).astimezone().isoformat(" ", "milliseconds")
    if isinstance(value, Mapping):
        return ", ".join(f"{one_line(name)} {one_line(part)}" for name, part in value.items() if part is not None)
    return one_line(value)
