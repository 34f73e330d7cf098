"""Which store the commands for keys work on: the one that ``headrace serve`` would open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headrace.settings.load import default_store_url
from headrace.settings.sources import Source, environ_source, file_source


def store_url(store: str | None, config: Path | None, environ: Mapping[str, str]) -> str:
    """Return the URL of the store: of the option, else of the environment, else of the file, else the default one.

    The other settings are not looked at: a relay that needs keys before it may be served must be able to get them.

    Raises:
        SettingsError: The file cannot be read, or neither it nor the environment names a place.
    """
    sources = [environ_source(environ), *([file_source(config)] if config is not None else [])]
    return store or next((url for url in map(_url_in, sources) if url), None) or default_store_url(environ)


def _url_in(source: Source) -> str | None:
    section = source.values.get("store")
    url = section.get("url") if isinstance(section, Mapping) else None
    return url if isinstance(url, str) else None
