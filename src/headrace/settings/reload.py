"""What settings that are read again while the relay runs change, now or at its next start.

A reload calls ``load_settings`` with the same environment, file and options as the start did. What it raises leaves the
settings as they are; else the relay goes on with ``adopted(old, new)``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headrace.settings.hidden import without_secrets
from headrace.settings.items import Item, items
from headrace.settings.shape import KeyPath, Leaf, Table, shape_of
from headrace.settings.toml import toml_path, toml_value
from headrace.settings.tree import Settings

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
        # The engine.
        "engine.upstream",
        "engine.model",
        "engine.max_event_bytes",
        "engine.on_malformed_chunk",
        "engine.slots",
        "engine.queue",
        "timeouts.connect",
        # The store, and what writes to it.
        "store.url",
        "stream.flush_interval_ms",
        "timeouts.commit_wait",
        # The shutdown is laid out at the start.
        "timeouts.drain",
    }
)
"""Keys that are read once, at the start. All others apply from the next request on."""

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
    before, after = ({item.path: item for item in items(settings)} for settings in (old, new))
    found = ((path, before.get(path), after.get(path)) for path in {**before, **after})
    return [_change(path, was, becomes) for path, was, becomes in found if _value(was) != _value(becomes)]


def adopted(old: Settings, new: Settings) -> Settings:
    """Return the settings to go on with: ``new``, but for the keys in ``RESTART``, which stay as in ``old``."""
    kept: Settings = _kept(shape_of(Settings), old, new, ())
    return kept


def _kept(table: Table, old: Any, new: Any, path: KeyPath) -> Any:
    fields: dict[str, Any] = {}
    for key, part in table.parts.items():
        here, was, becomes = (*path, key), getattr(old, part.field), getattr(new, part.field)
        match part.shape:
            case Leaf() if ".".join(here) in RESTART:
                fields[part.field] = was
            case Table() as inner if was is not None and becomes is not None:
                fields[part.field] = _kept(inner, was, becomes, here)
    return msgspec.structs.replace(new, **fields)


def _value(item: Item | None) -> Any:
    return None if item is None else item.value


def _change(path: KeyPath, was: Item | None, becomes: Item | None) -> Change:
    name = toml_path(path)
    return Change(name, _shown(was), _shown(becomes), "restart" if name in RESTART else "now")


def _shown(item: Item | None) -> str:
    if item is None:
        return toml_value(None, None)
    text = toml_value(without_secrets(item.path[-1], item.value), item.unit)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
