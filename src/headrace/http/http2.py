"""One HTTP/2 connection (RFC 9113): frames by the h2 library, requests to an ASGI application.

What a peer can do is bounded:

- A connection counts like any other one (``Connections``). When no request is open it must ask within the head time-out;
  so must it take the end of a response.
- ``MAX_STREAMS`` requests at once; another one is refused on its own (REFUSED_STREAM), which clients may try again.
- A head has at most ``max_head_bytes`` and ``MAX_HEADERS`` fields (431); what is twice that large, or comes in too many
  parts, ends the connection.
- Request bodies are credited as the application reads them.
- An application waits while its own stream is not taken. Streams take turns, a frame each, so that one which is not
  taken holds nobody else back, as far as the connection's window goes.
- Resets (CVE-2023-44487) and frames that bring nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA …) have an
  ``Allowance``; a peer that spends it is told to calm down and goes.
- What breaks the protocol ends the connection with GOAWAY and is counted.

Everything written in one round of the event loop goes out in one write.
"""

from __future__ import annotations

import asyncio
import contextlib

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError

from headrace.errors import ClientRequestError, RelayError
from headrace.http.asgi import Application, Headers, Receive, Scope, Send
from headrace.http.deadlines import Deadlines
from headrace.http.h2_allowance import Allowance
from headrace.http.h2_connection import FRAME_BYTES, MAX_STREAMS, most_head_bytes, server_connection
from headrace.http.h2_request import RequestHead, read_head
from headrace.http.h2_stream import Stream
from headrace.http.h2_writer import FrameWriter
from headrace.http.protocol import MAX_DEAF_BYTES, Connections, RelayProtocol
from headrace.protocol.errors import error_body

RESET_BURST = 200
RESETS_PER_S = 50.0
"""Requests that a peer may begin and drop. Each costs what a whole stream costs to set up."""

CONTROL_BURST = 1000
CONTROLS_PER_S = 100.0
CONTROLS_PER_FRAME = 4
"""Frames that bring nothing. Each frame that brings something pays for a few: who takes a stream opens windows."""

MAX_SETTINGS = 64
"""Different settings that a peer may send; all are kept, also unknown ones."""

TABLE_BYTES = 4096
"""Compression state kept of response heads (RFC 7541 4.2), whatever more a peer would like."""

# RFC 9113 8.2.2: they concern one HTTP/1.1 connection.
_CONNECTION_FIELDS = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})


class Http2Connections:
    """What the HTTP/2 connections of one server share.

    Args:
        connections: Where they count.
        head_timeout_s: How long a connection may have no request, and how long a peer may take to take the end of a
            response.
    """

    def __init__(self, connections: Connections, *, head_timeout_s: float) -> None:
        self.connections = connections
        self.idle = Deadlines[Http2Protocol](head_timeout_s, Http2Protocol.expire)
        self.ending = Deadlines[Stream](head_timeout_s, Stream.expire)


