"""The address of an engine."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import SplitResult, urlsplit

from headrace.errors import SettingsError

_DEFAULT_PORTS = {"http": 80, "https": 443}
# RFC 3986 3.3: the characters of a path, percent-encoded where needed.
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", re.ASCII)


@dataclasses.dataclass(frozen=True)
class BaseURL:
    """Where an engine answers, up to and including the path in front of ``/chat/completions``."""

    host: str
    """Name or IP address as it is dialled and as the certificate must name it; IPv6 without brackets."""
    port: int
    is_tls: bool
    authority: str
    """Value of the ``Host`` header."""
    path: str
    """Begins with a slash and does not end with one; empty for the root."""

    @classmethod
    def parse(cls, url: str) -> BaseURL:
        """Return the parts of an absolute ``http`` or ``https`` URL such as ``http://127.0.0.1:9100/v1``.

        Raises:
            SettingsError: It is no such URL, or holds user info, a query or a fragment. The message never repeats the
                URL, since it may hold a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise SettingsError("base_url: not a valid URL") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise SettingsError("base_url: must begin with http:// or https://")
        if parts.username is not None or parts.password is not None:
            raise SettingsError("base_url: must not hold a user name or password; use the API key setting")
        if parts.query or parts.fragment:
            raise SettingsError("base_url: must not hold a query or a fragment")
        if not _PATH.fullmatch(parts.path):
            raise SettingsError("base_url: the path holds characters that a URL must percent-encode")
        if port == 0:
            raise SettingsError("base_url: port 0 cannot be dialled")
        host = _host(parts)
        default_port = _DEFAULT_PORTS[parts.scheme]
        # RFC 9112 3.2: Host is the authority of the target, without user info.
        bracketed = f"[{host}]" if ":" in host else host
        authority = bracketed if port is None or port == default_port else f"{bracketed}:{port}"
        return cls(host, port or default_port, parts.scheme == "https", authority, parts.path.rstrip("/"))


def _host(parts: SplitResult) -> str:
    host = parts.hostname
    if not host:
        raise SettingsError("base_url: names no host")
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise SettingsError("base_url: the host is not a valid name") from None
    if not _HOST.fullmatch(ascii_host):
        raise SettingsError("base_url: the host is not a valid name")
    return ascii_host
