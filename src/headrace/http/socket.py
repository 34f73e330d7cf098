"""``WS /v1/stream``: one client with many streams on one connection.

::

    client ──messages──► Socket.run ──start, resume──► a task for each stream: consumer ──► frames ──► client
                                    ──stop──► pump    ──credit, detach──► that task's consumer

What a client does wrong is of two kinds. What concerns a stream (no such stream, a refused request) is an ``error`` message,
and everything else goes on. What breaks the protocol closes the connection with a code of ``Close``; then its streams are as
after any other lost connection: they linger, and can be resumed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from headrace.delivery.consumer import Consumer, ConsumerClosed
from headrace.delivery.options import DeliveryOptions
from headrace.delivery.uptake import Peer, Uptake
from headrace.delivery.writer import write
from headrace.errors import ClientRequestError, Overloaded, RelayError, StreamCancelled
from headrace.http.asgi import Message, Receive, Scope, Send
from headrace.http.ask import Ask
from headrace.http.closing import Close, Closing
from headrace.http.exchange import NoPeer
from headrace.http.followed import Followed
from headrace.http.intake import begin
from headrace.http.node import Node, new_request_id
from headrace.http.parameters import stream_id_of
from headrace.http.socket_caller import SocketCaller
from headrace.http.streams import next_position
from headrace.http.visible import log_of, stop
from headrace.http.websocket import SHUTDOWN
from headrace.protocol.duplex import (
    SUBPROTOCOL,
    Auth,
    ClientMessage,
    Detach,
    DuplexEncoder,
    Grant,
    MalformedMessage,
    Ping,
    Resume,
    Start,
    Stop,
    error_message,
    parse_message,
    pong_message,
)
from headrace.protocol.request import parse_chat_request
from headrace.types.engine import Endpoint
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause

logger = logging.getLogger(__name__)

TICKET_SUBPROTOCOL = "headrace.ticket."
"""A browser cannot set headers on a handshake; a ticket may ride as a subprotocol behind this."""

T = TypeVar("T")

_OF_HANDSHAKE = frozenset({b"cache-control", b"idempotency-key"})
"""Headers that would hold for every request of a connection. Browsers send the first with each handshake."""

MAX_REASON_BYTES = 120
"""Of a close frame (RFC 6455 5.5: 125 with the code)."""


SHUTDOWN_WAIT_S = 2.0
"""How long a shutdown waits until the ends of all streams are sent."""


class FrameConnection(Peer, Protocol):
    """The connection as a session needs it."""

    async def write(self, frames: bytes) -> None:
        """Write whole frames; waits while the peer takes nothing."""


async def serve_socket(node: Node, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one WebSocket handshake, and serve the connection to its end."""
    await receive()
    offered: list[str] = list(scope.get("subprotocols") or [])
    tickets = [name.removeprefix(TICKET_SUBPROTOCOL) for name in offered if name.startswith(TICKET_SUBPROTOCOL)]
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in offered else None
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    connection: FrameConnection = scope["extensions"]["headrace.connection"]
    socket = Socket(node, connection, headers=dict(scope["headers"]))
    try:
        await socket.caller.recognise(tickets[0] if tickets else None)
        await socket.run(receive)
    except Closing as closing:
        if closing.code is not Close.RESTART:
            node.metrics.rejected(400)
        reason = closing.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        await send({"type": "websocket.close", "code": int(closing.code), "reason": reason})
    except Exception:
        logger.exception("a WebSocket connection failed")
        await send(
            {"type": "websocket.close", "code": int(Close.FAULT), "reason": "the relay failed; its log says why"}
        )


