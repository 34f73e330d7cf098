"""Puts the settings together: defaults, then the file, then the environment, then the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.errors import SettingsError
from headrace.settings.checks import check
from headrace.settings.reader import build, merge, read
from headrace.settings.sources import Source, Values, environ_source, file_source
from headrace.settings.tree import Settings


def load_settings(*, environ: Mapping[str, str], file: Path | None = None, overrides: Values | None = None) -> Settings:
    """Return all settings.

    Args:
        environ: The environment; ``HEADRACE_SERVER__PORT`` is the key ``server.port``, and
            ``HEADRACE_OWNERS__SEARCH__LIMITS__TOKENS_PER_MINUTE`` is ``owners.search.limits.tokens_per_minute``.
        file: A TOML file; weaker than the environment.
        overrides: Nested keys and values from the command line, text or of the right type; stronger than the
            environment.

    Raises:
        SettingsError: The file cannot be read, a key is unknown, or a value is bad; the message begins with the path.
    """
    sources = [environ_source(environ), Source(overrides or {}, "the command line", is_text=True)]
    if file is not None:
        sources.insert(0, file_source(file))
    values: dict[str, Any] = {}
    for source in sources:
        values = merge(values, read(source, Settings))
    if "url" not in values.setdefault("store", {}):
        values["store"]["url"] = default_store_url(environ)
    settings = build(Settings, values)
    check(settings)
    return settings


def default_store_url(environ: Mapping[str, str]) -> str:
    """Return the URL of a SQLite file where the user's programs keep their state.

    XDG Base Directory Specification 0.8: ``$XDG_STATE_HOME``, or ``~/.local/state``; a relative path there is ignored.

    Raises:
        SettingsError: The environment names neither.
    """
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        home = Path(environ.get("HOME", ""))
        if not home.is_absolute():
            raise SettingsError("store.url: must be set, since the environment names no home directory")
        state = home / ".local" / "state"
    return f"sqlite:///{state / 'headrace' / 'headrace.db'}"
