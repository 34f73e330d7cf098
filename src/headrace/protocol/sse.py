"""Server-sent events, both ways, without I/O.

Follows the event stream format of WHATWG HTML, section 9.2.5 and 9.2.6
(https://html.spec.whatwg.org/multipage/server-sent-events.html). Deliberate differences, so that nobody "fixes" them:

- An event is dispatched as soon as its blank line is known; a CR ends a line at once, and a LF after it, even in a later
  read, belongs to it. Nothing waits for a byte that may be seconds away.
- ``retry`` values of more than 15 digits are ignored: no clock can hold them, and Python refuses to parse very long ones.
- An event has a size limit, which the standard leaves to the implementation.
"""

from __future__ import annotations

import msgspec

from headrace.errors import UpstreamProtocolError

PING = b": ping\n\n"
"""A comment that keeps a connection alive; receivers ignore it."""

_BOM = b"\xef\xbb\xbf"
_MAX_RETRY_DIGITS = 15


class SSEEvent(msgspec.Struct, frozen=True):
    """One dispatched event."""

    data: str
    """The ``data`` lines joined by LF."""
    event: str = "message"
    """Its type; ``message`` when the event names none."""
    id: str = ""
    """The last event id in force, which an earlier event may have set: what a client sends as ``Last-Event-ID``."""
    own_id: str | None = None
    """The id that this very event carried; None when it had no valid ``id`` line. The only one fit to find duplicates."""
    retry_ms: int | None = None
    """The reconnection time in force, in milliseconds; None while the sender has set none."""


class EventTooLarge(UpstreamProtocolError):
    """One event passed the limit. The decoder that raised it is unusable.

    ``events`` holds what the same call had decoded before it, so that nothing complete is lost.
    """

    code = "event_too_large"

    def __init__(self, limit_bytes: int, events: list[SSEEvent] | None = None) -> None:
        super().__init__(f"an event is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes
        self.events = events or []


class SSEDecoder:
    """Turns the bytes of an event stream, cut anywhere, into events.

    Time is linear in the bytes received, however they are cut; memory is at most twice ``max_event_bytes`` and one read.

    Args:
        max_event_bytes: Largest line, and largest sum of an event's ``data`` lines, in bytes.
    """

    def __init__(self, *, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._is_broken = False
        self._is_first_line = True
        self._ended_by_cr = False
        # A bytearray, not a list of fragments: a million reads of one byte would cost 50 bytes each in a list.
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = ""
        self._own_id: str | None = None
        self._last_id = ""
        self._retry_ms: int | None = None

    @property
    def is_at_boundary(self) -> bool:
        """True when the bytes so far end exactly behind an event (and there were some): nothing is held back.

        The last event id and the reconnection time live on; they are no part of an event.
        """
        return not (
            self._line
            or self._data
            or self._event
            or self._own_id is not None
            or self._ended_by_cr
            or self._is_first_line
        )

    def receive_data(self, data: bytes) -> list[SSEEvent]:
        """Return the events that ``data`` completes, oldest first.

        Raises:
            EventTooLarge: A line or an event passed the limit.
        """
        if self._is_broken:
            raise EventTooLarge(self._max_event_bytes)
        if self._ended_by_cr and data:
            self._ended_by_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._ended_by_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        events: list[SSEEvent] = []
        for end in lines:
            self._line += end
            if not self._fits():
                raise self._too_large(events)
            event = self._receive_line(bytes(self._line))
            self._line.clear()
            if self._data_bytes > self._max_event_bytes:
                raise self._too_large(events)
            if event is not None:
                events.append(event)
        self._line += rest
        if not self._fits():
            raise self._too_large(events)
        return events

    def receive_eof(self) -> list[SSEEvent]:
        """Return what the end of the stream completes: nothing, ever.

        WHATWG HTML 9.2.6: once the end of the stream is reached, an event without its blank line is discarded.
        """
        self._line.clear()
        self._forget_event()
        return []

    def _fits(self) -> bool:
        return len(self._line) <= self._max_event_bytes

    def _too_large(self, events: list[SSEEvent]) -> EventTooLarge:
        self._is_broken = True
        self._line.clear()
        self._forget_event()
        return EventTooLarge(self._max_event_bytes, events)

    def _receive_line(self, line: bytes) -> SSEEvent | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        # A comment is a field with an empty name, which no field has.
        name, _, value = line.partition(b":")
        self._receive_field(name, value.removeprefix(b" "))
        return None

    def _receive_field(self, name: bytes, value: bytes) -> None:
        match name:
            case b"data":
                self._data_bytes += len(value) + bool(self._data)
                self._data.append(value)
            case b"event":
                self._event = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._own_id = self._last_id = value.decode(errors="replace")
            case b"retry" if value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
                self._retry_ms = int(value)
            case _:
                pass  # WHATWG HTML 9.2.6: other fields are ignored.

    def _dispatch(self) -> SSEEvent | None:
        event = None
        if self._data:
            event = SSEEvent(
                # Line ends are ASCII, so decoding after the join gives the same replacements as decoding the stream.
                data=b"\n".join(self._data).decode(errors="replace"),
                event=self._event or "message",
                id=self._last_id,
                own_id=self._own_id,
                retry_ms=self._retry_ms,
            )
        self._forget_event()
        return event

    def _forget_event(self) -> None:
        self._data.clear()
        self._data_bytes = 0
        self._event = ""
        self._own_id = None


def encode_event(
    data: str | bytes,
    *,
    event: str | None = None,
    id: str | None = None,  # noqa: A002 (the field's own name)
) -> bytes:
    """Return one event as bytes. Line ends in ``data`` (CR, LF, CRLF) arrive as LF.

    Raises:
        ValueError: ``event`` or ``id`` holds a line end, or ``id`` a NUL, which the format cannot carry.
    """
    head = b""
    if id is not None:
        head += b"id: %b\n" % _field_value("id", id, forbidden="\r\n\0")
    if event is not None:
        head += b"event: %b\n" % _field_value("event", event, forbidden="\r\n")
    return head + b"data: " + _lines(data).replace(b"\n", b"\ndata: ") + b"\n\n"


def encode_comment(text: str) -> bytes:
    """Return ``text`` as a comment, which receivers ignore."""
    return b": " + _lines(text).replace(b"\n", b"\n: ") + b"\n\n"


def _field_value(name: str, value: str, *, forbidden: str) -> bytes:
    if any(character in value for character in forbidden):
        raise ValueError(f"SSE {name} must not hold a line end or NUL")
    return value.encode()


def _lines(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data