class Http2Protocol(asyncio.Protocol):
    """One connection.

    Args:
        seat: The HTTP/1.1 protocol that the connection began with, which knows the server.
        shared: What it shares with others.
    """

    def __init__(self, seat: RelayProtocol, shared: Http2Connections) -> None:
        self._seat = seat
        self._shared = shared
        self.transport = seat.transport
        self._loop = seat.loop
        self._streams: dict[int, Stream] = {}
        self._is_leaving = False
        """Whether the connection ends with the last of its streams."""
        self._is_deaf = False
        """Whether what comes is thrown away."""
        self._deaf_bytes = 0
        self._fruitless_bytes = 0
        """Received since something was whole."""
        now_s = self._loop.time()
        self._resets = Allowance(RESET_BURST, per_s=RESETS_PER_S, now_s=now_s)
        self._controls = Allowance(CONTROL_BURST, per_s=CONTROLS_PER_S, now_s=now_s)
        self._max_head_bytes = seat.shared.max_head_bytes
        self._h2 = server_connection(self._max_head_bytes)
        self._writer = FrameWriter(
            self._h2, self.transport, self._loop, on_framed=self._on_framed, on_idle=self._on_idle
        )

    # --- the connection

    def begin(self, *, is_admitted: bool) -> None:
        """Take the connection over from its seat; one that is not admitted learns so."""
        self._seat.server_state.connections.add(self)  # type: ignore[arg-type] # (uvicorn lists its own)
        self.transport.set_protocol(self)
        self._shared.connections.forget(self._seat)
        if is_admitted:
            self._shared.connections.adopt(self)
            self._shared.idle.begin(self)
            self._writer.wake()
        else:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, b"too many connections")
            self._end(refusal=503)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio calls it so)
        self._is_deaf = True
        self._drop_streams()
        self._shared.idle.end(self)
        self._shared.connections.forget(self)
        self._seat.server_state.connections.discard(self)

    def expire(self) -> None:
        """End a connection without requests, or one that does not take its end."""
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.shutdown()

    def shutdown(self) -> None:
        """Take no more requests, and close when those that are open have been answered."""
        if self._is_deaf:
            self._close()
        elif not self._is_leaving:
            self._is_leaving = True
            self._h2.close_connection()
            self._writer.wake()

    def _close(self) -> None:
        self.transport.close()
        # Closing waits until the peer has taken all, which it may never do.
        self._shared.idle.begin(self)

    def _end(self, *, refusal: int) -> None:
        """End the connection for a fault of its peer, which h2 has written a GOAWAY for."""
        self._shared.connections.on_refused(refusal)
        self._is_deaf = True
        self._drop_streams()
        self._writer.flush()
        # What is still on its way here would reset a closed connection, and the GOAWAY would be lost.
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._shared.idle.begin(self)
        else:
            self._close()

    def _calm(self, refusal: int = 429) -> None:
        """End the connection of a peer that asks too much of it."""
        if not self._is_deaf:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._end(refusal=refusal)

    def _drop_streams(self) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.leave()
            self._shared.ending.end(stream)

    # --- what the peer sends

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self._deaf_bytes += len(data)
            if self._deaf_bytes > MAX_DEAF_BYTES:
                self.transport.abort()
        else:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        self._writer.hold()
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            self._end(refusal=429 if error.error_code == ErrorCodes.ENHANCE_YOUR_CALM else 400)
            return
        self._fruitless_bytes = 0 if events else self._fruitless_bytes + len(data)
        if self._fruitless_bytes > most_head_bytes(self._max_head_bytes) + FRAME_BYTES:
            self._calm(431)
        for event in events:
            if self._is_deaf:
                return
            self._handle(event)
        self._writer.wake()

    def _handle(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._on_request(event)
            case DataReceived():
                self._on_data(event)
            case StreamEnded():
                self._on_end(event)
            case StreamReset():
                self._on_reset(event)
            case WindowUpdated():
                self._on_window(event)
            case RemoteSettingsChanged():
                self._on_settings(event)
            case ConnectionTerminated():
                self.shutdown()
            case TrailersReceived():
                # Nobody expects them; the end of the request is an event of its own.
                return
            case _:
                self._count_controls(1)

    def _on_request(self, event: RequestReceived) -> None:
        if self._is_leaving or len(self._streams) >= MAX_STREAMS:
            self._refuse(event.stream_id)
            return
        try:
            head = read_head(
                event.headers or [],
                max_head_bytes=self._max_head_bytes,
                has_body=event.stream_ended is None,
            )
        except ClientRequestError as error:
            self._shared.connections.on_refused(error.status)
            self._answer(event.stream_id, RequestHead("GET", b"/", b"", []), _refusing(error))
        else:
            self._answer(event.stream_id, head, self._seat.app)

    def _refuse(self, stream_id: int) -> None:
        """Say that a request was not looked at, so that it may be made again."""
        with contextlib.suppress(StreamClosedError):  # its peer has reset it in the same breath
            self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
        self._count_reset()

    def _answer(self, stream_id: int, head: RequestHead, app: Application) -> None:
        """Let an application answer a request."""
        self._controls.earn(CONTROLS_PER_FRAME)
        self._shared.idle.end(self)
        stream = self._streams[stream_id] = Stream(stream_id, self, is_head=head.method == "HEAD")
        task = self._loop.create_task(stream.run(app, self._scope(head, stream)))
        self._seat.tasks.add(task)
        task.add_done_callback(self._seat.tasks.discard)

    def _scope(self, head: RequestHead, stream: Stream) -> Scope:
        seat = self._seat
        return {
            "type": "http",
            "asgi": {"version": seat.asgi_version, "spec_version": "2.3"},
            "http_version": "2",
            "server": seat.server,
            "client": seat.client,
            "scheme": seat.scheme,
            "method": head.method,
            "root_path": seat.root_path,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "headers": head.headers,
            "state": seat.app_state.copy(),
            "extensions": {"headrace.connection": stream},
        }

    def _on_data(self, event: DataReceived) -> None:
        credit = event.flow_controlled_length or 0
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.is_over:
            self._h2.acknowledge_received_data(credit, event.stream_id)
            return
        if not event.data and event.stream_ended is None:
            self._count_controls(1)
        stream.feed(event.data or b"", credit)

    def _on_end(self, event: StreamEnded) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.end_request()

    def _on_reset(self, event: StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None and not stream.is_over:
            self._leave(stream)
            self._count_reset()

    def _on_window(self, event: WindowUpdated) -> None:
        if event.stream_id == 0:
            self._queue_all()
        elif event.stream_id in self._streams:
            self._writer.queue(self._streams[event.stream_id])
        self._count_controls(1)

    def _on_settings(self, event: RemoteSettingsChanged) -> None:
        self._count_controls(1 + len(event.changed_settings))
        if len(self._h2.remote_settings) > MAX_SETTINGS:
            self._calm()
        self._h2.encoder.header_table_size = min(self._h2.encoder.header_table_size, TABLE_BYTES)
        # Their windows may have grown.
        self._queue_all()

    def _count_reset(self) -> None:
        if not self._resets.spend(1, self._loop.time()):
            self._calm()

    def _count_controls(self, amount: int) -> None:
        if not self._controls.spend(amount, self._loop.time()):
            self._calm()

    # --- what streams ask for

    def send_head(self, stream: Stream, status: int, headers: Headers) -> None:
        fields = [
            (name.lower(), value)
            for name, value in (*self._seat.server_state.default_headers, *headers)
            if name.lower() not in _CONNECTION_FIELDS
        ]
        self._h2.send_headers(stream.stream_id, [(b":status", b"%d" % status), *fields])
        self._writer.wake()

    def send_body(self, stream: Stream) -> None:
        if stream.is_complete:
            self._shared.ending.begin(stream)
        self._writer.queue(stream)
        self._writer.wake()

    def take_body(self, stream: Stream, size: int) -> None:
        self._h2.acknowledge_received_data(size, stream.stream_id)
        self._writer.wake()

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        if not stream.is_over:
            self._h2.reset_stream(stream.stream_id, code)
            self._leave(stream)
            self._writer.wake()

    def release(self, stream: Stream) -> None:
        if stream.is_over and stream.has_returned and self._streams.pop(stream.stream_id, None) is not None:
            if not self._streams:
                self._shared.idle.begin(self)
            self._writer.wake()

    def unsent_bytes(self, mark: int) -> int:
        return self._writer.unsent_bytes(mark)

    def _leave(self, stream: Stream) -> None:
        """Let a stream know that it is over."""
        credit = stream.leave()
        if credit:
            self._h2.acknowledge_received_data(credit, stream.stream_id)
        self._shared.ending.end(stream)
        self.release(stream)

    # --- what is written

    def pause_writing(self) -> None:
        self._writer.pause()

    def resume_writing(self) -> None:
        self._writer.resume()

    def _on_framed(self, stream: Stream, is_last: bool) -> None:
        self._controls.earn(CONTROLS_PER_FRAME)
        if is_last:
            self._finish(stream)

    def _on_idle(self) -> None:
        if self._is_leaving and not self._streams:
            self._close()

    def _queue_all(self) -> None:
        for stream in self._streams.values():
            self._writer.queue(stream)

    def _finish(self, stream: Stream) -> None:
        """End a stream whose response is framed."""
        self._seat.server_state.total_requests += 1
        if not stream.is_request_whole:
            # RFC 9113 8.1: nobody reads the rest.
            self._h2.reset_stream(stream.stream_id, ErrorCodes.NO_ERROR)
        self._leave(stream)


def _refusing(error: RelayError) -> Application:
    """Return an application that answers with an error."""
    body = error_body(message=error.message, type=error.type, code=error.code, param=error.param)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return refuse
