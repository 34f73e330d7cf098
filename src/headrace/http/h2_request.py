"""The head of an HTTP/2 request, as ASGI says it."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

import msgspec

from headrace.errors import ClientRequestError
from headrace.http.asgi import Headers
from headrace.http.protocol import MAX_HEADERS


class RequestHead(msgspec.Struct, frozen=True):
    """What the pseudo-header fields and the fields say."""

    method: str
    raw_path: bytes
    query: bytes
    headers: Headers

    @property
    def path(self) -> str:
        """Return the path without its percent signs."""
        return unquote(self.raw_path.decode("ascii"))


def read_head(fields: Iterable[tuple[bytes, bytes]], *, max_head_bytes: int, has_body: bool) -> RequestHead:
    """Return the head that valid fields make.

    ``host`` is what ``:authority`` says. One that stands there too is left out when it says the same, and kept when it
    does not, so that there are two: nobody serves that.

    Args:
        fields: Of a request that keeps the rules of RFC 9113 8.2 and 8.3.
        max_head_bytes: Bound on names and values.
        has_body: Whether something follows. When its length is not said, the head says ``transfer-encoding: chunked``,
            as HTTP/1.1 would: who looks for a body finds one.

    Raises:
        ClientRequestError: It is too large (431), or its method or path is not ASCII (400).
    """
    pseudo: dict[bytes, bytes] = {}
    headers: Headers = []
    head_bytes = 0
    for name, value in fields:
        head_bytes += len(name) + len(value)
        if name.startswith(b":"):
            pseudo[bytes(name)] = bytes(value)
        else:
            headers.append((bytes(name), bytes(value)))
    if len(headers) > MAX_HEADERS:
        raise _too_large(f"{MAX_HEADERS} header fields")
    if head_bytes > max_head_bytes:
        raise _too_large(f"{max_head_bytes} bytes")
    authority = pseudo.get(b":authority")
    if authority is not None:
        same = (b"host", authority)
        headers = [same, *(field for field in headers if field != same)]
    if has_body and not any(name == b"content-length" for name, _ in headers):
        headers.append((b"transfer-encoding", b"chunked"))
    # CONNECT has no path (RFC 9113 8.5).
    raw_path, _, query = pseudo.get(b":path", b"").partition(b"?")
    method = pseudo[b":method"]
    if not (raw_path.isascii() and method.isascii()):
        raise ClientRequestError("this is not a valid HTTP request", code="invalid_http")
    return RequestHead(method.decode("ascii"), raw_path, query, headers)


def _too_large(limit: str) -> ClientRequestError:
    return ClientRequestError(f"the request head has more than {limit}", status=431, code="head_too_large")
