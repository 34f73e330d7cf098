"""Every door of a relay as one kind of object: begin a stream, or go on behind an offset, and read what comes.

A door gives entries: the offset and the text of each. One that is cut off gives what had come whole.
"""

from __future__ import annotations

import json
import ssl
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import brotli
import httpx2
import zstandard
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from headrace.protocol.chunk_view import text_of
from headrace.protocol.ndjson import NDJSONDecoder
from headrace.protocol.sse import SSEDecoder

MAX_BYTES = 1 << 24
READ_S = 60.0

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"


@dataclass(frozen=True)
class Entry:
    """What a client learns at once: text up to an offset, or that the stream has ended."""

    offset: int
    text: str
    is_end: bool = False


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Who reads from whom, and how."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    is_http2: bool = False
    merge: bool = False
    most_bytes: float = float("inf")
    """After so many bytes of a body the connection is dropped."""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut_after(self, most_bytes: float) -> Relation:
        return replace(self, most_bytes=most_bytes)

    @contextmanager
    def client(self) -> Iterator[httpx2.Client]:
        merge = {"headrace-merge": "true"} if self.merge else {}
        headers = {"accept-encoding": "identity", **merge, **self.headers}
        with httpx2.Client(
            base_url=self.origin,
            headers=headers,
            timeout=READ_S,
            http2=self.is_http2,
            http1=not self.is_http2,
            trust_env=False,
            # Loading the system's certificates takes longer than all of a connection.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        ) as client:
            yield client

    def pieces(self, method: str, path: str, **options: Any) -> Iterator[bytes]:
        """Yield a body as it comes, unpacked, until its end, or until enough bytes have come over the wire."""
        with self.client() as client, client.stream(method, path, **options) as response:
            if response.status_code == 204:
                return
            assert response.status_code == 200, response.read()
            assert response.http_version == ("HTTP/2" if self.is_http2 else "HTTP/1.1")
            encoding = response.headers.get("content-encoding", "identity")
            assert encoding == self.headers.get("accept-encoding", "identity")
            unpack = UNPACKERS[encoding]()
            left = self.most_bytes
            for piece in response.iter_raw():
                taken = piece if len(piece) <= left else piece[: int(left)]
                left -= len(taken)
                yield unpack(taken)
                if left <= 0:
                    return


UNPACKERS: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
    "identity": lambda: bytes,
    "gzip": lambda: zlib.decompressobj(31).decompress,
    "br": lambda: brotli.Decompressor().process,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
}


def begin_chat_sse(relation: Relation, body: dict[str, Any], stream_id: str) -> Iterator[Entry]:
    decoder, offset = SSEDecoder(max_event_bytes=MAX_BYTES), 0
    headers = {"headrace-stream-id": stream_id, "headrace-linger": "60"}
    for piece in relation.pieces("POST", "/v1/chat/completions", json={**body, "stream": True}, headers=headers):
        for event in decoder.receive_data(piece):
            yield _chat_entry(offset, event.data)
            offset += 1


def begin_chat_ndjson(relation: Relation, body: dict[str, Any], stream_id: str) -> Iterator[Entry]:
    headers = {"accept": NDJSON}
    yield from _begin_lines(relation, "/v1/chat/completions", body, stream_id, headers)


def begin_chat_stream(relation: Relation, body: dict[str, Any], stream_id: str) -> Iterator[Entry]:
    yield from _begin_lines(relation, "/api/v1/chat/stream", body, stream_id, {})


def _begin_lines(
    relation: Relation, path: str, body: dict[str, Any], stream_id: str, headers: dict[str, str]
) -> Iterator[Entry]:
    decoder, offset = NDJSONDecoder(max_line_bytes=MAX_BYTES), 0
    headers = {"headrace-stream-id": stream_id, "headrace-linger": "60", **headers}
    for piece in relation.pieces("POST", path, json=body, headers=headers):
        for line in decoder.receive_data(piece):
            value = json.loads(line)
            yield _ended(value) if "end" in value else Entry(offset, text_of(line))
            offset += 1


def resume_events_sse(relation: Relation, stream_id: str, after: int) -> Iterator[Entry]:
    decoder = SSEDecoder(max_event_bytes=MAX_BYTES)
    path = f"/v1/streams/{stream_id}/events?after={after}"
    for piece in relation.pieces("GET", path, headers={"accept": SSE}):
        for event in decoder.receive_data(piece):
            offset = int(event.id)
            if event.event == "end":
                yield _ended({"offset": offset, "end": json.loads(event.data)})
            else:
                yield Entry(offset, text_of(event.data.encode()))


def resume_events_ndjson(relation: Relation, stream_id: str, after: int) -> Iterator[Entry]:
    decoder = NDJSONDecoder(max_line_bytes=MAX_BYTES)
    path = f"/v1/streams/{stream_id}/events?after={after}"
    for piece in relation.pieces("GET", path, headers={"accept": NDJSON}):
        for line in decoder.receive_data(piece):
            value = json.loads(line)
            yield (
                _ended(value)
                if "end" in value
                else Entry(value["offset"], text_of(json.dumps(value["chunk"]).encode()))
            )


def begin_blocking(relation: Relation, body: dict[str, Any], stream_id: str) -> Iterator[Entry]:
    headers = {"headrace-stream-id": stream_id}
    pieces = relation.pieces("POST", "/v1/chat/completions", json={**body, "stream": False}, headers=headers)
    message = json.loads(b"".join(pieces))["choices"][0]["message"]
    yield Entry(0, message["content"])
    yield Entry(1, "", is_end=True)


