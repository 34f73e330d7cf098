"""Requests as bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from headrace._version import __version__
from headrace.engines.openai.dialect import OPENAI, Dialect
from headrace.engines.openai.url import BaseURL
from headrace.errors import ClientRequestError
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

_KEYS = frozenset({"authorization", "x-api-key"})


class RequestEncoder:
    """Writes the heads of requests to one engine, up to the lines that depend on the key (``Dialect.head_end``)."""

    def __init__(self, base_url: BaseURL, dialect: Dialect = OPENAI) -> None:
        """Prepare what all requests share."""
        self.dialect = dialect
        own = [f"Host: {base_url.authority}", "Accept-Encoding: identity", f"User-Agent: headrace/{__version__}"]
        shared = "\r\n".join([*own, *(f"{name}: {value}" for name, value in dialect.headers)])
        self._own = _OWN | {name.lower() for name, _ in dialect.headers}
        self._heads = {
            endpoint: (
                f"POST {base_url.path}/{path} HTTP/1.1\r\n{shared}\r\n"
                "Content-Type: application/json\r\nAccept: text/event-stream\r\n"
            ).encode("ascii")
            for endpoint, path in dialect.paths.items()
        }
        self._models = f"GET {base_url.path}/{dialect.models}".encode("ascii")
        self._models_end = f" HTTP/1.1\r\n{shared}\r\nAccept: application/json\r\nConnection: close\r\n".encode("ascii")

    def head(self, endpoint: Endpoint, headers: Iterable[tuple[str, str]], body_bytes: int, *, is_keyed: bool) -> bytes:
        """Return the head of a request for a generation, but for its last lines.

        Args:
            endpoint: Where it goes.
            headers: Client headers with lower-case names; those that this relay sends itself are left out.
            body_bytes: Length of the body that follows, in bytes.
            is_keyed: The relay authorizes the request, so that the client must not, in whatever header.

        Raises:
            ClientRequestError: A header cannot be sent.
        """
        own = self._own | _KEYS if is_keyed else self._own
        lines = [_line(name, value) for name, value in headers if name not in own]
        return b"%s%sContent-Length: %d\r\n" % (self._heads[endpoint], b"".join(lines), body_bytes)

    def models_request(self, after: str | None = None) -> bytes:
        """Return a request for the list of models, but for its last lines; after it the engine closes the connection.

        Args:
            after: The last name of the page before; None for the first one.
        """
        page = b"" if after is None else f"&after_id={quote(after, safe='')}".encode("ascii")
        return self._models + page + self._models_end


def _line(name: str, value: str) -> bytes:
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        # The name may be hostile too: it is not repeated.
        raise ClientRequestError("A request header holds characters that a header cannot carry", code="invalid_header")
    return f"{name}: {value}\r\n".encode("latin-1")
