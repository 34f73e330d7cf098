"""Where keys are kept: in variables of the environment (``env:NAME``) and in files (``file:/path``).

A file may change while the relay runs; ``KeyFiles`` tells. A variable cannot.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from headrace.engines.openai.keys import UpstreamKey
from headrace.errors import SettingsError

MAX_KEY_BYTES = 16 * 1024
"""Longest file with a key. Keys that are signed tokens reach a few kilobytes."""

_ENV, _FILE = "env:", "file:"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_Signature = tuple[int, int, int, int]


def read_keys(references: Sequence[str], environ: Mapping[str, str]) -> list[UpstreamKey]:
    """Return the keys that these references name, without the white space around them.

    Args:
        references: Each ``env:NAME`` or ``file:/path``; the names of the keys.
        environ: The variables.

    Raises:
        SettingsError: One of them gives no key. The message begins with the reference, or with its place in the list
            when it is none (it may be a key put in the wrong place), and never shows a value.
    """
    keys: dict[str, UpstreamKey] = {}
    for place, reference in enumerate(references, 1):
        if reference in keys:
            raise SettingsError(f"{reference}: is listed twice")
        keys[reference] = UpstreamKey(reference, _value(reference, place, environ).strip())
    return list(keys.values())


class KeyFiles:
    """Watches the files among some references, by looking at them when asked."""

    def __init__(self, references: Iterable[str]) -> None:
        """Look at the files for the first time; read the keys after that, so that no change is missed."""
        self._paths = [_path(reference) for reference in references if reference.startswith(_FILE)]
        self._seen = self._look()

    def __len__(self) -> int:
        return len(self._paths)

    def changed(self) -> bool:
        """True when a file is not what it was at the last call, or has come or gone. Costs a ``stat`` for each file.

        A change is told once, even when the keys could not be read then: what mends the file is a change again.
        """
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> list[_Signature | None]:
        return [_signature(path) for path in self._paths]


def _value(reference: str, place: int, environ: Mapping[str, str]) -> str:
    if reference.startswith(_FILE) and len(reference) > len(_FILE):
        return _content(reference)
    name = reference.removeprefix(_ENV)
    if not reference.startswith(_ENV) or not _NAME.fullmatch(name):
        raise SettingsError(f"key {place} of the list: must be env: and the name of a variable, or file: and a path")
    value = environ.get(name, "")
    if not value.strip():
        raise SettingsError(f"{reference}: the variable is {'empty' if name in environ else 'not set'}")
    return value


def _content(reference: str) -> str:
    path = _path(reference)
    try:
        # Opening anything else, such as a pipe, might wait for ever.
        is_file = stat.S_ISREG(path.stat().st_mode)
        if is_file:
            with path.open("rb") as file:
                data = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{reference}: the file cannot be read ({error.strerror})") from error
    except ValueError:
        raise SettingsError(f"{reference}: is no path") from None
    if not is_file:
        raise SettingsError(f"{reference}: is not a file")
    if len(data) > MAX_KEY_BYTES:
        raise SettingsError(f"{reference}: the file is longer than {MAX_KEY_BYTES} bytes, so it holds no key")
    if not data.strip():
        raise SettingsError(f"{reference}: the file is empty")
    # Bytes that are not ASCII stay recognizable as such, and are refused with the key.
    return data.decode("latin-1")


def _path(reference: str) -> Path:
    return Path(reference.removeprefix(_FILE))


def _signature(path: Path) -> _Signature | None:
    """Return what tells a file's versions apart; None when there is no file.

    The inode tells a file that was put in another one's place, such as a mounted secret; the time of change also
    tells a file that became readable.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 (a NUL in the path is a ValueError either way)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
