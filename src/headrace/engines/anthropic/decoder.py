"""The body of a streaming answer of the Messages API as OpenAI's chunks.

Bytes are cut into events by ``ChatStreamDecoder``, so that size, duplicates, comments and malformed events are treated as
they are everywhere; each event then becomes a chunk, or none (see ``answer``). In the end there is one chunk more, with the
usage and without choices.

The views know more than the bytes: from the first chunk on, the last view of each call carries the usage so far, which an
answer that is cut off is billed by. The prompt's tokens are the API's, and those of the answer our own count, since the API
tells them in the end. Clients get usage where OpenAI's contract has it, with the last chunk.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.engines.anthropic.answer import Answer, MalformedEvent
from headrace.engines.anthropic.dialect import CONTEXT_CODE, STATUSES, is_about_context
from headrace.engines.anthropic.usage import UsageCount
from headrace.errors import UpstreamProtocolError
from headrace.protocol.chat import ChatStreamDecoder, ChunkTooLarge
from headrace.protocol.chunk_view import view_of, views_of
from headrace.protocol.errors import error_object
from headrace.protocol.json_object import decode_object, encode_object
from headrace.types.chunk import Chunks, ChunkView

_OBJECT = "chat.completion.chunk"
_NAMED = b"event: content_block_delta\ndata: "
"""What nearly all events begin with. Without the name, which the data repeat, ``ChatStreamDecoder`` takes them on its plain
path, which saves a third of the whole time."""
_BLANK = b"\n\n"


class MessageStreamDecoder:
    """Turns the bytes of an answer, cut anywhere, into chunks; a ``StreamDecoder``.

    - Events that are no JSON, not as the API describes them or out of turn are skipped and counted.
    - An ``error`` event becomes an error object in OpenAI's shape; ``code`` is the HTTP status that its type has
      elsewhere, or ``context_length_exceeded``.
    - Nothing is made up: an answer that ends without ``message_delta`` has no finish reason.

    Args:
        max_event_bytes: Largest event, in bytes.
        stops_at_malformed: Whether nothing is looked at behind the first event that is skipped.
        created: Unix seconds, for the chunks' ``created``; the API does not tell.
    """

    def __init__(self, *, max_event_bytes: int, stops_at_malformed: bool = False, created: int) -> None:
        self.is_done = False
        self._events = ChatStreamDecoder(max_event_bytes=max_event_bytes, stops_at_malformed=stops_at_malformed)
        self._stops_at_malformed = stops_at_malformed
        self._created = created
        self._answer = Answer()
        self._usage = UsageCount()
        self._counted_tokens = 0
        self._skipped = 0
        self._head = b""
        self._is_between = False

    @property
    def malformed_chunks(self) -> int:
        return self._events.malformed_chunks + self._skipped

    def receive_data(self, data: bytes) -> Chunks | None:
        """Return the chunks that ``data`` completes, None for none.

        Raises:
            ChunkTooLarge: An event passed the limit; the decoder is unusable.
        """
        if self.is_done:
            return None
        try:
            return self._translated(self._events.receive_data(self._without_names(data)))
        except ChunkTooLarge as error:
            chunks = self._translated(error.chunks)
            if self._answer.is_whole:
                return chunks
            raise ChunkTooLarge(error.limit_bytes, chunks) from error

    def _without_names(self, data: bytes) -> bytes:
        """Leave out the names of events that begin and are named in this piece; only those are safe to find by their bytes."""
        if self._is_between and data.startswith(_NAMED):
            data = data[len(_NAMED) - len(b"data: ") :]
        self._is_between = data.endswith(_BLANK)
        return data.replace(_BLANK + _NAMED, _BLANK + b"data: ")

    def _translated(self, events: Chunks | None) -> Chunks | None:
        lines: list[bytes] = []
        if events is not None:
            for line, view in zip(events.lines(), events.views, strict=True):
                self._translate(line, view, lines)
                if self.is_done:
                    break
        if not lines:
            return None
        data = b"\n".join(lines)
        views = views_of(data) or [view_of(line) or ChunkView() for line in lines]
        self._note_usage(views)
        return Chunks(data, views)

    def _translate(self, line: bytes, view: ChunkView, lines: list[bytes]) -> None:
        """Put an event's chunk, if it makes one, behind the others."""
        if view.error is not None:
            lines.append(encode_object({"error": _error(view.error)}))
            return
        try:
            chunk = self._chunk(decode_object(line) or {})
        except (MalformedEvent, UpstreamProtocolError):
            self._skipped += 1
            self.is_done = self._stops_at_malformed
            return
        if chunk is not None:
            lines.append(chunk)
        if self._answer.is_whole:
            self.is_done = True
            usage = self._usage.usage()
            if usage is not None:
                lines.append(b'%s,"choices":[],"usage":%s}' % (self._head, msgspec.json.encode(usage)))

    def _chunk(self, event: dict[str, Any]) -> bytes | None:
        choice = self._answer.receive(event)
        if event["type"] == "message_start":
            self._head = self._encoded_head()
            self._usage.add(event["message"].get("usage"))
        elif event["type"] == "message_delta":
            self._usage.add(event.get("usage"))
        if choice is None:
            return None
        return b'%s,"choices":[%s]}' % (self._head, encode_object({"index": 0, **choice}))

    def _encoded_head(self) -> bytes:
        """Return what all chunks begin with, without the closing brace."""
        answer = self._answer
        head = {"id": answer.id, "object": _OBJECT, "created": self._created, "model": answer.model}
        return encode_object(head)[:-1]

    def _note_usage(self, views: list[ChunkView]) -> None:
        self._counted_tokens += sum([choice.tokens for view in views for choice in view.choices])
        last = views[-1]
        if last.usage is None and last.error is None:
            last.usage = self._usage.usage(least_output_tokens=self._counted_tokens)


def _error(error: Any) -> dict[str, Any]:
    """Return the API's error object in OpenAI's shape."""
    fields = error if isinstance(error, dict) else {"message": error}
    kind, message = fields.get("type"), fields.get("message")
    kind = kind if isinstance(kind, str) else "api_error"
    said = message if isinstance(message, str) and message else "The engine sent an error event"
    code: Any = CONTEXT_CODE if is_about_context(said) else STATUSES.get(kind)
    return {**error_object(message=said, type=kind), "code": code}
