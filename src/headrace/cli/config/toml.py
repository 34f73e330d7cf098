"""Settings as TOML that ``--config`` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from headrace.cli.config.effective import Setting
from headrace.settings.toml import toml_value


def toml(settings: Iterable[Setting]) -> str:
    """Return the settings as a document; what is hidden stands in a comment, since it would not be read back."""
    sections = groupby(settings, key=lambda setting: setting.section)
    return "\n".join("".join(line + "\n" for line in _section(name, group)) for name, group in sections)


def _section(name: str, settings: Iterable[Setting]) -> Iterator[str]:
    yield f"[{name}]"
    for setting in settings:
        line = f"{setting.key} = {toml_value(setting.value, setting.unit, setting.nothing)}"
        if setting.is_hidden:
            line = f"# {line}  # hidden; from the {setting.source}"
        elif setting.source != "default":
            line = f"{line}  # from the {setting.source}"
        yield line
