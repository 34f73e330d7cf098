"""One HTTP exchange over raw ASGI: the request as handlers read it, and the few ways to answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from headrace.delivery.consumer import Consumer, ConsumerClosed
from headrace.delivery.uptake import Peer
from headrace.errors import ClientRequestError, RelayError
from headrace.http.asgi import Headers, Receive, Scope, Send
from headrace.http.compression import CODECS, Compressor, chosen
from headrace.http.headers import retry_after
from headrace.http.node import Node, new_request_id
from headrace.protocol.errors import error_body
from headrace.types.access import Caller
from headrace.types.outcome import Cause

T = TypeVar("T")

NO_BUFFERING: Headers = [
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]
"""What keeps proxies from holding a stream back, and Chromium from reading ahead of a page that takes nothing: unless it
must not store an answer, it reads all of it into memory."""


class NoPeer:
    """Stands in where the server tells nothing of its connection: slow clients are then the server's business."""

    def abort(self) -> None:
        return

    def write_buffer_bytes(self) -> int:
        return 0

    def is_gone(self) -> bool:
        return False


class Exchange:
    """One request and its answer.

    Args:
        node: The node that serves it.
        scope: The ASGI scope.
        receive: The ASGI receive callable.
        send: The ASGI send callable.
        params: What the route's pattern matched.
    """

    def __init__(self, node: Node, scope: Scope, receive: Receive, send: Send, params: dict[str, str]) -> None:
        self.node = node
        self.params = params
        self.request_id = new_request_id()
        self.has_started = False
        """Whether the response head is out."""
        self._caller: Caller | None = None
        self.more_headers: Headers = []
        """What every answer to it carries."""
        self._scope = scope
        self._receive = receive
        self._send = send
        self._compressor: Compressor | None = None
        self._plain_bytes = 0
        self._sent_bytes = 0

    # --- the request

    @property
    def caller(self) -> Caller:
        """Who sends the request. Whoever routes it finds out; on routes that are open to everybody nobody asks."""
        if self._caller is None:
            raise RuntimeError("nobody has found out who sends this request")
        return self._caller

    @caller.setter
    def caller(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def method(self) -> str:
        method: str = self._scope["method"]
        return method

    @property
    def path(self) -> str:
        path: str = self._scope["path"]
        return path

    @property
    def peer(self) -> Peer:
        extensions: dict[str, Any] = self._scope.get("extensions") or {}
        peer: Peer | None = extensions.get("headrace.connection")
        return peer if peer is not None else NoPeer()

    def headers(self) -> dict[bytes, bytes]:
        """Return the request headers by lower-case name; of a repeated one the last."""
        return dict(self._scope["headers"])

    def query(self) -> dict[str, str]:
        """Return the query parameters; of a repeated one the last.

        Raises:
            ClientRequestError: It is no query string.
        """
        raw = self._scope.get("query_string", b"")
        try:
            found = parse_qs(raw.decode("ascii"), keep_blank_values=True, max_num_fields=32)
        except (UnicodeDecodeError, ValueError) as error:
            raise ClientRequestError("the query string is not valid") from error
        return {name: values[-1] for name, values in found.items()}

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            ClientRequestError: It is larger than the limit (413), or did not arrive in time (408).
        """
        try:
            async with asyncio.timeout(self.node.settings.server.body_timeout_s):
                return await self._read_body()
        except TimeoutError:
            raise ClientRequestError("the request body did not arrive in time", status=408) from None

    async def _read_body(self) -> bytes:
        limit = self.node.settings.server.max_body_bytes
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConsumerClosed(Cause.CLIENT_GONE)
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise ClientRequestError(f"the request body is larger than {limit} bytes", status=413)
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    # --- the answer

    async def start(self, status: int, headers: Headers) -> None:
        """Send the response head, with the request's id."""
        self.has_started = True
        all_headers = [*headers, *self.more_headers, (b"x-request-id", self.request_id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def start_stream(self, content_type: str, headers: Headers) -> None:
        """Send the head of an answer that is written bit by bit, compressed if the node does that and the client asks."""
        head = [(b"content-type", content_type.encode()), *NO_BUFFERING, *headers]
        if self.node.settings.stream.compress:
            head.append((b"vary", b"Accept-Encoding"))
            coding = chosen(self.headers().get(b"accept-encoding", b""))
            if coding is not None:
                head.append((b"content-encoding", coding))
                self._compressor = CODECS[coding]()
        await self.start(200, head)

    async def send(self, body: bytes) -> None:
        """Send a part of the response body; waits while the peer takes nothing.

        Raises:
            ConsumerClosed: The client left before it was written.
        """
        if self._compressor is not None:
            self._plain_bytes += len(body)
            body = self._compressor.add(body)
            self._sent_bytes += len(body)
        self.require_peer()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        # The server writes nothing, and does not say so, when the client left while this waited for room.
        self.require_peer()

    async def finish(self) -> None:
        """End the response body."""
        body = b""
        if self._compressor is not None:
            body = self._compressor.finish()
            self.node.metrics.compressed(self._plain_bytes - self._sent_bytes - len(body))
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def respond(
        self, status: int, body: bytes, *, content_type: bytes = b"application/json", headers: Headers | None = None
    ) -> None:
        """Send a whole response."""
        head = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *(headers or [])]
        await self.start(status, head)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def respond_json(self, value: Any, *, status: int = 200, headers: Headers | None = None) -> None:
        await self.respond(status, msgspec.json.encode(value), headers=headers)

    async def respond_error(self, error: RelayError, *, headers: Headers | None = None) -> None:
        """Send an error in OpenAI's shape."""
        body = error_body(message=error.message, type=error.type, code=error.code, param=error.param)
        head = [*(headers or []), *((name.encode(), value.encode()) for name, value in error.headers)]
        if error.retry_after_s is not None:
            head.append(retry_after(error.retry_after_s))
        await self.respond(error.status, body, headers=head)

    def require_peer(self) -> None:
        """Make sure that the client can still be written to.

        Raises:
            ConsumerClosed: It left. Whoever watches for that has not been told yet.
        """
        if self.peer.is_gone():
            raise ConsumerClosed(Cause.CLIENT_GONE)

    async def while_here(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns; it is cancelled when the client leaves before.

        Raises:
            ConsumerClosed: The client left.
            RelayError: ``work`` raised it.
        """
        failure: RelayError | None = None

        async def guarded() -> T | None:
            nonlocal failure
            try:
                return await work
            except RelayError as error:
                failure = error
                return None

        async with asyncio.TaskGroup() as group:
            working = group.create_task(guarded(), name="work for a client")
            watching = group.create_task(self._left(), name="watch for disconnect")
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
            is_done = working.done()
            working.cancel()
            watching.cancel()
        if failure is not None:
            raise failure
        result = working.result() if is_done else None
        if result is None:
            raise ConsumerClosed(Cause.CLIENT_GONE)
        return result

    async def watched(self, consumer: Consumer, answer: Awaitable[None]) -> None:
        """Await ``answer`` while watching for the client to leave, which closes the consumer at once."""
        failure: RelayError | None = None
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch(consumer), name="watch for disconnect")
            try:
                await answer
            except ConsumerClosed:
                # The server must see the connection gone before the handler returns, or takes the answer for incomplete.
                self.peer.abort()
                await watcher
            except RelayError as error:
                failure = error
            finally:
                watcher.cancel()
        if failure is not None:
            raise failure

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _watch(self, consumer: Consumer) -> None:
        await self._left()
        consumer.close(Cause.CLIENT_GONE)
