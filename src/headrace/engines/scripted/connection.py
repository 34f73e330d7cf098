"""One connection of the server: HTTP/1.1 requests in, one answer at a time out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Protocol, cast

import httptools
import msgspec

from headrace.engines.scripted.playback import Playback
from headrace.engines.scripted.records import Records, RequestRecord
from headrace.engines.scripted.steps import Reply, error_body
from headrace.engines.scripted.timetable import Timetable
from headrace.engines.scripted.wire import Packet, packets_of_reply

_log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""Largest request target and header fields together; more is 431."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Largest request body; more is 413."""


class HttpRequest(msgspec.Struct, kw_only=True):
    """One whole request."""

    method: str
    path: str
    """Target without its query."""
    headers: list[tuple[str, str]]
    """Lower-case names."""
    body: bytes
    keep_alive: bool
    is_http10: bool
    connection: int
    """Number of the connection, from 1."""
    number: int
    """Number of the request on its connection, from 1."""
    accepted_s: float
    """CLOCK_MONOTONIC, when its last byte was read."""


class Answer(msgspec.Struct, kw_only=True):
    """What goes back."""

    packets: Iterator[Packet]
    record: RequestRecord | None = None
    is_stamped: bool = False


class Service(Protocol):
    """What a connection needs from its server."""

    timetable: Timetable
    records: Records

    def answer(self, request: HttpRequest) -> Answer:
        """Return the answer to a request."""

    def opened(self, connection: Connection) -> None:
        """Note a new connection."""

    def closed(self, connection: Connection) -> None:
        """Note that a connection is gone."""


class Connection(asyncio.Protocol):
    """Parses requests and plays answers.

    It reads all the time, so that a client's end is seen at once in every phase. A client that sends its next request
    before it has the whole answer (pipelining, RFC 9112 section 9.3.2) is reset.
    """

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._playback: Playback | None = None
        self._requests = 0
        self._connection = 0
        self._is_refused = False
        self._is_paused = False
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport by class.
        self._transport = cast(asyncio.Transport, transport)
        # Pause as soon as the kernel does not take everything. TLS transports compare with >=, others with >.
        self._transport.set_write_buffer_limits(high=0 if transport.get_extra_info("ssl_object") is None else 1)
        self._service.opened(self)
        self._connection = self._service.records.connections

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "upgrade is not supported")
        except httptools.HttpParserCallbackError:
            _log.exception("answering a request failed")
            self.abort()
        except httptools.HttpParserError as error:
            self._refuse(400, f"bad HTTP request: {error}")

    def eof_received(self) -> None:
        """Count a client that closed its half as gone; the transport closes itself."""
        self._client_closed()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._client_closed()
        self._transport = None
        self._service.closed(self)

    def pause_writing(self) -> None:
        self._is_paused = True
        if self._playback is not None:
            self._playback.pause()

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._playback is not None:
            self._playback.resume()

    # httptools

    def on_message_begin(self) -> None:
        if self._playback is not None:
            self._is_refused = True
            self.abort()
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))
        self._count_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        wants_continue = ("expect", "100-continue") in self._headers
        if wants_continue and self._transport is not None and not self._is_refused:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._refuse(413, f"request body is over {MAX_BODY_BYTES} bytes")
        elif not self._is_refused:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._is_refused or self._transport is None:
            return
        self._requests += 1
        request = HttpRequest(
            method=self._parser.get_method().decode("latin-1"),
            path=self._url.partition(b"?")[0].decode("latin-1"),
            headers=self._headers,
            body=b"".join(self._body),
            keep_alive=self._parser.should_keep_alive(),
            is_http10=self._parser.get_http_version() == "1.0",
            connection=self._connection,
            number=self._requests,
            accepted_s=time.monotonic(),
        )
        self._body = []
        self._play(self._service.answer(request), request.accepted_s)

    # Own

    def abort(self) -> None:
        """Reset or drop the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def _begin(self) -> None:
        """Forget the last request."""
        self._url = b""
        self._headers = []
        self._head_bytes = 0
        self._body = []
        self._body_bytes = 0

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"request head is over {MAX_HEAD_BYTES} bytes")

    def _client_closed(self) -> None:
        if self._playback is not None:
            self._playback.client_closed()
            self._playback = None

    def _play(self, answer: Answer, started_s: float) -> None:
        if self._transport is None:
            return
        self._playback = Playback(
            answer.packets,
            self._transport,
            timetable=self._service.timetable,
            loop=self._loop,
            records=self._service.records,
            record=answer.record,
            is_stamped=answer.is_stamped,
            on_end=self._ended,
        )
        if self._is_paused:
            self._playback.pause()
        self._playback.start(started_s)

    def _ended(self) -> None:
        self._playback = None

    def _refuse(self, status: int, message: str) -> None:
        """Answer with an error, read nothing more, and close; a running answer is dropped with the connection."""
        if self._is_refused:
            return
        self._is_refused = True
        if self._playback is not None:
            self.abort()
            return
        body = error_body(message, type="invalid_request_error")
        reply = Reply(0, status, body, (("content-type", "application/json"),))
        self._play(Answer(packets=packets_of_reply(reply, keep_alive=False)), time.monotonic())
