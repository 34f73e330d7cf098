"""From entries to the wire and back again."""

from __future__ import annotations

import json

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import StreamGone
from headrace.protocol.chat import ChatStreamDecoder
from headrace.protocol.encoders import ChatSSEEncoder, Encoder, EventsNDJSONEncoder, EventsSSEEncoder
from headrace.protocol.ndjson import NDJSONDecoder
from headrace.protocol.sse import SSEDecoder
from headrace.types.outcome import Cause, Durability, End, State

COMPLETED = End(state=State.COMPLETED, cause=Cause.STOP, finish_reason="stop", usage={"total_tokens": 3})
TRUNCATED = End(
    state=State.TRUNCATED, cause=Cause.UPSTREAM_CLOSED, message="It hung up.", durability=Durability.DEGRADED
)

CHUNKS = st.lists(
    st.text().map(lambda text: msgspec.json.encode({"choices": [{"delta": {"content": text}}]})), max_size=4
)


def chat() -> ChatSSEEncoder:
    return ChatSSEEncoder(stream_id="s")


@given(CHUNKS)
def test_chat_stream_decodes_to_its_entries(lines: list[bytes]) -> None:
    encoder, decoder = chat(), ChatStreamDecoder(max_event_bytes=100_000)
    wire = encoder.entries(0, len(lines), b"\n".join(lines)) + encoder.ping() + encoder.end(COMPLETED, len(lines))
    chunks = decoder.receive_data(wire)
    assert (chunks.lines() if chunks else []) == lines
    assert decoder.is_done
    assert not any(line.startswith(b"id") for line in wire.split(b"\n"))


def test_chat_stream_that_is_no_whole_answer_ends_with_an_error_and_no_done() -> None:
    wire = chat().end(TRUNCATED, 7)
    assert wire.startswith(b'data: {"error":{')
    assert wire.endswith(b"}}\n\n")
    assert b"[DONE]" not in wire
    assert b"\nid:" not in wire
    error = json.loads(wire.removeprefix(b"data: "))["error"]
    assert error["message"].endswith("It hung up.")
    assert (error["code"], error["state"], error["stream_id"]) == ("upstream_closed", "truncated", "s")


def read_with_openai(wire: bytes) -> list[str | None]:
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": chat().content_type}, content=wire)
    )
    with (
        httpx2.Client(transport=transport) as http,
        openai.OpenAI(base_url="http://engine", api_key="k", http_client=http) as client,
        client.chat.completions.create(model="m", messages=[], stream=True) as stream,
    ):
        return [chunk.choices[0].delta.content for chunk in stream]


def test_openai_client_reads_a_completed_stream() -> None:
    data = b'{"choices":[{"index":0,"delta":{"content":"a"}}]}\n{"choices":[{"index":0,"delta":{"content":"b"}}]}'
    assert read_with_openai(chat().ping() + chat().entries(0, 2, data) + chat().ping() + chat().end(COMPLETED, 2)) == [
        "a",
        "b",
    ]


def test_openai_client_raises_on_a_truncated_stream() -> None:
    with pytest.raises(openai.APIError, match=r"The stream was truncated: .* It hung up\.") as caught:
        read_with_openai(chat().end(TRUNCATED, 0))
    assert caught.value.code == "upstream_closed"


@given(CHUNKS, st.integers(0, 10**9))
def test_event_stream_carries_offsets_as_ids(lines: list[bytes], first: int) -> None:
    encoder = EventsSSEEncoder()
    wire = (
        encoder.entries(first, len(lines), b"\n".join(lines))
        + encoder.ping()
        + encoder.end(TRUNCATED, first + len(lines))
    )
    *events, end = SSEDecoder(max_event_bytes=100_000).receive_data(wire)
    assert [(event.own_id, event.data.encode()) for event in events] == [
        (str(first + n), line) for n, line in enumerate(lines)
    ]
    assert (end.event, end.own_id) == ("end", str(first + len(lines)))
    assert json.loads(end.data)["cause"] == "upstream_closed"


@given(CHUNKS, st.integers(0, 10**9))
def test_line_stream_carries_offsets_and_chunks_verbatim(lines: list[bytes], first: int) -> None:
    encoder = EventsNDJSONEncoder()
    wire = (
        encoder.entries(first, len(lines), b"\n".join(lines))
        + encoder.ping()
        + encoder.end(COMPLETED, first + len(lines))
    )
    *entries, end = NDJSONDecoder(max_line_bytes=100_000).receive_data(wire)
    assert entries == [b'{"offset":%d,"chunk":%b}' % (first + n, line) for n, line in enumerate(lines)]
    assert json.loads(end) == {
        "offset": first + len(lines),
        "end": {"state": "completed", "cause": "stop", "finish_reason": "stop", "usage": {"total_tokens": 3}},
    }


def test_end_always_says_state_cause_finish_reason_and_usage() -> None:
    assert json.loads(EventsNDJSONEncoder().end(TRUNCATED, 4))["end"] == {
        "state": "truncated",
        "cause": "upstream_closed",
        "finish_reason": None,
        "usage": None,
        "message": "It hung up.",
        "durability": "degraded",
    }


@pytest.mark.parametrize(
    ("encoder", "head"),
    [(chat(), b"data: "), (EventsSSEEncoder(), b"event: error\ndata: "), (EventsNDJSONEncoder(), b"")],
)
def test_error_that_ends_a_response_has_openais_shape(encoder: Encoder, head: bytes) -> None:
    wire = encoder.error(StreamGone("gone"))
    assert wire.startswith(head + b"{")
    assert wire.endswith((b"}\n", b"}\n\n"))
    assert json.loads(wire.removeprefix(head)) == {
        "error": {"message": "gone", "type": "invalid_request_error", "param": None, "code": "stream_gone"}
    }


@pytest.mark.parametrize(
    ("encoder", "content_type"),
    [
        (chat(), "text/event-stream; charset=utf-8"),
        (EventsSSEEncoder(), "text/event-stream; charset=utf-8"),
        (EventsNDJSONEncoder(), "application/x-ndjson"),
    ],
)
def test_encoders_say_what_they_write(encoder: Encoder, content_type: str) -> None:
    assert encoder.content_type == content_type
