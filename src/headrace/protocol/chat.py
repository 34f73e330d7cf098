"""The body of an OpenAI-compatible streaming answer: server-sent events whose data are chunks, then ``[DONE]``.

Two paths, one result. The *general* path runs every byte through ``SSEDecoder`` and looks at each event. The *plain* path
takes what nearly all engines send nearly all the time (``data: {…}`` and a blank line, nothing else) and decodes all events
of a read in a handful of C calls, in a half to a quarter of the time; whatever is not exactly that falls to the general path. A property in ``tests/protocol/test_chat.py`` holds both to the same result on any bytes cut anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.protocol.chunk_view import view_of, views_of
from headrace.protocol.errors import error_object, parse_error_body
from headrace.protocol.json_object import decode_object, encode_object
from headrace.protocol.sse import EventTooLarge, SSEDecoder, SSEEvent
from headrace.types.chunk import Chunks, ChunkView

_DONE = "[DONE]"
_CR = 13
"""As a number: ``in`` is then a plain memchr, a third of the time."""
_BETWEEN = b"}\n\ndata: {"
"""What stands between two events of the plain form."""


class ChunkTooLarge(EventTooLarge):
    """One event passed the limit. ``chunks`` holds what the same call had decoded before it; None for nothing."""

    def __init__(self, limit_bytes: int, chunks: Chunks | None) -> None:
        super().__init__(limit_bytes)
        self.chunks = chunks


class ChatStreamDecoder:
    """Turns the bytes of an answer, cut anywhere, into chunks.

    - Comments, keep-alives and events with blank data give nothing.
    - Data that are not a JSON object are skipped and counted, except in an event of type ``error``: there they become an
      error object, as does a JSON object without ``error``.
    - An event is dropped as a duplicate only if it carries a non-empty ``id`` line itself, and both that id and the data
      equal those of the last event that carried one. Once an id has come with other data, this engine's ids do not tell
      events apart (some put the completion's id there), and nothing is dropped any more. Never by equal text alone.
    - Invalid UTF-8 becomes U+FFFD.

    Args:
        max_event_bytes: Largest event, in bytes.
        stops_at_malformed: Whether the first event that would be skipped is the last one looked at: what stands behind a
            hole does not continue what stands before it.

    Attributes:
        is_done: True once ``[DONE]``, or what ``stops_at_malformed`` says, came; everything after it is ignored.
        malformed_chunks: Events skipped so far because their data were not a JSON object.
    """

    def __init__(self, *, max_event_bytes: int, stops_at_malformed: bool = False) -> None:
        self.is_done = False
        self.malformed_chunks = 0
        self._max_event_bytes = max_event_bytes
        self._stops_at_malformed = stops_at_malformed
        self._sse = SSEDecoder(max_event_bytes=max_event_bytes)
        # True while self._sse stands inside an event; at first, because only it knows about a byte order mark.
        self._is_general = True
        # Bytes after the last event, when not general. Holds no CR.
        self._tail = bytearray()
        self._identified: _Identified | None = None
        self._ids_are_distinct = True

    def receive_data(self, data: bytes) -> Chunks | None:
        """Return the chunks that ``data`` completes, None for none.

        Raises:
            ChunkTooLarge: An event passed the limit; the decoder is unusable.
        """
        if self.is_done:
            return None
        # Behind this check nothing can pass the limit, so only the general path has to count.
        if len(self._tail) + len(data) > self._max_event_bytes:
            return self._receive_general(data)
        if self._is_general:
            return self._receive_rest(data)
        if _CR in data:
            lf_data = data.replace(b"\r\n", b"\n")
            if _CR in lf_data:
                return self._receive_general(data)
            data = lf_data
        return self._receive_plain(data)

    def receive_eof(self) -> None:
        """Take note of the end of the body: an event without its blank line is dropped (WHATWG HTML 9.2.6)."""
        self._tail.clear()
        self._sse.receive_eof()

    def _receive_plain(self, data: bytes) -> Chunks | None:
        end = data.rfind(b"\n\n") + 2
        # No blank line inside gives 1, which is right when the tail's last LF and the first byte here make one.
        if end == 1 and not (data.startswith(b"\n") and self._tail.endswith(b"\n")):
            self._tail += data
            return None
        part = data[:end]
        if self._tail:
            part = bytes(self._tail) + part
            self._tail.clear()
        if end < len(data):
            self._tail += data[end:]
        return _plain_chunks(part) or self._chunks(self._sse.receive_data(part))

    def _receive_rest(self, data: bytes) -> Chunks | None:
        """Finish the event that the general path stands in; what follows it may be plain again."""
        end = max(data.find(blank) + len(blank) if blank in data else 0 for blank in (b"\n\n", b"\r\n\r\n"))
        if not 0 < end < len(data):
            return self._receive_general(data)
        return _joined(self._receive_general(data[:end]), self.receive_data(data[end:]))

    def _receive_general(self, data: bytes) -> Chunks | None:
        data = bytes(self._tail) + data
        self._tail.clear()
        self._is_general = True
        try:
            events = self._sse.receive_data(data)
        except EventTooLarge as error:
            chunks = self._chunks(error.events)
            if self.is_done:
                return chunks
            raise ChunkTooLarge(error.limit_bytes, chunks) from error
        self._is_general = not self._sse.is_at_boundary
        return self._chunks(events)

    def _chunks(self, events: Iterable[SSEEvent]) -> Chunks | None:
        lines: list[bytes] = []
        views: list[ChunkView] = []
        for event in events:
            text = event.data.strip()
            if text == _DONE:
                self.is_done = True
                break
            if not text or self._is_repeated(event):
                continue
            chunk = _chunk(event)
            if chunk is None:
                self.malformed_chunks += 1
                if self._stops_at_malformed:
                    self.is_done = True
                    break
                continue
            lines.append(chunk[0])
            views.append(chunk[1])
        return Chunks(b"\n".join(lines), views) if lines else None

    def _is_repeated(self, event: SSEEvent) -> bool:
        if not event.own_id:
            return False
        last, self._identified = self._identified, _Identified(event.own_id, event.data)
        if last is None or last.id != event.own_id:
            return False
        if last.data != event.data:
            self._ids_are_distinct = False
        return self._ids_are_distinct


class _Identified(msgspec.Struct, frozen=True):
    """What is kept of the last event that carried an id."""

    id: str
    data: str


def _joined(first: Chunks | None, second: Chunks | None) -> Chunks | None:
    if first is None or second is None:
        return first or second
    return Chunks(first.data + b"\n" + second.data, first.views + second.views)


def _plain_chunks(part: bytes) -> Chunks | None:
    """Return the chunks of whole events of the plain form, joined by nothing; None when ``part`` is anything else."""
    if not part.startswith(b"data: {") or not part.endswith(b"}\n\n"):
        return None
    lines = part[6:-2].replace(_BETWEEN, b"}\n{")
    # Each replacement took 7 bytes away: cheaper than counting what stands between.
    count = (len(part) - 8 - len(lines)) // 7 + 1
    if lines.count(b"\n") != count - 1:
        return None
    views = views_of(lines)
    # Each line begins with "{" and ends with "}", so a JSON text cannot span two of them (after "}" comes ",", "}" or
    # "]", and a string holds no raw LF): as many texts as lines means one in each.
    return Chunks(lines, views) if views is not None and len(views) == count else None


def _chunk(event: SSEEvent) -> tuple[bytes, ChunkView] | None:
    """Return JSON line and view of an event's chunk; None when it holds none."""
    data = event.data.encode()
    view = view_of(data)
    if event.event == "error":
        return _error_chunk(event, view)
    # An LF here stands between tokens: inside a string it is not JSON.
    return None if view is None else (data.replace(b"\n", b" "), view)


def _error_chunk(event: SSEEvent, view: ChunkView | None) -> tuple[bytes, ChunkView]:
    data = event.data.encode()
    if view is None:
        error = error_object(message=parse_error_body(data).message)
        return encode_object({"error": error}), ChunkView(error=error)
    if view.error is None:
        view.error = decode_object(data)
    return data.replace(b"\n", b" "), view
