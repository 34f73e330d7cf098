"""From log entries to bytes on the wire: one small encoder a protocol.

An encoder holds no position: it may start at any offset, and one instance serves one consumer only because it may know the
stream's id.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from headrace.errors import RelayError
from headrace.protocol.chunk_view import text_of
from headrace.protocol.errors import end_error, error_body
from headrace.protocol.sse import PING, encode_event
from headrace.types.outcome import End


class Encoder(Protocol):
    """Writes one stream in one wire protocol. Pieces are sent in the order: entries …, end; pings anywhere between."""

    @property
    def content_type(self) -> str:
        """Value of the ``Content-Type`` header."""

    def entries(self, first: int, count: int, data: bytes) -> bytes:
        """Return ``count`` entries from offset ``first``; ``data`` as in ``Segment``: JSON texts joined by LF."""

    def end(self, end: End, offset: int) -> bytes:
        """Return the end entry, whose offset is ``offset``. Nothing may follow it."""

    def error(self, error: RelayError) -> bytes:
        """Return what ends a response whose entries can no longer be read. Nothing may follow it."""

    def ping(self) -> bytes:
        """Return bytes that keep a connection alive and mean nothing."""


class ChatSSEEncoder:
    """OpenAI's chat completion stream: what the stock SDKs read.

    No ``id`` lines, ever: behind one, a comment makes openai-python raise. An end that is not a whole answer is one error
    event, on which the SDKs raise, and no ``[DONE]``.
    """

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, *, stream_id: str) -> None:
        self._stream_id = stream_id

    def entries(self, first: int, count: int, data: bytes) -> bytes:  # noqa: ARG002 (offsets are not sent)
        return b"data: " + data.replace(b"\n", b"\n\ndata: ") + b"\n\n" if count else b""

    def end(self, end: End, offset: int) -> bytes:  # noqa: ARG002 (offsets are not sent)
        if not end.is_error:
            return b"data: [DONE]\n\n"
        error = end_error(end, stream_id=self._stream_id, partial_text=None)
        return encode_event(msgspec.json.encode({"error": error}))

    def error(self, error: RelayError) -> bytes:
        return encode_event(_error_body(error))

    def ping(self) -> bytes:
        return PING


class ChatNDJSONEncoder:
    """The same chunks as lines: one chunk object a line, the end as in the event stream. Its offset is its line's number."""

    content_type = "application/x-ndjson"

    def entries(self, first: int, count: int, data: bytes) -> bytes:  # noqa: ARG002 (offsets are not sent)
        return data + b"\n" if count else b""

    def end(self, end: End, offset: int) -> bytes:
        return _end_line(end, offset)

    def error(self, error: RelayError) -> bytes:
        return _error_body(error) + b"\n"

    def ping(self) -> bytes:
        return b"\n"


class TokenSSEEncoder:
    """Text only, for EventSource: ``{"token": "…"}`` for each entry that bears text of choice 0, then ``[DONE]``.

    Each event's id is stream and offset: what a browser sends back as ``Last-Event-ID`` says where to go on. An end that is
    no whole answer is an event ``error``, on which EventSource's own handler for errors is called.
    """

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, *, stream_id: str) -> None:
        self._stream_id = stream_id
        self._id = stream_id.encode()

    def head(self, offset: int, *, retry_ms: int) -> bytes:
        """Return the first event: it has an id and no data, so a page sees nothing of it (WHATWG HTML 9.2.6)."""
        return b"retry: %d\nid: %b:%d\n\n" % (retry_ms, self._id, offset)

    def entries(self, first: int, count: int, data: bytes) -> bytes:
        lines = data.split(b"\n") if count else []
        texts = [(offset, text_of(line)) for offset, line in enumerate(lines, first)]
        return b"".join(
            [
                b"id: %b:%d\ndata: %b\n\n" % (self._id, offset, msgspec.json.encode({"token": text}))
                for offset, text in texts
                if text
            ]
        )

    def end(self, end: End, offset: int) -> bytes:
        last_id = f"{self._stream_id}:{offset}"
        if not end.is_error:
            return encode_event(b"[DONE]", id=last_id)
        error = end_error(end, stream_id=self._stream_id, partial_text=None)
        return encode_event(msgspec.json.encode({"error": error}), id=last_id, event="error")

    def error(self, error: RelayError) -> bytes:
        return encode_event(_error_body(error), event="error")

    def ping(self) -> bytes:
        return PING


class EventsSSEEncoder:
    """Our own event stream, for EventSource: each entry carries its offset as ``id``, the end is an event ``end``."""

    content_type = "text/event-stream; charset=utf-8"

    def entries(self, first: int, count: int, data: bytes) -> bytes:
        lines = data.split(b"\n") if count else []
        return b"".join([b"id: %d\ndata: %b\n\n" % numbered for numbered in enumerate(lines, first)])

    def end(self, end: End, offset: int) -> bytes:
        return encode_event(msgspec.json.encode(end_fields(end)), id=str(offset), event="end")

    def error(self, error: RelayError) -> bytes:
        return encode_event(_error_body(error), event="error")

    def ping(self) -> bytes:
        return PING


class EventsNDJSONEncoder:
    """Our own event stream as lines: ``{"offset": n, "chunk": {…}}``, at last ``{"offset": n, "end": {…}}``."""

    content_type = "application/x-ndjson"

    def entries(self, first: int, count: int, data: bytes) -> bytes:
        lines = data.split(b"\n") if count else []
        return b"".join([b'{"offset":%d,"chunk":%b}\n' % numbered for numbered in enumerate(lines, first)])

    def end(self, end: End, offset: int) -> bytes:
        return _end_line(end, offset)

    def error(self, error: RelayError) -> bytes:
        return _error_body(error) + b"\n"

    def ping(self) -> bytes:
        return b"\n"


def _error_body(error: RelayError) -> bytes:
    return error_body(message=error.message, type=error.type, code=error.code, param=error.param)


def _end_line(end: End, offset: int) -> bytes:
    return msgspec.json.encode({"offset": offset, "end": end_fields(end)}) + b"\n"


def end_fields(end: End) -> dict[str, Any]:
    """Return an end as our protocols show it.

    ``state``, ``cause``, ``finish_reason`` and ``usage`` are always there, null when unknown; the other fields of ``End``
    only when they differ from their default.
    """
    fields: dict[str, Any] = msgspec.to_builtins(end)
    return {"state": end.state, "cause": end.cause, "finish_reason": None, "usage": None, **fields}
