"""An answer is counted once, however it comes, and is whole only with all its tokens and its end."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
import pytest
from bench.clients import Answer, Http1Client, Http2Client, Received, Request, SocketClient, http1_request
from bench.frames import http2_frame

from headrace.http.compression import CODECS
from headrace.protocol.duplex import frame

DONE = b"data: [DONE]\n\n"
REQUEST = Request(authority="localhost:1", path="/", body=b"{}", ending=DONE, tokens=3)
BODY = b'data: {"content":"|One"}\n\ndata: {"content":" |two |three"}\n\n' + DONE


class _Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True


def _answered(*parts: bytes, request: Request = REQUEST, status: int = 200) -> Received:
    result = Received()
    answer = Answer(request, result)
    for number, part in enumerate(parts):
        answer.receive(part, float(number))
    answer.finish(status)
    assert answer.over.is_set()
    return result


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_tokens_are_counted_once_however_they_are_split(step: int) -> None:
    result = _answered(*(BODY[start : start + step] for start in range(0, len(BODY), step)))
    assert (result.tokens, result.completed, result.failures) == (3, 1, [])
    assert len(result.ttft_s) == 1


def test_gap_lies_between_arrivals_that_bring_tokens() -> None:
    result = _answered(b"|One", b": ping\n\n", b" |two", b" |three" + DONE)
    assert list(result.gap_s) == [2.0, 1.0]


@pytest.mark.parametrize("coding", [name.decode() for name in CODECS])
def test_tokens_are_counted_beneath_compression(coding: str) -> None:
    codec = CODECS[coding.encode()]()
    parts = [codec.add(BODY[:30]), codec.add(BODY[30:]), codec.finish()]
    result = _answered(*parts, request=msgspec.structs.replace(REQUEST, coding=coding))
    assert (result.tokens, result.completed) == (3, 1)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (BODY.replace(b"|two", b"two"), 200, "the stream ended, after 2 of 3 tokens"),
        (BODY + b" |four", 200, "the stream ended, after 4 of 3 tokens"),
        (BODY.removesuffix(DONE), 200, "no b'data: [DONE]"),
        (BODY, 502, "status 502"),
    ],
)
def test_answer_that_is_not_whole_is_a_failure(body: bytes, status: int, reason: str) -> None:
    result = _answered(body, status=status)
    assert (result.completed, result.failed) == (0, 1)
    assert result.failures[0].startswith(reason)


def _connected(client: Http1Client | SocketClient | Http2Client) -> _Wire:
    wire = _Wire()
    client.connection_made(cast(asyncio.Transport, wire))
    return wire


@pytest.mark.parametrize("step", [1, 10, 1000])
def test_http1_answer_is_read_off_its_framing(step: int) -> None:
    result = Received()
    client = Http1Client("localhost:1", result)
    wire = _connected(client)
    client.start(REQUEST)
    assert wire.written == http1_request(REQUEST)
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    for start in range(0, len(data), step):
        client.data_received(data[start : start + step])
    assert (result.completed, result.failures) == (1, [])
    assert (result.bytes, result.reads) == (len(data), -(-len(data) // step))


def test_request_without_body_is_a_get() -> None:
    request = msgspec.structs.replace(REQUEST, body=b"", headers={"Accept": "text/plain"})
    assert http1_request(request) == b"GET / HTTP/1.1\r\nHost: localhost:1\r\nAccept: text/plain\r\n\r\n"


@pytest.mark.parametrize("step", [1, 10, 1000])
def test_socket_messages_go_to_their_streams(step: int) -> None:
    result = Received()
    client = SocketClient("localhost:1", result)
    wire = _connected(client)
    assert not client.ready.is_set()
    client.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert client.ready.is_set()
    wire.written = b""
    request = msgspec.structs.replace(REQUEST, tokens=1, ending=b'"completed"')
    for _ in range(2):
        client.start(request)
    names = [part.split(b'"')[0] for part in wire.written.split(b'"stream":"')[1:]]
    entries = [b'{"type":"entry","stream":"%b","offset":0,"chunk":{"content":"|One"}}' % name for name in names]
    ends = [b'{"type":"end","stream":"%b","offset":1,"end":{"state":"completed"}}' % name for name in names]
    data = b"".join(map(frame, [*entries, *reversed(ends)]))
    for start in range(0, len(data), step):
        client.data_received(data[start : start + step])
    assert (result.completed, result.tokens, result.failures) == (2, 2, [])


@pytest.mark.parametrize("message", [b'{"type":"error","stream":null,"error":{}}', b'{"type":"pong","id":1}'])
def test_socket_message_of_no_stream_breaks_the_connection(message: bytes) -> None:
    result = Received()
    client = SocketClient("localhost:1", result)
    wire = _connected(client)
    client.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    client.start(REQUEST)
    client.data_received(frame(message))
    assert wire.is_closed
    assert "of no stream" in result.failures[0]


def test_refused_upgrade_fails_what_is_asked() -> None:
    result = Received()
    client = SocketClient("localhost:1", result)
    _connected(client)
    client.data_received(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    assert client.ready.is_set()
    client.start(REQUEST)
    assert "no WebSocket" in result.failures[0]


@pytest.mark.parametrize("step", [1, 10, 1000])
def test_http2_data_goes_to_its_stream(step: int) -> None:
    hpack = pytest.importorskip("hpack")
    encoder = hpack.Encoder()
    result = Received()
    client = Http2Client("localhost:1", result)
    wire = _connected(client)
    for _ in range(2):
        client.start(REQUEST)
    wire.written = b""
    data = b"".join(
        [
            http2_frame(Http2Client.SETTINGS, b""),
            http2_frame(Http2Client.HEADERS, encoder.encode([(":status", "200")]), flags=4, number=1),
            http2_frame(Http2Client.HEADERS, encoder.encode([(":status", "503")]), flags=4, number=3),
            http2_frame(Http2Client.DATA, BODY[:20], number=1),
            http2_frame(Http2Client.DATA, b"", flags=1, number=3),
            http2_frame(Http2Client.DATA, BODY[20:], flags=1, number=1),
        ]
    )
    for start in range(0, len(data), step):
        client.data_received(data[start : start + step])
    assert (result.completed, result.failed) == (1, 1)
    assert result.failures[0].startswith("status 503")
    assert wire.written == http2_frame(Http2Client.SETTINGS, b"", flags=1)


@pytest.mark.parametrize("kind", [Http2Client.RST_STREAM, Http2Client.GOAWAY])
def test_http2_stream_that_is_reset_is_a_failure(kind: int) -> None:
    pytest.importorskip("hpack")
    result = Received()
    client = Http2Client("localhost:1", result)
    _connected(client)
    client.start(REQUEST)
    client.data_received(http2_frame(kind, bytes(8), number=1 if kind == Http2Client.RST_STREAM else 0))
    assert (result.completed, result.failed) == (0, 1)


def test_lost_connection_fails_every_open_answer_once() -> None:
    result = Received()
    client = SocketClient("localhost:1", result)
    _connected(client)
    client.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    for _ in range(3):
        client.start(REQUEST)
    client.connection_lost(None)
    client.connection_lost(None)
    assert result.failed == 3
