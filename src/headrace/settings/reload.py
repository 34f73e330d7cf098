"""What settings that are read again while the relay runs change, now or at its next start.

A reload calls ``load_settings`` with the same environment, file and options as the start did. What it raises leaves the
settings as they are; else the relay goes on with ``adopted(old, new)``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import msgspec

from headrace.errors import SettingsError
from headrace.settings.engine_checks import shown_names, target_path
from headrace.settings.hidden import without_secrets
from headrace.settings.items import Item, items
from headrace.settings.shape import ANY_NAME, KeyPath, Leaf, Named, Table, shape_of
from headrace.settings.toml import toml_path, toml_value
from headrace.settings.tree import Settings

_BUILT_WITH = ("kind", "upstream", "max_event_bytes", "default_max_tokens", "slots", "queue")
"""Keys of every engine that it is built with."""

RESTART = frozenset(
    {
        # The socket, and what its connections are made with.
        "server.host",
        "server.port",
        "server.insecure",
        "server.max_connections",
        "server.max_head_bytes",
        "server.head_timeout",
        "server.http2",
        "server.tls_cert",
        "server.tls_key",
        "limits.max_frame_bytes",
        # The engines.
        "engine.model",
        "engine.on_malformed_chunk",
        "timeouts.connect",
        *(f"{engine}.{key}" for engine in ("engine", f"engines.{ANY_NAME}") for key in _BUILT_WITH),
        # The store, and what writes to it.
        "store.url",
        "stream.flush_interval_ms",
        "timeouts.commit_wait",
        # The shutdown is laid out at the start.
        "timeouts.drain",
    }
)
"""Keys that are read once, at the start; ``ANY_NAME`` stands for every name. All others apply from the next request on."""

RESTART_NAMES = frozenset({"engines"})
"""Sections under names of which there are as many as at the start, until the next one: what is new waits for it, and what is
gone stays as it was."""

MAX_SHOWN = 80
"""Characters of a value that a change shows."""


class Change(msgspec.Struct, frozen=True):
    """One key whose value is another than before, fit to be logged."""

    path: str
    """As TOML writes it: ``owners.search.limits.tokens_per_minute``."""
    old: str
    """As TOML writes it; ``"none"`` for a key of a section that was not there. At most ``MAX_SHOWN`` characters."""
    new: str
    applies: Literal["now", "restart"]


def changes(old: Settings, new: Settings) -> list[Change]:
    """Return every key whose value differs, in the tree's order."""
    pair = _without_equals(old, new), _without_equals(new, old)
    before, after = ({item.path: item for item in items(settings)} for settings in pair)
    found = ((path, before.get(path), after.get(path)) for path in {**before, **after})
    lasting = old.engines.keys() & new.engines.keys()
    return [_change(path, was, becomes, lasting) for path, was, becomes in found if _value(was) != _value(becomes)]


def _without_equals(settings: Settings, other: Settings) -> Settings:
    """Leave out sections under names that are the same in both: of ten thousand, few change at once."""
    fields = {
        field: {name: section for name, section in named.items() if theirs.get(name) != section}
        for field in settings.__struct_fields__
        if isinstance(named := getattr(settings, field), dict)
        for theirs in (getattr(other, field),)
    }
    return msgspec.structs.replace(settings, **fields)


def adopted(old: Settings, new: Settings) -> Settings:
    """Return the settings to go on with: ``new``, but for what needs a restart, which stays as in ``old``.

    Raises:
        SettingsError: A model is to be served by an engine that does not run yet.
    """
    _check_running(new, old.all_engines)
    kept: Settings = _kept(shape_of(Settings), old, new, ())
    return kept


def _kept(table: Table, old: Any, new: Any, path: KeyPath) -> Any:
    fields: dict[str, Any] = {}
    for key, part in table.parts.items():
        here, was, becomes = (*path, key), getattr(old, part.field), getattr(new, part.field)
        place = ".".join(here)
        match part.shape:
            case Leaf() if place in RESTART:
                fields[part.field] = was
            case Table() as inner if was is not None and becomes is not None:
                fields[part.field] = _kept(inner, was, becomes, here)
            case Named(table=inner) if place in RESTART_NAMES:
                fields[part.field] = {
                    name: _kept(inner, section, becomes.get(name, section), (*here, ANY_NAME))
                    for name, section in was.items()
                }
    return msgspec.structs.replace(new, **fields)


def _check_running(settings: Settings, running: Collection[str]) -> None:
    for model, section in settings.models.items():
        for name, target in section.engines.items():
            engine = target.engine_of(name)
            if engine not in running:
                raise SettingsError(
                    f"{target_path(model, name)}: the engine {engine} does not run yet; engines start with the relay, so"
                    f" restart it. Running: {shown_names(running)}"
                )


def _needs_restart(path: KeyPath, lasting: Collection[str]) -> bool:
    if path[0] not in RESTART_NAMES:
        return ".".join(path) in RESTART
    section, name, *rest = path
    return name not in lasting or ".".join((section, ANY_NAME, *rest)) in RESTART


def _value(item: Item | None) -> Any:
    return None if item is None else item.value


def _change(path: KeyPath, was: Item | None, becomes: Item | None, lasting: Collection[str]) -> Change:
    applies: Literal["now", "restart"] = "restart" if _needs_restart(path, lasting) else "now"
    return Change(toml_path(path), _shown(was), _shown(becomes), applies)


def _shown(item: Item | None) -> str:
    if item is None:
        return toml_value(None, None)
    text = toml_value(without_secrets(item.path[-1], item.value), item.unit, item.nothing)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