class Socket:
    """One connection, and the streams that it follows.

    Args:
        node: The node that serves it.
        connection: Where frames go.
        headers: Of the handshake, by lower-case name.
    """

    def __init__(self, node: Node, connection: FrameConnection, *, headers: dict[bytes, bytes]) -> None:
        self._node = node
        self._connection = connection
        # What a browser says of the handshake is no wish of the requests that follow.
        self._headers = {name: value for name, value in headers.items() if name not in _OF_HANDSHAKE}
        self._uptake = Uptake(connection, node.clocks.monotonic_s())
        self._followed: dict[StreamId, Consumer] = {}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._tasks = asyncio.TaskGroup()
        self._is_first = True
        self.caller = SocketCaller(node, headers)
        self._waiting: dict[StreamId, asyncio.Task[None]] = {}
        """Streams that wait for their limits."""
        self._early_credit: dict[StreamId, int] = {}
        self._handlers: dict[type, Callable[[Any], Awaitable[None]]] = {
            Auth: self._auth,
            Start: self._start,
            Resume: self._resume,
            Stop: self._stop,
            Detach: self._detach,
            Grant: self._grant,
            Ping: self._ping,
        }

    async def run(self, receive: Receive) -> None:
        """Serve the client until it leaves; then let go of its streams, which linger as each was told.

        Raises:
            Closing: The client broke the protocol. Nothing more is written to it.
        """
        failure: Closing | None = None
        self._node.sweep.add(self)
        try:
            async with self._tasks:
                try:
                    await self._receive_all(receive)
                except Closing as closing:
                    failure = closing
                finally:
                    for task in tuple(self._waiting.values()):
                        task.cancel()
                    for consumer in tuple(self._followed.values()):
                        consumer.close(Cause.CLIENT_GONE)
        finally:
            self._node.sweep.discard(self)
        if failure is not None:
            raise failure

    def expire(self, now_s: float) -> None:
        """Drop a client that takes nothing of what waits for it."""
        if self._uptake.stuck_s(now_s) >= self._node.timeouts.slow_client_s:
            for consumer in tuple(self._followed.values()):
                consumer.close(Cause.SLOW_CLIENT)
            self._connection.abort()

    # --- what the client sends

    async def _receive_all(self, receive: Receive) -> None:
        while True:
            event = await (receive() if self.caller.is_known else self._introduction(receive))
            if event["type"] == "websocket.disconnect":
                return
            if event["type"] == SHUTDOWN:
                # All streams have ended; their ends come with the next commit.
                if self._deliveries:
                    await asyncio.wait(self._deliveries, timeout=SHUTDOWN_WAIT_S)
                raise Closing(Close.RESTART, "the relay restarts")
            message = _message_of(event)
            if not isinstance(message, Auth):
                self.caller.require_known()
            try:
                await self._handlers[type(message)](message)
            except RelayError as error:
                self._node.metrics.rejected(error.status)
                await self._write(error_message(error, stream=getattr(message, "stream", None)))
            self._is_first = False

    async def _introduction(self, receive: Receive) -> Message:
        """Return what comes first from a client that has not said who it is: strangers may not hold connections for ever.

        Raises:
            Closing: Nothing comes for as long as a request may take to say who sends it.
        """
        try:
            async with asyncio.timeout(self._node.settings.server.head_timeout_s):
                return await receive()
        except TimeoutError:
            raise Closing(Close.UNAUTHORIZED, "auth did not arrive in time") from None

    async def _auth(self, message: Auth) -> None:
        if not self._is_first:
            raise Closing(Close.OUT_OF_ORDER, "auth must be the first message")
        await self.caller.tell(message)

    async def _start(self, message: Start) -> None:
        node, stream_id = self._node, stream_id_of(message.stream, "stream")
        self._require_room(stream_id)
        body = msgspec.json.encode({**message.request, "stream": True})
        request = parse_chat_request(body, max_choices=node.limits.max_choices)
        ask = Ask(
            caller=self.caller.now(),
            request=request,
            body=body,
            endpoint=Endpoint.CHAT,
            stream_id=stream_id,
            proposed_as="stream",
            request_id=new_request_id(),
            headers=self._headers,
            linger_s=self._linger_s(message),
            wants_usage=request.wants_usage,
        )
        queued: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = self._tasks.create_task(self._begin(ask, message, queued), name=f"begin {stream_id}")
        self._waiting[stream_id] = task
        task.add_done_callback(lambda _: self._begun(stream_id))
        # While it waits for its limits, the client may have other things to say.
        await asyncio.wait((task, queued), return_when=asyncio.FIRST_COMPLETED)

    def _begun(self, stream_id: StreamId) -> None:
        self._waiting.pop(stream_id, None)
        self._early_credit.pop(stream_id, None)

    async def _begin(self, ask: Ask, message: Start, queued: asyncio.Future[None]) -> None:
        """Start a stream; ``queued`` is done when that takes its time."""

        async def wait(work: Coroutine[Any, Any, T]) -> T:
            if not queued.done():
                queued.set_result(None)
            return await work

        try:
            begun = await begin(self._node, ask, waits=wait)
        except RelayError as error:
            self._node.metrics.rejected(error.status)
            await self._write(error_message(error, stream=ask.stream_id))
        else:
            self._follow(begun.followed, Offset(0), message)

    async def _resume(self, message: Resume) -> None:
        node, stream_id = self._node, stream_id_of(message.stream, "stream")
        self._require_room(stream_id)
        followed = await log_of(node, self.caller.now(), stream_id)
        self._follow(followed, next_position(node, followed, Offset(message.after), param="after"), message)

    async def _stop(self, message: Stop) -> None:
        stream_id = stream_id_of(message.stream, "stream")
        if stop(self._node, self.caller.now(), stream_id, "stopped by request"):
            return
        if stream_id in self._waiting:
            self._turn_away(stream_id)
        else:
            # Ended already, or never there, which is an error.
            await log_of(self._node, self.caller.now(), stream_id)

    def _turn_away(self, stream_id: StreamId) -> None:
        """Let a stream not begin that still waits for its limits.

        Raises:
            StreamCancelled: Always, for the client.
        """
        self._waiting[stream_id].cancel()
        raise StreamCancelled(f"{stream_id} was stopped before it began")

    async def _detach(self, message: Detach) -> None:
        stream_id = stream_id_of(message.stream, "stream")
        consumer = self._followed.get(stream_id)
        if consumer is not None:
            consumer.close(Cause.CLIENT_GONE)
        elif stream_id in self._waiting:
            self._turn_away(stream_id)
        else:
            await self._require_known(message.stream)

    async def _grant(self, message: Grant) -> None:
        stream_id = stream_id_of(message.stream, "stream")
        consumer = self._followed.get(stream_id)
        if consumer is not None:
            consumer.grant(message.credit)
        elif stream_id in self._waiting:
            self._early_credit[stream_id] = self._early_credit.get(stream_id, 0) + message.credit
        else:
            await self._require_known(message.stream)

    async def _ping(self, message: Ping) -> None:
        await self._write(pong_message(message))

    async def _require_known(self, stream: str) -> None:
        """Allow a message on a stream that ended while it was on its way.

        Raises:
            Closing: There is no such stream at all: the client is out of step.
        """
        try:
            await log_of(self._node, self.caller.now(), stream_id_of(stream, "stream"))
        except RelayError as error:
            raise Closing(Close.OUT_OF_ORDER, f"{stream} is not followed here") from error

    def _require_room(self, stream_id: StreamId) -> None:
        """Make sure that one more stream can be followed.

        Raises:
            Closing: It is followed already.
            Overloaded: The connection follows as many as it may.
        """
        if stream_id in self._followed or stream_id in self._waiting:
            raise Closing(Close.OUT_OF_ORDER, f"{stream_id} is followed already")
        most = self._node.limits.max_connection_streams
        if len(self._followed) + len(self._waiting) >= most:
            raise Overloaded(f"{most} streams are followed here, which is limits.max_connection_streams")

    def _linger_s(self, message: Start) -> float | None:
        timeouts, asked = self._node.timeouts, message.linger
        if asked is None:
            return timeouts.reconnect_s or None
        if asked is True:
            return timeouts.linger_s or None
        most = self._node.limits.max_linger_s
        if asked > most:
            raise ClientRequestError(f"linger must be seconds between 0 and {most:g}, or true", param="linger")
        return asked or None

    # --- what the client gets

    def _follow(self, followed: Followed, position: Offset, message: Start | Resume) -> None:
        defaults = self._node.options
        options = DeliveryOptions(
            coalesce_tokens=message.coalesce_tokens or defaults.coalesce_tokens,
            merge=defaults.merge if message.merge is None else message.merge,
        )
        # The connection's uptake is watched for all its streams together.
        consumer = self._node.consumer(
            followed, position=position, peer=NoPeer(), coalesce_tokens=options.coalesce_tokens
        )
        stream_id = followed.stream_id
        early_credit = self._early_credit.pop(stream_id, 0)
        if message.credit is not None or early_credit:
            consumer.grant((message.credit or 0) + early_credit)
        consumer.__enter__()
        self._followed[stream_id] = consumer
        task = self._tasks.create_task(self._deliver(stream_id, consumer, options), name=f"deliver {stream_id}")
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, stream_id: StreamId, consumer: Consumer, options: DeliveryOptions) -> None:
        encoder = DuplexEncoder(stream_id=stream_id)
        try:
            await write(consumer, encoder, self._send, observer=self._node.metrics, merge=options.merge)
        except ConsumerClosed:
            return
        finally:
            self._followed.pop(stream_id, None)
            consumer.__exit__()

    async def _send(self, frames: bytes) -> None:
        """Write what counts as delivered.

        Raises:
            ConsumerClosed: The client left before it was written.
        """
        await self._write(frames)
        if self._connection.is_gone():
            raise ConsumerClosed(Cause.CLIENT_GONE)

    async def _write(self, frames: bytes) -> None:
        if frames:
            self._uptake.written_bytes += len(frames)
            await self._connection.write(frames)


def _message_of(event: Message) -> ClientMessage:
    """Return the message in a received frame.

    Raises:
        Closing: There is none.
    """
    text = event.get("text")
    if text is None:
        raise Closing(Close.NOT_TEXT, "messages are JSON in text frames")
    try:
        return parse_message(text)
    except MalformedMessage as error:
        raise Closing(Close.MALFORMED, str(error)) from error
