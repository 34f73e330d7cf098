"""Requests as bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from headrace._version import __version__
from headrace.engines.openai.url import BaseURL
from headrace.errors import ClientRequestError, SettingsError
from headrace.types.engine import Endpoint

# RFC 9110 5.1 and 5.5: a name is a token; a value holds no control character but the tab.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What this module says itself; a client's word on it would break the framing or appear twice.
_OWN = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)


class RequestEncoder:
    """Writes the heads of requests to one engine. Holds its API key, so it has no ``repr`` of its content."""

    def __init__(self, base_url: BaseURL, *, api_key: str | None) -> None:
        """Prepare what all requests share.

        Raises:
            SettingsError: The key holds characters that a header cannot carry.
        """
        own = [f"Host: {base_url.authority}", "Accept-Encoding: identity", f"User-Agent: headrace/{__version__}"]
        if api_key is not None:
            if not api_key.isascii() or not api_key.isprintable() or " " in api_key or not api_key:
                raise SettingsError("api_key: must be printable ASCII without spaces")
            own.append(f"Authorization: Bearer {api_key}")
        self._own_names = _OWN if api_key is None else _OWN | {"authorization"}
        shared = "\r\n".join(own)
        self._heads = {
            endpoint: (
                f"POST {base_url.path}/{endpoint} HTTP/1.1\r\n{shared}\r\n"
                "Content-Type: application/json\r\nAccept: text/event-stream\r\n"
            ).encode("ascii")
            for endpoint in Endpoint
        }
        self._models = (
            f"GET {base_url.path}/models HTTP/1.1\r\n{shared}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
        ).encode("ascii")

    def head(self, endpoint: Endpoint, headers: Iterable[tuple[str, str]], body_bytes: int) -> bytes:
        """Return the head of a request for a generation.

        Args:
            endpoint: Where it goes.
            headers: Client headers with lower-case names; those that this relay sends itself are left out.
            body_bytes: Length of the body that follows, in bytes.

        Raises:
            ClientRequestError: A header cannot be sent.
        """
        lines = [_line(name, value) for name, value in headers if name not in self._own_names]
        return b"%s%sContent-Length: %d\r\n\r\n" % (self._heads[endpoint], b"".join(lines), body_bytes)

    def models_request(self) -> bytes:
        """Return a whole request for the list of models, after which the engine closes the connection."""
        return self._models


def _line(name: str, value: str) -> bytes:
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        # The name may be hostile too: it is not repeated.
        raise ClientRequestError("A request header holds characters that a header cannot carry", code="invalid_header")
    return f"{name}: {value}\r\n".encode("latin-1")
