"""Settings fit to be shown. None holds a secret, but people write some into URLs."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"

_SECRET = re.compile(r"(^|_)(key|secret|token|password)$")
_PLACES = frozenset({"tls_key"})
"""Settings that sound like a secret and say where one is."""
_PATHS = ("sqlite:", "file:")
"""Nobody logs in to a file."""
# All between the slashes and the last @: a password may hold an @ itself, though it should not.
_USER_INFO = re.compile(r"//.*@")
_SECRET_PARAMETER = re.compile(r"([?&][^=&#]*(?:key|secret|token|password)[^=&#]*=)[^&#]*", re.IGNORECASE)


def without_secrets(key: str, value: Any) -> Any:
    """Return the value of a setting as it may be shown."""
    if isinstance(value, tuple):
        return tuple(without_secrets(key, part) for part in value)
    if not isinstance(value, str):
        return value
    if _SECRET.search(key) is not None and key not in _PLACES:
        return HIDDEN
    if value.startswith(_PATHS):
        return value
    return _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", _USER_INFO.sub(f"//{HIDDEN}@", value))
