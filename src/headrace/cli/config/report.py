"""``headrace config check`` and ``show``."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from headrace.cli.config.effective import Setting, effective
from headrace.cli.config.toml import toml
from headrace.cli.untrusted import json_text, one_line
from headrace.engines.embedded import MODEL_NAME
from headrace.engines.openai.url import BaseURL
from headrace.errors import SettingsError
from headrace.settings import DEFAULT_ENGINE, Settings
from headrace.settings.checks import is_exposed
from headrace.settings.engine_checks import engine_path
from headrace.settings.toml import plain
from headrace.stores.url import open_stores


def report_check(file: Path | None) -> None:
    """Say what would be served.

    Raises:
        SettingsError: The settings are wrong.
    """
    settings, all_settings = effective(os.environ, file)
    _check_places(settings)
    shown = {f"{setting.section}.{setting.key}": setting.value for setting in all_settings}
    sources = Counter(setting.source for setting in all_settings)
    given = ", ".join(f"{sources[name]} from the {name}" for name in ("file", "environment") if sources[name])
    lines = [
        "ok",
        f"  listens on  {settings.server.host}:{settings.server.port}",
        *_engines(settings, shown),
        f"  store       {one_line(shown['store.url'])}",
        f"  settings    {given or 'all as by default'}",
    ]
    if is_exposed(settings):
        # Whether there are any is not looked up: a relay may be serving the store.
        lines.insert(2, "              needs a client key in the store (headrace keys create), or server.insecure")
    sys.stdout.write("".join(line + "\n" for line in lines))


def report_settings(file: Path | None, *, changed: bool, as_json: bool) -> None:
    """Print the settings.

    Args:
        file: Settings in TOML.
        changed: Leave out those that are as by default.
        as_json: JSON instead of TOML.

    Raises:
        SettingsError: The settings are wrong.
    """
    _, settings = effective(os.environ, file)
    shown = [setting for setting in settings if not changed or setting.source != "default"]
    sys.stdout.write(json_text(_as_json(shown)) + "\n" if as_json else toml(shown))


def _check_places(settings: Settings) -> None:
    """Check what only the start of the relay would find out: addresses of engine and store.

    Raises:
        SettingsError: One of them cannot be used.
    """
    for name, engine in settings.all_engines.items():
        if engine.upstream is not None:
            try:
                BaseURL.parse(engine.upstream)
            except SettingsError as error:
                raise SettingsError(f"{engine_path(name)}.upstream: {error.message}") from error
    model = settings.engine.model
    if settings.engine.actual_kind == "embedded" and model not in {None, MODEL_NAME}:
        raise SettingsError(f"engine.model: the embedded engine has {MODEL_NAME!r} only, not {model!r}")
    open_stores(settings.store.url)


def _engines(settings: Settings, shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each engine: what it is called, unless it is the only one, where it is and of which kind."""
    width = max(map(len, settings.all_engines)) + 2 if settings.engines else 0
    for name, engine in settings.all_engines.items():
        title = "engine" if name == DEFAULT_ENGINE else ""
        called = name.ljust(width) if width else ""
        place = shown[f"{engine_path(name)}.upstream"]
        kind = f" ({engine.kind})" if engine.kind is not None else ""
        what = f"the embedded engine ({MODEL_NAME})" if place is None else f"{place}{kind}"
        yield f"  {title:<12}{called}{one_line(what)}"


def _as_json(settings: list[Setting]) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for setting in settings:
        # Money is text, as in all JSON of the relay: programs read numbers as floats.
        value = plain(setting.value) if isinstance(setting.value, Decimal) else setting.value
        told = {"value": value, "source": setting.source}
        sections.setdefault(setting.section, {})[setting.key] = told
    return sections
