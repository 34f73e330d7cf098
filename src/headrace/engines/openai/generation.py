"""One request on its way through an engine: dial, send, judge the head, stream, end.

::

    DIALLING ──connected──► WAITING ──200, events──► STREAMING ──[DONE], end of body──► OVER
      ▲  ▲                   │  │                        └────────cut, broken──────────► OVER
      │  └──pooled one dead──┘  └──error status──► REJECTED ──body, limit, time────────► OVER
      └──────────another key: 401, 403, 429───────────┘

Only ``read`` receives from the connection, so it decides alone when chunks and ``end`` appear; the body of an error
response is the exception: nobody wants its pieces, so the event loop reads it whatever the tick does.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Callable

from headrace.engines.openai.connection import Connection
from headrace.engines.openai.connector import Connector
from headrace.engines.openai.dialect import Dialect, StreamDecoder
from headrace.engines.openai.keys import KEY_STATUSES, Lease
from headrace.engines.openai.limits import Limits
from headrace.engines.openai.rejection import (
    cleaned,
    is_rejection,
    last_word,
    looks_like_events,
    not_a_stream,
    rejection,
)
from headrace.engines.openai.response import Response
from headrace.errors import UpstreamProtocolError
from headrace.protocol.chat import ChunkTooLarge
from headrace.types.chunk import Chunks
from headrace.types.engine import EngineEnd
from headrace.types.outcome import Cause

# Full buffers that one ``read`` takes before it lets other streams have their turn.
_READS_AT_ONCE = 4
_RATE_LIMITED = 429
_NOTHING = (b"", b"")

_Fault = tuple[Cause, str]
_CUT_SHORT = Cause.UPSTREAM_CLOSED, "The engine closed the connection before its answer was complete"
_BROKEN = Cause.UPSTREAM_CLOSED, "The connection to the engine broke"
_UNTYPED = "The engine's answer has no content type and is no stream of events"

_log = logging.getLogger(__name__)


class _Phase(enum.Enum):
    DIALLING = "no connection yet"
    WAITING = "the request is on its way, no head yet"
    STREAMING = "a stream has begun"
    REJECTED = "the engine said no; its reasons are being read"
    OVER = "ended or aborted"


class HTTPGeneration:
    """A ``Generation`` over HTTP. See the interface for what each method promises."""

    __slots__ = (
        "_connection",
        "_connector",
        "_decoder",
        "_dialect",
        "_dialling",
        "_end",
        "_has_answered",
        "_has_ticked",
        "_is_reused",
        "_is_saturated",
        "_lease",
        "_limited",
        "_limits",
        "_new_decoder",
        "_on_over",
        "_on_ready",
        "_phase",
        "_reasons",
        "_request",
        "_response",
        "_timer",
    )

    def __init__(
        self,
        request: tuple[bytes, bytes],
        on_ready: Callable[[], None],
        *,
        connector: Connector,
        limits: Limits,
        lease: Lease,
        dialect: Dialect,
        decoder: Callable[[], StreamDecoder],
        on_over: Callable[[HTTPGeneration], None],
    ) -> None:
        """Send the request over an idle connection at once, or begin to dial.

        Args:
            request: Head without its last lines, which the key decides, and body; kept until the engine answers.
            on_ready: See ``Generation.watch``; never called from in here.
            connector: Where connections come from and go to.
            limits: What bounds the answer.
            lease: The key; released when this generation is over.
            dialect: The engine's protocol.
            decoder: Makes what turns the body of a stream into chunks.
            on_over: Called once when this generation holds nothing any more.
        """
        self._request = request
        self._on_ready: Callable[[], None] | None = on_ready
        self._connector = connector
        self._limits = limits
        self._lease = lease
        self._dialect = dialect
        self._new_decoder = decoder
        self._limited: EngineEnd | None = None
        self._on_over = on_over
        self._end: EngineEnd | None = None
        self._decoder: StreamDecoder | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reasons = bytearray()
        self._is_saturated = False
        self._has_ticked = False
        self._connection: Connection | None = None
        self._ask()

    @property
    def key_name(self) -> str:
        """The reference of the key that serves, or served; empty when the engine wants none."""
        return self._lease.name

    @property
    def is_accepted(self) -> bool:
        return self._decoder is not None

    @property
    def end(self) -> EngineEnd | None:
        return self._end

    @property
    def malformed_chunks(self) -> int:
        return 0 if self._decoder is None else self._decoder.malformed_chunks

    @property
    def is_saturated(self) -> bool:
        return self._is_saturated

    def read(self, most_bytes: int | None = None) -> Chunks | None:
        connection = self._connection
        if connection is None or self._phase is _Phase.REJECTED:
            return None
        try:
            return self._read(connection, most_bytes)
        except Exception:  # noqa: BLE001 (the tick reads many streams in a row: a fault of ours may end this one only)
            self._break("reading from the engine failed")
            return None

    @property
    def _is_told_only(self) -> bool:
        """Whether it is read only when data arrive. Then it is read until there are none: with a reset behind them, libuv
        tells of both once. Who reads on the tick as well comes by again.
        """
        return self._on_ready is not None and not self._has_ticked

    def watch(self, on_ready: Callable[[], None] | None) -> None:
        self._on_ready = on_ready
        self._has_ticked = self._has_ticked or on_ready is None
        if self._end is not None and on_ready is not None:
            self._connector.loop.call_soon(self._notify)
        elif self._connection is not None and self._phase is not _Phase.REJECTED:
            self._connection.watch(None if on_ready is None else self._on_readable)

    def abort(self) -> None:
        self._on_ready = None
        if self._phase is _Phase.OVER:
            return
        if self._dialling is not None:
            self._dialling.cancel()
        connection = self._leave()
        if connection is not None:
            connection.abort()

    # Called by the connector.

    def connected(self, connection: Connection) -> None:
        self._dialling = None
        if self._phase is _Phase.DIALLING:
            self._send(connection)
        else:
            connection.abort()

    def unreachable(self, message: str) -> None:
        self._dialling = None
        if self._phase is _Phase.DIALLING:
            self._fail(Cause.UPSTREAM_UNREACHABLE, message)
            self._notify()

    # Before the answer.

    def _ask(self) -> None:
        """Send the request over an idle connection at once, or begin to dial."""
        self._has_answered = False
        idle = self._connector.take_idle()
        self._is_reused = idle is not None
        if idle is None:
            self._dial()
        else:
            self._send(idle)

    def _dial(self) -> None:
        self._phase = _Phase.DIALLING
        self._dialling = self._connector.dial(self)

    def _send(self, connection: Connection) -> None:
        self._phase = _Phase.WAITING
        self._connection = connection
        self._response = Response(max_head_bytes=self._limits.max_head_bytes)
        if self._on_ready is not None:
            connection.watch(self._on_readable)
        head, body = self._request
        connection.send(head + self._dialect.head_end(self._lease.secret), body)

    def _redial(self, dead: Connection) -> None:
        """Start over, once: the connection had died in the pool, so the engine never worked on the request."""
        dead.close()
        self._connection = None
        self._is_reused = False
        self._connector.count_redial()
        self._dial()

    # Reading.

    def _read(self, connection: Connection, most_bytes: int | None) -> Chunks | None:
        fault = self._gather(connection, most_bytes)
        if self._decoder is None:
            self._judge(connection, fault)
            if self._decoder is None:
                return None
        return self._decode(self._decoder, fault)

    def _gather(self, connection: Connection, most_bytes: int | None = None) -> _Fault | None:
        """Feed the response with what has arrived, up to a bound. Returns what broke, after which nothing follows."""
        response = self._response
        self._is_saturated = False
        try:
            for _ in range(_READS_AT_ONCE if most_bytes is None else 1):
                data = connection.receive(most_bytes)
                if data is None:
                    return None
                if not data:
                    return None if response.receive_eof() else _CUT_SHORT
                self._has_answered = True
                response.receive_data(data)
                if response.is_complete or not (connection.has_more or self._is_told_only):
                    return None
        except UpstreamProtocolError as error:
            return Cause.UPSTREAM_PROTOCOL, error.message
        except OSError:
            return _BROKEN
        self._is_saturated = connection.has_more
        return None

    def _judge(self, connection: Connection, fault: _Fault | None) -> None:
        """Find out what the answer is, as soon as its head is complete."""
        response = self._response
        if not response.is_head_complete:
            if fault is None:
                return
            if self._is_reused and not self._has_answered:
                self._redial(connection)
            else:
                self._fail(*fault)
        elif is_rejection(response.status):
            self._phase = _Phase.REJECTED
            self._timer = self._connector.loop.call_later(self._limits.error_body_timeout_s, self._on_timeout)
            connection.watch(self._on_readable)
            self._collect(fault)
        else:
            self._begin(is_over=fault is not None or response.is_complete)

    def _begin(self, *, is_over: bool) -> None:
        """Start to stream if the answer is a stream, and fail if it is not. Without a content type, wait for its body."""
        response = self._response
        flaw = not_a_stream(response, secrets=self._lease.secrets())
        if flaw is None and response.header(b"content-type") is None:
            is_events = looks_like_events(response.peek_body())
            if is_events is None and not is_over:
                return
            flaw = _UNTYPED if is_events is False else None
        if flaw is not None:
            self._fail(Cause.UPSTREAM_PROTOCOL, flaw)
            return
        self._phase = _Phase.STREAMING
        self._lease.accept()
        self._request = _NOTHING  # may be megabytes
        self._decoder = self._new_decoder()

    def _decode(self, decoder: StreamDecoder, fault: _Fault | None) -> Chunks | None:
        response = self._response
        body = response.take_body()
        chunks = None
        if body:
            try:
                chunks = decoder.receive_data(body)
            except ChunkTooLarge as error:
                chunks = error.chunks
                fault = Cause.EVENT_TOO_LARGE, f"The engine sent an event of more than {error.limit_bytes} bytes"
        if chunks is not None and b'"error"' in chunks.data:
            self._clean(chunks)
        if self._limits.ends_at_malformed and decoder.malformed_chunks:
            self._fail(Cause.UPSTREAM_PROTOCOL, "The engine sent a chunk that is not JSON")
        elif decoder.is_done:
            self._finish()
        elif fault is not None:
            self._fail(*fault)
        elif response.is_complete:
            self._finish()
        return chunks

    def _clean(self, chunks: Chunks) -> None:
        """Take our keys out of errors inside the stream, which reach clients as they stand."""
        for view in chunks.views:
            if view.error is not None:
                view.error = cleaned(view.error, self._lease.secrets())

    def _collect(self, fault: _Fault | None) -> None:
        """Take in the body of an error response, and end with it when there is no more."""
        self._reasons += self._response.take_body()
        if fault is not None or self._response.is_complete or len(self._reasons) >= self._limits.max_error_body_bytes:
            self._reject()

    # Called by the event loop.

    def _on_readable(self) -> None:
        try:
            if self._phase is not _Phase.REJECTED:
                if self._on_ready is not None:
                    self._on_ready()
            elif self._connection is not None:
                self._collect(self._gather(self._connection))
                if self._end is not None:
                    self._notify()
        except Exception:  # noqa: BLE001 (the loop's boundary: the socket stays readable, so the fault would repeat for ever)
            self._break("handling what the engine sent failed")
            self._notify()

    def _on_timeout(self) -> None:
        try:
            self._reject()
        except Exception:  # noqa: BLE001 (the loop's boundary, as above)
            self._break("handling the engine's error failed")
        if self._end is not None:
            self._notify()

    def _notify(self) -> None:
        try:
            if self._on_ready is not None:
                self._on_ready()
        except Exception:  # noqa: BLE001 (the loop's boundary; the end stands, and whoever asks next sees it)
            _log.exception("telling the end of a generation failed")

    # Endings.

    def _finish(self) -> None:
        """End as the engine meant to."""
        self._end = EngineEnd()
        connection = self._leave()
        if connection is not None:
            self._connector.release(connection, self._response)

    def _reject(self) -> None:
        """Ask again with another key if the answer is about the key, and end with the engine's reasons if that is no use."""
        lease, response = self._lease, self._response
        reasons = bytes(self._reasons[: self._limits.max_error_body_bytes])
        end = self._dialect.clarified(rejection(response, reasons, secrets=lease.secrets(), wall_time=time.time()))
        if response.status == _RATE_LIMITED:
            self._limited = end
        if lease.move(response.status, end.retry_after_s):
            self._hand_back(self._detach())
            self._reasons.clear()
            self._ask()
            return
        is_about_key = lease.is_keyed and response.status in KEY_STATUSES
        self._end = last_word(end, self._limited, lease.rest_s()) if is_about_key else end
        self._hand_back(self._leave())

    def _hand_back(self, connection: Connection | None) -> None:
        """Part with a connection on which a rejection came."""
        if connection is None:
            return
        if self._response.is_complete:
            self._connector.release(connection, self._response)
        else:
            connection.abort()

    def _fail(self, cause: Cause, message: str) -> None:
        """End because something went wrong, and let the engine know that nobody listens."""
        self._end = EngineEnd(cause=cause, message=message, status=502)
        connection = self._leave()
        if connection is not None:
            connection.abort()

    def _break(self, what: str) -> None:
        _log.exception(what)
        if self._phase is not _Phase.OVER:
            self._fail(Cause.UPSTREAM_PROTOCOL, "The engine's answer could not be handled")

    def _leave(self) -> Connection | None:
        """Let go of everything; returns the connection, which the caller closes or releases."""
        self._phase = _Phase.OVER
        self._request = _NOTHING
        connection = self._detach()
        self._lease.release()
        self._on_over(self)
        return connection

    def _detach(self) -> Connection | None:
        """Stop waiting for what the connection brings; returns it."""
        if self._timer is not None:
            self._timer.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.watch(None)
        return connection