class EventSourceReader:
    """What EventSource does, without a browser: remembers the last id, and comes back with it.

    This door names its own streams, so it is told the name by the first event.
    """

    def __init__(self) -> None:
        self._stream = ""
        self._first: dict[str, Any] = {}

    def begin(self, relation: Relation, body: dict[str, Any], stream_id: str) -> Iterator[Entry]:
        fields = {name: value for name, value in body.items() if name not in ("messages", "model")}
        query = {"prompt": body["messages"][0]["content"], "model": body["model"], "linger": 60, **fields}
        self._first = {"params": query}
        yield from self._read(relation, self._first)

    def resume(self, relation: Relation, stream_id: str, after: int) -> Iterator[Entry]:
        # Cut before the first event, a browser knows no id, and begins again.
        place = {"headers": {"last-event-id": f"{self._stream}:{after}"}}
        yield from self._read(relation, place if self._stream else self._first)

    def _read(self, relation: Relation, options: dict[str, Any]) -> Iterator[Entry]:
        decoder, begun = SSEDecoder(max_event_bytes=MAX_BYTES), b""
        for piece in relation.pieces("GET", "/v1/completions/stream", **options):
            begun = (begun + piece)[:200]
            if not self._stream and b"\n\n" in begun:
                self._stream = begun.split(b"id: ")[1].split(b":")[0].decode()
            for event in decoder.receive_data(piece):
                assert event.event == "message", event
                offset = int(event.id.rpartition(":")[2])
                if event.data == "[DONE]":
                    yield Entry(offset, "", is_end=True)
                else:
                    yield Entry(offset, json.loads(event.data)["token"])


def begin_socket(relation: Relation, body: dict[str, Any], stream_id: str) -> Iterator[Entry]:
    message = {"type": "start", "stream": stream_id, "request": body, "linger": 60}
    yield from _read_socket(relation, message)


def resume_socket(relation: Relation, stream_id: str, after: int) -> Iterator[Entry]:
    yield from _read_socket(relation, {"type": "resume", "stream": stream_id, "after": after})


def _read_socket(relation: Relation, message: dict[str, Any]) -> Iterator[Entry]:
    url = f"ws://127.0.0.1:{relation.port}/v1/stream"
    with connect(url, subprotocols=["headrace.v1"], compression=None, proxy=None) as socket:  # type: ignore[list-item]
        socket.send(json.dumps({**message, "merge": relation.merge}))
        left = relation.most_bytes
        while True:
            try:
                text = socket.recv(READ_S)
            except ConnectionClosed:
                return
            left -= len(text)
            if left < 0:
                # As if the line were cut: no closing handshake.
                socket.socket.close()
                return
            value = json.loads(text)
            assert value["type"] in ("entry", "end"), value
            if value["type"] == "end":
                yield _ended(value)
                return
            yield Entry(value["offset"], text_of(json.dumps(value["chunk"]).encode()))


def _chat_entry(offset: int, data: str) -> Entry:
    if data == "[DONE]":
        return Entry(offset, "", is_end=True)
    assert not data.startswith('{"error"'), data
    return Entry(offset, text_of(data.encode()))


def _ended(value: dict[str, Any]) -> Entry:
    assert value["end"]["state"] == "completed", value
    return Entry(value["offset"], "", is_end=True)


Begin = Callable[[Relation, dict[str, Any], str], Iterator[Entry]]
Resume = Callable[[Relation, str, int], Iterator[Entry]]


@dataclass(frozen=True, kw_only=True)
class Door:
    """A way to read a stream from its beginning, and one to go on after a cut."""

    begin: Begin
    resume: Resume
    headers: dict[str, str] = field(default_factory=dict)
    is_http2: bool = False
    merge: bool = False

    def relation(self, port: int) -> Relation:
        return Relation(port=port, headers=self.headers, is_http2=self.is_http2, merge=self.merge)


def doors() -> dict[str, Door]:
    """Return every door by name; those that remember something are new each time."""
    plain = {
        "sse": Door(begin=begin_chat_sse, resume=resume_events_sse),
        "ndjson": Door(begin=begin_chat_ndjson, resume=resume_events_ndjson),
        "chat stream": Door(begin=begin_chat_stream, resume=resume_events_ndjson),
        "eventsource": _eventsource(),
    }
    socket = Door(begin=begin_socket, resume=resume_socket)
    packed = {
        f"sse, {coding}": replace(plain["sse"], headers={"accept-encoding": coding})
        for coding in UNPACKERS
        if coding != "identity"
    }
    # Merged chunks have no offsets on the chat routes, so what is to be cut begins at the events.
    merged = {
        "sse, merged": Door(begin=_begun_by(resume_events_sse), resume=resume_events_sse, merge=True),
        "ndjson, merged": Door(begin=_begun_by(resume_events_ndjson), resume=resume_events_ndjson, merge=True),
        "websocket, merged": replace(socket, merge=True),
    }
    second = {f"{name}, http/2": replace(door, is_http2=True) for name, door in plain.items() if name != "eventsource"}
    return {
        **plain,
        "websocket": socket,
        **packed,
        **merged,
        **second,
        "eventsource, http/2": replace(_eventsource(), is_http2=True),
        "ndjson, gzip, http/2": replace(plain["ndjson"], headers={"accept-encoding": "gzip"}, is_http2=True),
    }


def _eventsource() -> Door:
    reader = EventSourceReader()
    return Door(begin=reader.begin, resume=reader.resume)


def _begun_by(resume: Resume) -> Begin:
    """Return a way to begin that starts a stream by the chat route, leaves at once, and reads by ``resume``."""

    def begin(relation: Relation, body: dict[str, Any], stream_id: str) -> Iterator[Entry]:
        for _ in begin_chat_sse(replace(relation, most_bytes=1), body, stream_id):
            break
        yield from resume(relation, stream_id, -1)

    return begin
