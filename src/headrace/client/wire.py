"""The bodies of streaming answers, without I/O: bytes in, items out.

Three dialects. Each decoder takes bytes cut anywhere and never raises: what cannot be read is the last item.

=================  ==============================================  ==========================================
dialect            an entry                                        the end
=================  ==============================================  ==========================================
chat as lines      a chunk; its offset is its count                ``{"offset": n, "end": {…}}``
events as lines    ``{"offset": n, "chunk": {…}}``                 ``{"offset": n, "end": {…}}``
chat as SSE        a chunk; its offset is its count                ``[DONE]``, or a ``finish_reason``
=================  ==============================================  ==========================================

In all of them ``{"error": {…}}`` is the end of what can be read. Blank lines and comments are signs of life.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from headrace.client.blame import error_of_answer
from headrace.client.ending import Ending, completed, ending_of, ending_of_error
from headrace.errors import RelayError, UpstreamProtocolError
from headrace.protocol.chunk_view import choices_of
from headrace.protocol.json_object import decode_object
from headrace.protocol.ndjson import LineTooLarge, NDJSONDecoder
from headrace.protocol.sse import EventTooLarge, SSEDecoder

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Largest line or event of an answer."""

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"

_DONE = "[DONE]"
_SHOWN_BYTES = 80
"""How much of what cannot be read is shown."""


class Chunk(msgspec.Struct, frozen=True):
    """One entry."""

    offset: int
    chunk: dict[str, Any]


class Ended(msgspec.Struct, frozen=True):
    """The stream has ended. ``offset`` is that of the end entry; None where the dialect does not tell."""

    offset: int | None
    ending: Ending


class Unreadable:
    """Nothing more can be read: an error that the server told, or something that breaks the protocol.

    Args:
        error: Why.
        ending: How the stream ended; None when the server did not tell.
    """

    __slots__ = ("ending", "error")

    def __init__(self, error: RelayError, ending: Ending | None = None) -> None:
        self.error = error
        self.ending = ending


Item = Chunk | Ended | Unreadable


class Body(Protocol):
    """Decoder of one dialect."""

    def receive_data(self, data: bytes) -> list[Item]:
        """Return what ``data`` completes, oldest first."""

    def receive_eof(self) -> list[Item]:
        """Return what the orderly end of the body tells; nothing means that the stream was cut."""


class _Lines:
    """What the two dialects of lines share."""

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._lines = NDJSONDecoder(max_line_bytes=max_line_bytes)

    def receive_data(self, data: bytes) -> list[Item]:
        try:
            return [self._item(line) for line in self._lines.receive_data(data)]
        except LineTooLarge as error:
            return [*(self._item(line) for line in error.lines), Unreadable(error)]

    def receive_eof(self) -> list[Item]:
        return []

    def _item(self, line: bytes) -> Item:
        fields = decode_object(line)
        if fields is None:
            return _garbage(line)
        if "choices" not in fields and "end" in fields:
            return _end_item(line, fields)
        if "choices" not in fields and isinstance(fields.get("error"), dict):
            return _error_item(line, fields)
        return self._entry(line, fields)

    def _entry(self, line: bytes, fields: dict[str, Any]) -> Item:
        raise NotImplementedError


class ChatLines(_Lines):
    """``POST /v1/chat/completions`` as NDJSON."""

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        super().__init__(max_line_bytes=max_line_bytes)
        self._count = 0

    def _entry(self, line: bytes, fields: dict[str, Any]) -> Item:  # noqa: ARG002 (the dialect has no envelope)
        self._count += 1
        return Chunk(self._count - 1, fields)


class EventLines(_Lines):
    """``GET /v1/streams/{id}/events`` as NDJSON."""

    def _entry(self, line: bytes, fields: dict[str, Any]) -> Item:
        offset, chunk = fields.get("offset"), fields.get("chunk")
        return Chunk(offset, chunk) if type(offset) is int and isinstance(chunk, dict) else _garbage(line)


class ChatEvents:
    """OpenAI's chat stream as SSE: what servers that are no Headrace send."""

    def __init__(self, *, max_event_bytes: int = MAX_LINE_BYTES) -> None:
        self._events = SSEDecoder(max_event_bytes=max_event_bytes)
        self._count = 0
        self._finish_reason: str | None = None
        self._unfinished: set[int] = set()

    def receive_data(self, data: bytes) -> list[Item]:
        try:
            return [self._item(event.data) for event in self._events.receive_data(data)]
        except EventTooLarge as error:
            return [*(self._item(event.data) for event in error.events), Unreadable(error)]

    def receive_eof(self) -> list[Item]:
        """An answer whose every choice has a finish reason is whole without ``[DONE]``."""
        is_whole = self._finish_reason is not None and not self._unfinished
        return [Ended(None, completed(self._finish_reason))] if is_whole else []

    def _item(self, text: str) -> Item:
        if text.startswith(_DONE):
            return Ended(None, completed(self._finish_reason))
        line = text.encode()
        fields = decode_object(line)
        if fields is None:
            return _garbage(line)
        if fields.get("error") and not fields.get("choices"):
            return _error_item(line, fields)
        self._note_finish(fields)
        self._count += 1
        return Chunk(self._count - 1, fields)

    def _note_finish(self, chunk: dict[str, Any]) -> None:
        for index, choice, _ in choices_of(chunk):
            reason = choice.get("finish_reason")
            if not isinstance(reason, str):
                self._unfinished.add(index)
                continue
            self._unfinished.discard(index)
            if index == 0 or self._finish_reason is None:
                self._finish_reason = reason


def _end_item(line: bytes, fields: dict[str, Any]) -> Item:
    ending, offset = ending_of(fields["end"]), fields.get("offset")
    return _garbage(line) if ending is None or type(offset) is not int else Ended(offset, ending)


def _error_item(line: bytes, fields: dict[str, Any]) -> Item:
    error = fields["error"]
    return Unreadable(error_of_answer(line, status=None), ending_of_error(error) if isinstance(error, dict) else None)


def _garbage(line: bytes) -> Item:
    shown = line[:_SHOWN_BYTES].decode(errors="replace")
    return Unreadable(UpstreamProtocolError(f"the server sent what the protocol does not have: {shown!r}"))
