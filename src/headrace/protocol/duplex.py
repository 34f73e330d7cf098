"""The WebSocket protocol ``headrace.v1``: many streams on one connection, without I/O.

Every message is one JSON object in a text frame. Its ``type`` says which of the structs below it is; unknown fields are
refused, so that a mistyped one does not go unnoticed. ``docs/websocket.schema.json`` is made of these structs.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from headrace.errors import RelayError
from headrace.protocol.encoders import end_fields
from headrace.protocol.errors import error_object
from headrace.types.outcome import End

SUBPROTOCOL = "headrace.v1"

StreamName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Credit = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Text = Annotated[str, msgspec.Meta(max_length=128)]


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """What all messages of clients have in common."""


class _Following(_Message, frozen=True, kw_only=True):
    """What asks for entries."""

    stream: StreamName
    credit: Credit | None = None
    """Entries that may be sent until ``credit`` messages allow more; null: any number."""
    coalesce_tokens: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """Entries gathered before they are sent; null: as the relay is set."""
    merge: bool | None = None
    """Send entries that differ in their text only as one; null: as the relay is set."""


class Auth(_Message, frozen=True, kw_only=True, tag="auth"):
    """Who speaks; only as the first message."""

    ticket: Text | None = None
    """Of ``POST /v1/tickets``; used up by this."""
    key: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    """What would be the bearer token of a request. Like that it is not looked at while the relay asks for no key."""


class Start(_Following, frozen=True, kw_only=True, tag="start"):
    """Start a stream under a name that the client chooses, and follow it."""

    request: dict[str, msgspec.Raw]
    """A chat completion request; ``stream`` in it is ignored."""
    linger: Annotated[float, msgspec.Meta(ge=0)] | bool | None = None
    """Seconds for which the stream goes on when nobody follows it; true: ``timeouts.linger``, false: not at all, null:
    ``timeouts.reconnect``."""


class Resume(_Following, frozen=True, kw_only=True, tag="resume"):
    """Follow a stream that exists."""

    after: Annotated[int, msgspec.Meta(ge=-1, le=2**62)] = -1
    """Offset of the last entry that the client has; -1: none."""


class Stop(_Message, frozen=True, kw_only=True, tag="stop"):
    """Stop the engine of a stream now. Its end still comes to who follows it."""

    stream: StreamName


class Detach(_Message, frozen=True, kw_only=True, tag="detach"):
    """Follow a stream no longer; what becomes of it says its ``linger``."""

    stream: StreamName


class Grant(_Message, frozen=True, kw_only=True, tag="credit"):
    """Let so many more entries of a stream come."""

    stream: StreamName
    credit: Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class Ping(_Message, frozen=True, kw_only=True, tag="ping"):
    """Answered by ``pong`` with the same id."""

    id: Text | int | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="entry"):
    """One entry of a stream; with ``merge`` it may stand for all since the one before."""

    stream: str
    offset: int
    chunk: dict[str, Any]


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="end"):
    """The end of a stream, always its last message."""

    stream: str
    offset: int
    end: dict[str, Any]
    """``state``, ``cause``, ``finish_reason``, ``usage``, and others where they say something."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """What could not be done, and for which stream; the connection goes on."""

    stream: str | None
    error: dict[str, Any]
    """OpenAI's error object."""


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="pong"):
    """The answer to ``ping``."""

    id: str | int | None


ClientMessage = Auth | Start | Resume | Stop | Detach | Grant | Ping
ServerMessage = Entry | Ended | Failed | Pong

_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)


class MalformedMessage(ValueError):
    """A client's message is none of the above; the text says why."""


def message_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of all messages, under ``$defs/client`` and ``$defs/server``."""
    (client, server), parts = msgspec.json.schema_components(
        (ClientMessage, ServerMessage), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Messages of the WebSocket protocol {SUBPROTOCOL}",
        "anyOf": [{"$ref": "#/$defs/client"}, {"$ref": "#/$defs/server"}],
        "$defs": {"client": client, "server": server, **parts},
    }


def parse_message(text: str) -> ClientMessage:
    """Read a client's message.

    Raises:
        MalformedMessage: It is not JSON, or not one of ``ClientMessage``.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedMessage(str(error).replace("`", "")) from error


def frame(message: bytes) -> bytes:
    """Return one unmasked text frame, as servers send them (RFC 6455 5.2)."""
    size = len(message)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + message
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + message
    return b"\x81\x7f" + size.to_bytes(8, "big") + message


def error_message(error: RelayError, *, stream: str | None) -> bytes:
    """Return the frame that says what could not be done; ``stream`` None when it concerns none."""
    fields = error_object(message=error.message, type=error.type, code=error.code, param=error.param)
    return frame(msgspec.json.encode(Failed(stream=stream, error=fields)))


def pong_message(ping: Ping) -> bytes:
    """Return the frame that answers ``ping``."""
    return frame(msgspec.json.encode(Pong(id=ping.id)))


class DuplexEncoder:
    """Writes one stream as frames: each entry is one, and so is the end."""

    content_type = "application/json"

    def __init__(self, *, stream_id: str) -> None:
        self._stream_id = stream_id
        self._before_offset = b'{"type":"entry","stream":"%b","offset":' % stream_id.encode()

    def entries(self, first: int, count: int, data: bytes) -> bytes:
        lines = data.split(b"\n") if count else []
        before = self._before_offset
        return b"".join(
            [frame(b'%b%d,"chunk":%b}' % (before, offset, line)) for offset, line in enumerate(lines, first)]
        )

    def end(self, end: End, offset: int) -> bytes:
        return frame(msgspec.json.encode(Ended(stream=self._stream_id, offset=offset, end=end_fields(end))))

    def error(self, error: RelayError) -> bytes:
        return error_message(error, stream=self._stream_id)

    def ping(self) -> bytes:
        """Nothing: the connection has pings of its own."""
        return b""
