from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.client.wire import Body, ChatEvents, ChatLines, Chunk, Ended, EventLines, Item, Unreadable
from headrace.errors import StreamGone, UpstreamProtocolError
from headrace.types.outcome import State

HELLO: list[dict[str, Any]] = [
    {"choices": [{"index": 0, "delta": {"content": "hé😀"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
END = {"state": "completed", "cause": "stop", "finish_reason": "stop", "usage": {"total_tokens": 3}}


def dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def lines(*values: Any) -> bytes:
    return "".join(dumped(value) + "\n" for value in values).encode()


DIALECTS: dict[str, tuple[Callable[[], Body], bytes]] = {
    "chat lines": (ChatLines, b"\n" + lines(*HELLO) + b"\n\r\n" + lines({"offset": 2, "end": END})),
    "event lines": (
        EventLines,
        lines(*({"offset": offset, "chunk": chunk} for offset, chunk in enumerate(HELLO)), {"offset": 2, "end": END}),
    ),
    "chat SSE": (
        ChatEvents,
        b": ping\n\n" + "".join(f"data: {dumped(chunk)}\r\n\r\n" for chunk in HELLO).encode() + b"data: [DONE]\n\n",
    ),
}


def received(body: Body, pieces: list[bytes]) -> list[Item]:
    items = [item for piece in pieces for item in body.receive_data(piece)]
    return items + body.receive_eof()


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
def test_any_split_gives_the_same_items(dialect: str, data: st.DataObject) -> None:
    make, raw = DIALECTS[dialect]
    cuts = sorted({0, len(raw), *data.draw(st.lists(st.integers(0, len(raw)), max_size=30))})
    items = received(make(), [raw[start:end] for start, end in pairwise(cuts)])
    assert items[:2] == [Chunk(0, HELLO[0]), Chunk(1, HELLO[1])]
    ended = items[2]
    assert isinstance(ended, Ended)
    assert (ended.ending.state, ended.ending.cause, ended.ending.finish_reason) == (State.COMPLETED, "stop", "stop")


@pytest.mark.parametrize("dialect", DIALECTS)
@given(raw=st.binary(max_size=300))
def test_any_bytes_give_items_and_never_an_exception(dialect: str, raw: bytes) -> None:
    make, _ = DIALECTS[dialect]
    assert all(isinstance(item, Chunk | Ended | Unreadable) for item in received(make(), [raw]))


@pytest.mark.parametrize("dialect", ["chat lines", "event lines"])
def test_line_without_its_line_end_is_nothing(dialect: str) -> None:
    make, raw = DIALECTS[dialect]
    assert not any(isinstance(item, Ended) for item in received(make(), [raw[:-1]]))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (ChatLines, b"[1]\n"),
        (ChatLines, b'{"offset": 2, "end": {"state": "unheard_of", "cause": "stop"}}\n'),
        (ChatLines, b'{"offset": 2, "end": {"state": "in_progress", "cause": "stop"}}\n'),
        (ChatLines, b'{"end": {"state": "completed", "cause": "stop"}}\n'),
        (EventLines, b'{"choices": []}\n'),
        (EventLines, b'{"offset": "0", "chunk": {}}\n'),
        (EventLines, b'{"offset": true, "chunk": {}}\n'),
        (ChatEvents, b"data: nonsense\n\n"),
    ],
)
def test_what_the_protocol_does_not_have_is_unreadable(make: Callable[[], Body], line: bytes) -> None:
    [item] = make().receive_data(line)
    assert isinstance(item, Unreadable)
    assert type(item.error) is UpstreamProtocolError


def test_error_line_is_its_error() -> None:
    error = {"message": "entries are gone", "type": "invalid_request_error", "param": None, "code": "stream_gone"}
    [item] = ChatLines().receive_data(lines({"error": error}))
    assert isinstance(item, Unreadable)
    assert type(item.error) is StreamGone
    assert item.ending is None


def test_error_event_of_a_stream_tells_its_end() -> None:
    error = {"message": "x", "type": "upstream_error", "code": "oom", "state": "truncated", "cause": "upstream_closed"}
    [item] = ChatEvents().receive_data(f"data: {json.dumps({'error': error})}\n\n".encode())
    assert isinstance(item, Unreadable)
    assert item.ending is not None
    assert (item.ending.state, item.ending.cause) == (State.TRUNCATED, "upstream_closed")


def test_chunk_with_a_field_end_or_error_is_a_chunk() -> None:
    odd = {**HELLO[0], "end": True, "error": None}
    assert ChatLines().receive_data(lines(odd)) == [Chunk(0, odd)]


def test_line_over_the_limit_is_unreadable_and_lines_before_it_are_not_lost() -> None:
    chunk, unreadable = ChatLines(max_line_bytes=100).receive_data(lines(HELLO[1]) + b"x" * 101)
    assert chunk == Chunk(0, HELLO[1])
    assert isinstance(unreadable, Unreadable)
    assert unreadable.error.code == "event_too_large"
    [first, last] = ChatEvents(max_event_bytes=100).receive_data(b"data: {}\n\ndata: " + b"x" * 101)
    assert first == Chunk(0, {})
    assert isinstance(last, Unreadable)


@pytest.mark.parametrize(("finishes", "is_whole"), [(["stop", "stop"], True), (["stop", None], False), ([], False)])
def test_sse_without_done_is_whole_when_every_choice_has_finished(finishes: list[str | None], is_whole: bool) -> None:
    body = ChatEvents()
    for index in range(2):
        body.receive_data(f'data: {{"choices": [{{"index": {index}, "delta": {{"content": "a"}}}}]}}\n\n'.encode())
    for index, finish in enumerate(finishes):
        chunk = {"choices": [{"index": index, "delta": {}, "finish_reason": finish}]}
        body.receive_data(f"data: {json.dumps(chunk)}\n\n".encode())
    assert len(body.receive_eof()) == int(is_whole)
