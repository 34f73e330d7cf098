"""Who may talk to the relay: programs of this machine, and pages it serves itself; with keys, whoever shows one.

A page of any website that a person visits can send requests to 127.0.0.1. It must neither read a stream, nor start or
stop one. Three facts give such a request away:

- ``Host`` names another machine: the page's own name was pointed at 127.0.0.1 (DNS rebinding). Answer: 421.
- ``Origin`` is another one than the relay's (browsers send it with every request that changes something, and with
  every one that wants to read the answer; Fetch standard 3.2). Answer: 403.
- ``Sec-Fetch-Site`` says that another site caused it (W3C Fetch Metadata 2.4). Answer: 403.

Programs send neither ``Origin`` nor ``Sec-Fetch-Site`` and pass. Origins in ``cors_origins`` pass too, and get the
headers that let their pages read the answer (Fetch standard 3.3). Behind a proxy that ends TLS the relay's own origin
looks foreign unless the proxy sends ``X-Forwarded-Proto``, or the origin is listed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from headrace.errors import ClientRequestError
from headrace.http.asgi import Application, Headers, Message, Receive, Scope, Send
from headrace.policy.loopback import is_loopback
from headrace.protocol.errors import error_body

# RFC 9110 7.2: uri-host [ ":" port ]. Registered names are kept to what DNS and browsers use.
_HOST = re.compile(rb"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\])(?::[0-9]{1,5})?")
_FIELD_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z, -]*")

_READ = frozenset(
    {
        b"host",
        b"authorization",
        b"origin",
        b"sec-fetch-site",
        b"sec-fetch-mode",
        b"sec-fetch-dest",
        b"content-type",
        b"content-encoding",
        b"content-length",
        b"transfer-encoding",
        b"access-control-request-method",
        b"access-control-request-headers",
        b"access-control-request-private-network",
        b"x-forwarded-proto",
    }
)
_OWN_SITES = frozenset({b"same-origin", b"none"})
_WITH_JSON_BODY = frozenset({"POST", "PUT", "PATCH"})
_HTTP_SCHEMES = {"http": b"http://", "https": b"https://", "ws": b"http://", "wss": b"https://"}
_METHODS = b"GET, POST, DELETE"  # of all routes
_EXPOSED = b"Headrace-Stream-Id, Headrace-Durability, X-Request-Id, Retry-After, X-Should-Retry, Cache-Status, Age"
_PREFLIGHT_AGE_S = 600
_MAX_KNOWN_HOSTS = 64
"""Values of ``Host`` whose answer is remembered; clients choose them, so their number is bounded."""


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a request."""

    refusal: ClientRequestError | None = None
    cors: Headers = []
    """Headers to add to the response."""
    is_preflight: bool = False
    """A question of a browser whether a page may ask: ``cors`` is all of the answer."""


PASS = Verdict()


