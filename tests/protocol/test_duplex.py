"""The WebSocket protocol: frames that another implementation reads, messages that its document describes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from headrace.errors import StreamGone
from headrace.protocol.duplex import (
    DuplexEncoder,
    MalformedMessage,
    Ping,
    ServerMessage,
    Start,
    error_message,
    frame,
    message_schema,
    parse_message,
    pong_message,
)
from headrace.types.outcome import Cause, End, State

SCHEMA = Path(__file__).parents[2] / "docs" / "websocket.schema.json"
END = End(state=State.COMPLETED, cause=Cause.STOP, finish_reason="stop")


def _frames(wire: bytes) -> list[bytes]:
    """Return the messages that the websockets library reads from frames of a server."""
    reader = StreamReader()
    reader.feed_data(wire)
    found = []
    while reader.buffer:
        parsing = Frame.parse(reader.read_exact, mask=False, max_size=None)
        try:
            while True:
                next(parsing)
        except StopIteration as done:
            parsed: Frame = done.value
        assert (parsed.fin, parsed.opcode) == (True, Opcode.TEXT)
        found.append(bytes(parsed.data))
    return found


@given(st.lists(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, 70000]), max_size=4))
def test_frames_are_read_by_another_implementation(sizes: list[int]) -> None:
    messages = [b"x" * size for size in sizes]
    assert _frames(b"".join(map(frame, messages))) == messages


def test_every_message_of_the_server_is_one_of_its_types() -> None:
    encoder = DuplexEncoder(stream_id="s")
    wire = encoder.entries(3, 2, b'{"a":1}\n{"b":"\xc4\x87"}') + encoder.ping() + encoder.end(END, 5)
    wire += encoder.error(StreamGone("gone")) + pong_message(Ping(id=4))
    wire += error_message(StreamGone("gone", param="after"), stream=None)
    messages = [msgspec.json.decode(text, type=ServerMessage) for text in _frames(wire)]
    shown: Any = msgspec.to_builtins(messages)
    assert [message["type"] for message in shown] == ["entry", "entry", "end", "error", "pong", "error"]
    assert shown[0] == {"type": "entry", "stream": "s", "offset": 3, "chunk": {"a": 1}}
    assert shown[1]["chunk"] == {"b": "ć"}
    assert (shown[2]["offset"], shown[2]["end"]["state"]) == (5, "completed")
    assert shown[4]["id"] == 4
    assert (shown[5]["stream"], shown[5]["error"]["param"]) == (None, "after")


def test_a_request_in_a_message_stays_as_the_client_wrote_it() -> None:
    message = parse_message('{"type":"start","stream":"s","request":{"seed":1.50,"odd":[1, 2]}}')
    assert isinstance(message, Start)
    assert {name: bytes(value) for name, value in message.request.items()} == {"seed": b"1.50", "odd": b"[1, 2]"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"start"',
        "{}",
        '{"type":"begin"}',
        '{"type":"start","stream":"s"}',
        '{"type":"start","stream":"s","request":[]}',
        '{"type":"start","stream":"","request":{}}',
        '{"type":"start","stream":"a b","request":{}}',
        '{"type":"start","stream":"s","request":{},"linger":-1}',
        '{"type":"start","stream":"s","request":{},"credit":-1}',
        '{"type":"start","stream":"s","request":{},"creditt":1}',
        '{"type":"resume","stream":"s","after":-2}',
        '{"type":"resume","stream":"s","after":1e99}',
        '{"type":"credit","stream":"s","credit":0}',
        '{"type":"credit","stream":"s"}',
        '{"type":"auth","ticket":5}',
        '{"type":"ping","id":[]}',
        '{"type":"ping","id":"\ud800"}',
        "[" * 100_000,
    ],
)
def test_what_is_no_message_is_malformed(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_message(text)


@given(st.text() | st.recursive(st.none() | st.text(), st.lists, max_leaves=5).map(json.dumps))
def test_any_text_is_a_message_or_malformed(text: str) -> None:
    with contextlib.suppress(MalformedMessage):
        parse_message(text)


def test_the_document_is_made_of_these_types() -> None:
    assert json.loads(SCHEMA.read_text()) == message_schema()
