"""The page: ``/``, its icon, and the files that it loads.

It may load from the relay alone, nobody may frame it, and its scripts and styles are files of its own. So text of a
model or of a foreign page that gets into it cannot run, and cannot send anything away.
"""

from __future__ import annotations

from headrace.errors import ClientRequestError
from headrace.http.asgi import Headers
from headrace.http.exchange import Exchange

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""W3C CSP level 3. Sent with scripts too: a worker obeys the policy that came with its own file."""

PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
)
"""W3C Permissions Policy: what the page never asks a person for."""

PAGE_HEADERS: Headers = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"permissions-policy", PERMISSIONS_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # A foreign page that opens this one gets no handle on its window (WHATWG HTML 7.1.3).
    (b"cross-origin-opener-policy", b"same-origin"),
    # For browsers that do not say which site a request comes from, so that the guard cannot know (Fetch standard 3.7).
    (b"cross-origin-resource-policy", b"same-origin"),
]


async def show_page(exchange: Exchange) -> None:
    """``GET`` and ``HEAD`` of ``/``, ``/favicon.svg`` and ``/assets/{name}``.

    Raises:
        ClientRequestError: There is no such file.
    """
    asset = exchange.node.assets.find(exchange.path)
    if asset is None:
        raise _not_found(exchange.path)
    asked = exchange.headers()
    coding = asset.coding(asked.get(b"accept-encoding", b""))
    etag = asset.etag(coding)
    head = [*PAGE_HEADERS, (b"cache-control", asset.cache_control), (b"etag", etag)]
    if asset.is_compressible:
        head.append((b"vary", b"Accept-Encoding"))
    if _names(asked.get(b"if-none-match", b""), etag):
        await exchange.start(304, head)
        await exchange.finish()
        return
    body = await asset.body(coding)
    if coding is not None:
        head.append((b"content-encoding", coding))
    await exchange.start(200, [(b"content-type", asset.content_type), (b"content-length", b"%d" % len(body)), *head])
    if exchange.method != "HEAD":
        await exchange.send(body)
    await exchange.finish()


def _names(if_none_match: bytes, etag: bytes) -> bool:
    """Return whether ``If-None-Match`` names a tag (RFC 9110 13.1.2), weakened or not: proxies weaken tags."""
    tags = [tag.strip() for tag in if_none_match.split(b",")]
    return tags == [b"*"] or any(tag.removeprefix(b"W/") == etag for tag in tags)


def _not_found(path: str) -> ClientRequestError:
    if path == "/":
        message = (
            "the page is missing from this installation: install headrace anew, or build it in web/; the API works"
        )
        return ClientRequestError(message, status=404, code="page_missing")
    return ClientRequestError(f"the page has no file {path[:200]!r}", status=404, code="file_not_found")