class Guard:
    """Decides by the head of a request.

    Args:
        allowed_hosts: Values of ``Host`` to accept beside loopback ones: a name for any port, or ``name:port``.
        cors_origins: Origins whose pages may call the relay.
        needs_keys: Whether every caller has to show a key, which no page of a stranger has: then ``Host`` may name
            anything, since a relay that serves the world has many names.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Iterable[str] = (),
        cors_origins: Iterable[str] = (),
        needs_keys: Callable[[], bool] = lambda: False,
    ) -> None:
        self._needs_keys = needs_keys
        self.adopt(allowed_hosts=allowed_hosts, cors_origins=cors_origins)

    def adopt(self, *, allowed_hosts: Iterable[str], cors_origins: Iterable[str]) -> None:
        """Go by these from now on."""
        self._allowed_hosts = frozenset(host.lower().encode() for host in allowed_hosts)
        self._origins = frozenset(origin.encode() for origin in cors_origins)
        self._known_hosts: set[bytes] = set()

    def decide(self, scope: Scope) -> Verdict:
        """Return what becomes of an HTTP request or a WebSocket handshake; ``PASS`` itself for most."""
        seen: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in _READ:
                if name in seen:
                    # RFC 9112 3.2 demands 400 for Host. The others are single too; two of them are an attempt to be
                    # read in two ways.
                    return _refused(400, "repeated_header", f"the header {name.decode()} stands there twice")
                seen[name] = value
        refusal = self._refuse_host(seen)
        if refusal is not None:
            return refusal
        origin = seen.get(b"origin")
        if origin is not None and origin in self._origins:
            return _of_listed_origin(scope, seen, origin)
        return _refuse_site(scope, seen) or _refuse_body(scope, seen) or PASS

    def _refuse_host(self, seen: dict[bytes, bytes]) -> Verdict | None:
        host = seen.get(b"host")
        if host is None:
            return _refused(400, "host_missing", "the request has no Host header")
        if host in self._known_hosts or self._needs_keys():
            return None
        if not self._is_served(host.lower()):
            return _refused(
                421,
                "host_not_allowed",
                f"the host {_shown(host)} is not served here; server.allowed_hosts names those beside loopback",
            )
        if len(self._known_hosts) < _MAX_KNOWN_HOSTS:
            self._known_hosts.add(host)
        return None

    def _is_served(self, host: bytes) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name, address = found[1], found[2]
        if is_loopback((name or address).decode("ascii")):
            return True
        return host in self._allowed_hosts or (name or b"[%s]" % address) in self._allowed_hosts


def _of_listed_origin(scope: Scope, seen: dict[bytes, bytes], origin: bytes) -> Verdict:
    vary = (b"vary", b"Origin, Access-Control-Request-Headers")
    cors = [(b"access-control-allow-origin", origin), vary]
    if scope["type"] == "http" and scope["method"] == "OPTIONS" and b"access-control-request-method" in seen:
        cors += [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", b"%d" % _PREFLIGHT_AGE_S),
        ]
        # SDKs in browsers send names of their own (x-stainless-…): whatever is asked for is allowed.
        asked = seen.get(b"access-control-request-headers", b"")
        if asked and _FIELD_NAMES.fullmatch(asked):
            cors.append((b"access-control-allow-headers", asked))
        if seen.get(b"access-control-request-private-network") == b"true":
            cors.append((b"access-control-allow-private-network", b"true"))
        return Verdict(cors=cors, is_preflight=True)
    cors.append((b"access-control-expose-headers", _EXPOSED))
    refused = _refuse_body(scope, seen)
    return Verdict(cors=cors, refusal=refused.refusal if refused is not None else None)


def _refuse_site(scope: Scope, seen: dict[bytes, bytes]) -> Verdict | None:
    """Refuse what a page of another origin has caused."""
    origin = seen.get(b"origin")
    if origin is not None and origin.lower() != _own_scheme(scope, seen) + seen[b"host"].lower():
        return _refused(
            403,
            "origin_not_allowed",
            f"pages of {_shown(origin)} may not call this relay; server.cors_origins names those that may",
        )
    site = seen.get(b"sec-fetch-site")
    if site is None or site in _OWN_SITES or _is_visit(scope, seen):
        return None
    return _refused(403, "site_not_allowed", f"a {_shown(site)} request may not call this relay")


def _own_scheme(scope: Scope, seen: dict[bytes, bytes]) -> bytes:
    """Return how the relay's own origin begins: as the proxy says that ended TLS.

    Nobody need be trusted with it: a page can send this header only after a preflight, which a foreign one is refused.
    """
    told = seen.get(b"x-forwarded-proto", b"").decode("latin-1").lower()
    return _HTTP_SCHEMES.get(told) or _HTTP_SCHEMES.get(scope["scheme"], b"")


def _is_visit(scope: Scope, seen: dict[bytes, bytes]) -> bool:
    """Return whether a person followed a link to the front page: in a tab, so that the linking page reads nothing."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and scope["path"] == "/"
        and seen.get(b"sec-fetch-mode") == b"navigate"
        and seen.get(b"sec-fetch-dest", b"document") == b"document"
    )


def _refuse_body(scope: Scope, seen: dict[bytes, bytes]) -> Verdict | None:
    """Refuse bodies that are not plain JSON. Forms and text are what pages may send anywhere without being asked."""
    if scope["type"] != "http" or (
        seen.get(b"content-length", b"0").strip(b"0") == b"" and b"transfer-encoding" not in seen
    ):
        return None
    if seen.get(b"content-encoding", b"identity").lower() != b"identity":
        return _refused(415, "unsupported_encoding", "compressed request bodies are not taken")
    media_type = seen.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if scope["method"] in _WITH_JSON_BODY and media_type != b"application/json":
        return _refused(415, "unsupported_media_type", "the request body must be application/json")
    return None


def _refused(status: int, code: str, message: str) -> Verdict:
    return Verdict(refusal=ClientRequestError(message, status=status, code=code))


def _shown(value: bytes) -> str:
    return repr(value[:100].decode("latin-1"))


class GuardedApp:
    """An ASGI application behind a guard.

    Args:
        app: What answers requests that pass.
        guard: Decides which do.
        on_refused: Told the status of each refusal.
    """

    def __init__(self, app: Application, guard: Guard, *, on_refused: Callable[[int], None]) -> None:
        self._app = app
        self._guard = guard
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        verdict = self._guard.decide(scope)
        if verdict is PASS:
            await self._app(scope, receive, send)
        elif verdict.refusal is not None:
            self._on_refused(verdict.refusal.status)
            await _refuse(scope, send, verdict.refusal, verdict.cors)
        elif verdict.is_preflight:
            await _respond(send, 204, verdict.cors, b"")
        else:
            await self._app(scope, receive, _adding(verdict.cors, send))


def _adding(headers: Headers, send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return send_with_headers


async def _refuse(scope: Scope, send: Send, error: ClientRequestError, headers: Headers) -> None:
    if scope["type"] == "websocket":
        # ASGI: closed before it was accepted, a handshake is answered with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    body = error_body(message=error.message, type=error.type, code=error.code, param=error.param)
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await _respond(send, error.status, head, body)


async def _respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
