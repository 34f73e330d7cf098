"""The ASGI application: a table of routes, and one place where errors become answers."""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Awaitable, Callable

import msgspec

from headrace.delivery.consumer import ConsumerClosed
from headrace.errors import ClientRequestError, RelayError
from headrace.http.asgi import Receive, Scope, Send
from headrace.http.completions import chat_completions, chat_stream, completions
from headrace.http.eventsource import get_completion_stream, issue_ticket, post_completion_stream
from headrace.http.exchange import Exchange
from headrace.http.health import engines, healthz, metrics, models, readyz
from headrace.http.identity import require_admin
from headrace.http.keys import create_key, list_keys, revoke_key, rotate_key, show_key
from headrace.http.me import show_caller
from headrace.http.node import Node
from headrace.http.page import show_page
from headrace.http.perceived import report_perceived
from headrace.http.socket import serve_socket
from headrace.http.streams import cancel_stream, erase_stream, follow_stream, list_streams, show_stream
from headrace.http.timeline import show_timeline
from headrace.http.usage import show_usage

logger = logging.getLogger(__name__)

Handler = Callable[[Exchange], Awaitable[None]]


class Access(enum.Enum):
    """Who may use a route, once there are keys."""

    KEY = "whoever has a good key"
    ADMIN = "whoever has a good key with the role admin"
    TICKET = "as KEY, or who brings a ticket: the handler finds out"
    OPEN = "everybody"


class Route(msgspec.Struct, frozen=True):
    """One endpoint. ``{name}`` in the path matches one segment."""

    method: str
    path: str
    handler: Handler
    access: Access = Access.KEY


ROUTES = (
    Route("POST", "/v1/chat/completions", chat_completions),
    Route("POST", "/v1/completions", completions),
    Route("POST", "/api/v1/chat/stream", chat_stream),
    Route("POST", "/v1/completions/stream", post_completion_stream),
    Route("GET", "/v1/completions/stream", get_completion_stream, Access.TICKET),
    Route("POST", "/v1/tickets", issue_ticket),
    Route("GET", "/v1/models", models),
    Route("GET", "/v1/engines", engines, Access.ADMIN),
    Route("GET", "/v1/streams", list_streams),
    Route("GET", "/v1/streams/{stream_id}", show_stream),
    Route("DELETE", "/v1/streams/{stream_id}", erase_stream),
    Route("GET", "/v1/streams/{stream_id}/events", follow_stream),
    Route("GET", "/v1/streams/{stream_id}/timeline", show_timeline),
    Route("POST", "/v1/streams/{stream_id}/cancel", cancel_stream),
    Route("POST", "/v1/streams/{stream_id}/perceived", report_perceived),
    Route("GET", "/v1/me", show_caller),
    Route("GET", "/v1/usage", show_usage),
    Route("POST", "/v1/keys", create_key, Access.ADMIN),
    Route("GET", "/v1/keys", list_keys, Access.ADMIN),
    Route("GET", "/v1/keys/{key_id}", show_key, Access.ADMIN),
    Route("POST", "/v1/keys/{key_id}/rotate", rotate_key, Access.ADMIN),
    Route("DELETE", "/v1/keys/{key_id}", revoke_key, Access.ADMIN),
    Route("GET", "/healthz", healthz, Access.OPEN),
    Route("GET", "/readyz", readyz, Access.OPEN),
    Route("GET", "/metrics", metrics),
    # HEAD is not answered as GET everywhere: a GET of the EventSource route starts a stream.
    *(
        Route(method, path, show_page, Access.OPEN)
        for path in ("/", "/favicon.svg", "/assets/{name}")
        for method in ("GET", "HEAD")
    ),
)


SOCKET_PATH = "/v1/stream"
"""Where WebSockets are served."""


class App:
    """Routes one request to its handler."""

    def __init__(self, node: Node, routes: tuple[Route, ...] = ROUTES) -> None:
        self._node = node
        self._routes = routes
        self._fixed = {(route.method, route.path): route for route in routes if "{" not in route.path}
        self._patterns = [(route, _pattern(route.path)) for route in routes if "{" in route.path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if scope["path"] == SOCKET_PATH:
                await serve_socket(self._node, scope, receive, send)
            else:
                # ASGI closes an unanswered handshake as 403.
                await send({"type": "websocket.close", "code": 1008})
            return
        params: dict[str, str] = {}
        route = self._fixed.get((scope["method"], scope["path"])) or self._match(scope, params)
        exchange = Exchange(self._node, scope, receive, send, params)
        try:
            if route is None:
                await self._no_such(exchange)
            else:
                await self._admit(exchange, route.access)
                await route.handler(exchange)
        except ConsumerClosed:
            # The client left while it was served: there is nobody to answer.
            return
        except RelayError as error:
            if exchange.has_started:
                raise
            self._node.metrics.rejected(error.status)
            await exchange.respond_error(error)
        except Exception:
            # The boundary of one request: whatever went wrong in it must not say more than that to the client.
            logger.exception("request %s failed", exchange.request_id)
            if exchange.has_started:
                raise
            await exchange.respond_error(RelayError("the relay failed on this request; its log says why"))

    async def _admit(self, exchange: Exchange, access: Access) -> None:
        """Find out who calls.

        Raises:
            Unauthorized: There is no good key.
            Forbidden: It is not enough.
        """
        if access is Access.OPEN or (access is Access.TICKET and "ticket" in exchange.query()):
            return
        exchange.caller = await self._node.gate.admit(exchange.headers())
        if access is Access.ADMIN:
            require_admin(exchange.caller)

    def _match(self, scope: Scope, params: dict[str, str]) -> Route | None:
        for route, pattern in self._patterns:
            found = pattern.fullmatch(scope["path"])
            if found is not None and route.method == scope["method"]:
                params.update(found.groupdict())
                return route
        return None

    async def _no_such(self, exchange: Exchange) -> None:
        """Say which endpoints there are.

        Raises:
            ClientRequestError: There is no such path.
        """
        path, method = exchange.path, exchange.method
        methods = sorted(
            {route.method for route in self._routes if route.path == path}
            | {route.method for route, pattern in self._patterns if pattern.fullmatch(path)}
        )
        if methods:
            allowed = ", ".join(methods)
            error = ClientRequestError(
                f"{method} is not allowed here; allowed: {allowed}", status=405, code="method_not_allowed"
            )
            self._node.metrics.rejected(error.status)
            # RFC 9110 15.5.6: the answer must name them in this header.
            await exchange.respond_error(error, headers=[(b"allow", allowed.encode())])
            return
        known = ", ".join(f"{route.method} {route.path}" for route in self._routes)
        raise ClientRequestError(
            f"there is no endpoint {path[:200]!r}; there are: {known}", status=404, code="endpoint_not_found"
        )


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))
