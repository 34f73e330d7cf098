"""The decoder alone: any answer, cut anywhere, against the SDK's own way of putting events together."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.engines.anthropic import shapes
from tests.engines.anthropic.reading import by_engine, by_sdk, completion_of

from headrace.engines.anthropic.answer import MAX_OPEN_BLOCKS
from headrace.engines.anthropic.decoder import MessageStreamDecoder
from headrace.protocol.chat import ChunkTooLarge
from headrace.types.chunk import Chunks, ChunkView

EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
START = shapes.message_start()
HELLO = shapes.answer(shapes.text(0, "Hel", "lo"))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
arguments = st.dictionaries(texts, st.none() | st.integers() | texts | st.lists(texts, max_size=2), max_size=3)


def cut(text: str, places: list[int]) -> list[str]:
    """Return a text in pieces."""
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[first:last] for first, last in itertools.pairwise(bounds)]


@st.composite
def answers(draw: st.DrawFn) -> list[shapes.Event]:
    """Any answer that the API may give."""
    blocks: list[list[shapes.Event]] = []
    for index, kind in enumerate(draw(st.lists(st.sampled_from(["text", "thinking", "redacted", "tool"]), max_size=5))):
        pieces = draw(st.lists(texts, max_size=4))
        if kind == "text":
            blocks.append(shapes.text(index, *pieces))
        elif kind == "thinking":
            blocks.append(shapes.thinking(index, *pieces, signature=draw(texts) or "sig"))
        elif kind == "redacted":
            blocks.append(shapes.redacted(index, draw(texts)))
        else:
            given_arguments = json.dumps(draw(arguments)) if draw(st.booleans()) else ""
            pieces = cut(given_arguments, draw(st.lists(st.integers(0, 60), max_size=3)))
            blocks.append(shapes.tool_use(index, f"toolu_{index}", "f", *pieces))
    counts = draw(st.fixed_dictionaries({}, optional={"cache_read_input_tokens": st.integers(0, 9)}))
    return [shapes.message_start(**counts), *(event for block in blocks for event in block), *shapes.message_end()]


def encoded(events: list[shapes.Event], *, ascii_only: bool = True) -> bytes:
    lines = (f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=ascii_only)}\n\n" for event in events)
    return "".join(lines).encode()


def decoder(**options: Any) -> MessageStreamDecoder:
    return MessageStreamDecoder(**{"max_event_bytes": 100_000, "created": 1_700_000_000, **options})


def decode(*parts: bytes, into: MessageStreamDecoder | None = None) -> tuple[list[bytes], list[ChunkView]]:
    target = into or decoder()
    lines: list[bytes] = []
    views: list[ChunkView] = []
    for part in parts:
        chunks = target.receive_data(part)
        if chunks is not None:
            assert len(chunks.lines()) == len(chunks.views)
            lines += chunks.lines()
            views += chunks.views
    return lines, views


def split(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[first:last] for first, last in itertools.pairwise(bounds)]


def by_vendor(events: list[shapes.Event]) -> dict[str, Any]:
    """Return what the SDK makes of events."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        if event["type"] != "ping":
            found = EVENTS.validate_python(event)
            snapshot = accumulate_event(event=found, current_snapshot=snapshot, json_bufs=buffers)
    return by_sdk(Message.model_validate(snapshot.model_dump(mode="json", warnings=False)))


@given(answers(), st.lists(st.integers(0, 5000), max_size=6), st.booleans())
def test_any_answer_cut_anywhere_is_what_the_sdk_makes_of_it(
    events: list[shapes.Event], places: list[int], ascii_only: bool
) -> None:
    parts = split(encoded(events, ascii_only=ascii_only), places)
    target = decoder()
    lines, views = decode(*parts, into=target)
    expected = by_vendor(events)
    assert by_engine(lines) == expected
    assert (target.is_done, target.malformed_chunks) == (True, 0)
    assert views[-1].choices == []
    assert all(line.isascii() or line.decode() for line in lines)


@given(
    answers(),
    st.lists(st.integers(0, 5000), max_size=6),
    st.sampled_from([b": x\nevent: ", b"event:  ", b"id\nevent: "]),
)
def test_events_are_the_same_however_they_are_framed(
    events: list[shapes.Event], places: list[int], name: bytes
) -> None:
    data = encoded(events)
    other = data.replace(b"event: ", name)
    assert decode(*split(other, places))[0] == decode(data)[0] == decode(data.replace(b"\n", b"\r\n"))[0]


def test_a_field_with_an_odd_name_is_no_name_of_an_event() -> None:
    delta = b"event: content_block_delta\ndata: " + json.dumps(shapes.text(0, "x")[1]).encode() + b"\n\n"
    whole = decode(encoded(HELLO[:3]), delta, encoded(HELLO[3:]))[0]
    assert decode(encoded(HELLO[:3]), b"odd", delta, encoded(HELLO[3:]))[0] == whole
    assert decode(encoded(HELLO[:3]) + b"odd" + delta + encoded(HELLO[3:]))[0] == whole


def test_an_answer_cut_at_each_byte_is_the_same() -> None:
    events = shapes.answer(
        shapes.thinking(0, "h\u00e9", "m"),
        shapes.text(1, "\U0001f600", "!"),
        shapes.tool_use(2, "toolu_1", "f", '{"a"', ":1}"),
    )
    data = encoded(events, ascii_only=False)
    whole = decode(data)[0]
    assert decode(*(data[place : place + 1] for place in range(len(data))))[0] == whole
    for place in range(len(data)):
        assert decode(data[:place], data[place:])[0] == whole


@given(answers(), st.integers(0, 5000))
def test_of_any_answer_cut_off_the_beginning_is_known_and_no_end_made_up(
    events: list[shapes.Event], place: int
) -> None:
    data = encoded(events)
    part = data[: place % len(data)]
    lines, views = decode(part)
    has_end = b"event: message_delta" in part and b"\n\n" in part[part.index(b"event: message_delta") :]
    reasons = [choice.finish_reason for view in views for choice in view.choices if choice.finish_reason]
    assert reasons == (["stop"] if has_end else [])
    if lines:
        assert by_vendor(events)["text"].startswith(completion_of(lines)["choices"][0]["message"]["content"] or "")
        assert any(view.usage is not None and view.usage["prompt_tokens"] >= 11 for view in views)


@given(answers(), st.data())
def test_events_out_of_turn_are_counted_and_break_nothing(events: list[shapes.Event], data: st.DataObject) -> None:
    order = data.draw(st.permutations(events))
    target = decoder()
    lines, _ = decode(encoded(order), into=target)
    for line in lines:
        assert json.loads(line)["object"] == "chat.completion.chunk"
    assert target.malformed_chunks <= len(events)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["type", "index", "message", "content_block", "delta", "usage", "id", "model", "text", "input", "error"]), inner
)), st.sampled_from([event["type"] for event in HELLO]))  # fmt: skip
def test_no_value_of_any_shape_breaks_the_decoder(value: Any, kind: str) -> None:
    target = decoder()
    fields = value if isinstance(value, dict) else {"delta": value, "index": 0, "content_block": value}
    for known in (START, *shapes.text(0, "x")[:2]):
        target.receive_data(encoded([known]))
        target.receive_data(f"event: x\ndata: {json.dumps({**fields, 'type': kind})}\n\n".encode())


def test_chunks_have_openai_shape() -> None:
    lines = [json.loads(line) for line in decode(encoded(HELLO))[0]]
    head = {"id": "msg_01", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "claude-opus-4-8"}
    assert [{**head, "choices": line["choices"]} for line in lines[:-1]] == lines[:-1]
    role, *content, finish = (line["choices"][0] for line in lines[:-1])
    assert role == {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    assert content == [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in ("Hel", "lo")]
    assert finish == {"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "end_turn"}
    details = {"cached_tokens": 0, "cache_creation_tokens": 0}
    usage = {"prompt_tokens": 11, "completion_tokens": 15, "total_tokens": 26, "prompt_tokens_details": details}
    assert lines[-1] == {**head, "choices": [], "usage": usage}


def test_calls_have_openai_shape() -> None:
    events = [
        START,
        *shapes.text(0, "a"),
        *shapes.tool_use(1, "toolu_1", "f", "", '{"a":', "1}"),
        *shapes.tool_use(2, "toolu_2", "g"),
    ]
    calls = [
        view.choices[0].delta.tool_calls for view in decode(encoded(events))[1] if view.choices[0].delta.tool_calls
    ]
    assert calls == [
        [{"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"a":'}}],
        [{"index": 0, "function": {"arguments": "1}"}}],
        [{"index": 1, "id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": ""}}],
        [{"index": 1, "function": {"arguments": "{}"}}],
    ]


def test_a_call_that_is_cut_off_has_no_arguments_made_up() -> None:
    lines, _ = decode(encoded([START, *shapes.tool_use(0, "toolu_1", "f")[:1]]))
    assert completion_of(lines)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == ""


def test_the_usage_so_far_is_in_the_views_and_grows() -> None:
    target = decoder()
    views = [view for event in HELLO for view in decode(encoded([event]), into=target)[1]]
    seen = [(view.usage["prompt_tokens"], view.usage["completion_tokens"]) for view in views if view.usage is not None]
    assert seen == [(11, 1), (11, 1), (11, 2), (11, 15), (11, 15)]


def test_what_is_new_is_left_out() -> None:
    new = [
        {"type": "message_note", "note": 1},
        {"type": "content_block_start", "index": 5, "content_block": {"type": "hologram", "text": "x"}},
        {"type": "content_block_delta", "index": 5, "delta": {"type": "text_delta", "text": "y"}},
        {"type": "content_block_stop", "index": 5},
    ]
    target = decoder()
    lines, _ = decode(encoded([HELLO[0], *new, *HELLO[1:]]), into=target)
    assert lines == decode(encoded(HELLO))[0]
    assert target.malformed_chunks == 0


def test_a_new_stop_reason_is_a_stop_and_stays_visible() -> None:
    end = {"type": "message_delta", "delta": {"stop_reason": "tired"}, "usage": {"output_tokens": 1}}
    finish = json.loads(decode(encoded([START, end]))[0][-1])["choices"][0]
    assert (finish["finish_reason"], finish["stop_reason"]) == ("stop", "tired")


@pytest.mark.parametrize(
    "event",
    [
        START,
        {"type": "message_start"},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}},
        {"type": "content_block_delta", "index": 0, "delta": None},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 1}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_start", "index": "1", "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "x"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta"},
        {"kind": "text"},
    ],
)
@pytest.mark.parametrize("stops", [False, True])
def test_an_event_that_is_wrong_is_skipped_and_counted(event: dict[str, Any], stops: bool) -> None:
    parts = HELLO[:4]
    target = decoder(stops_at_malformed=stops)
    data = encoded(parts) + f"event: x\ndata: {json.dumps(event)}\n\n".encode() + encoded(HELLO[4:])
    lines, _ = decode(data, into=target)
    whole = decode(encoded(HELLO))[0]
    assert lines == (whole[: len(lines)] if stops else whole)
    assert (target.malformed_chunks, target.is_done) == (1, True)
    assert len(lines) == (2 if stops else len(whole))


def test_nothing_is_taken_before_the_beginning() -> None:
    target = decoder()
    assert decode(encoded([*HELLO[2:5], *HELLO]), into=target)[0] == decode(encoded(HELLO))[0]
    assert target.malformed_chunks == 3


def test_data_that_are_no_json_are_skipped_and_counted() -> None:
    target = decoder()
    data = encoded(HELLO[:3]) + b"event: content_block_delta\ndata: {oops\n\n" + encoded(HELLO[3:])
    assert decode(data, into=target)[0] == decode(encoded(HELLO))[0]
    assert target.malformed_chunks == 1


def test_an_event_with_its_id_repeated_is_dropped_and_equal_text_is_not() -> None:
    ha = json.dumps(shapes.text(0, "ha")[1]).encode()
    frame = b"id: 7\ndata: " + ha + b"\n\n"
    lines, _ = decode(encoded(HELLO[:3]), frame, frame, b"id: 8\ndata: " + ha + b"\n\n", encoded(HELLO[3:]))
    assert completion_of(lines)["choices"][0]["message"]["content"] == "hahaHello"


def test_blocks_that_never_end_are_bounded() -> None:
    target = decoder()
    opened = [
        {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": "x"}}
        for index in range(50)
    ]
    lines, _ = decode(encoded([START, *opened]), into=target)
    assert len(lines) == 1 + MAX_OPEN_BLOCKS
    assert target.malformed_chunks == 50 - MAX_OPEN_BLOCKS


def test_an_event_beyond_the_limit_ends_it_behind_what_came_before() -> None:
    target = decoder(max_event_bytes=2000)
    with pytest.raises(ChunkTooLarge) as raised:
        target.receive_data(encoded(HELLO[:4]) + b'data: {"type":"' + b"x" * 3000)
    chunks = raised.value.chunks
    assert isinstance(chunks, Chunks)
    assert completion_of(chunks.lines())["choices"][0]["message"]["content"] == "Hel"


def test_behind_the_end_nothing_is_looked_at() -> None:
    target = decoder(max_event_bytes=2000)
    whole = decode(encoded(HELLO))[0]
    assert decode(encoded(HELLO) + encoded(HELLO), into=target)[0] == whole
    assert target.receive_data(b"data: " + b"x" * 5000) is None


def test_half_an_emoji_in_a_piece_becomes_whole_with_the_other_half() -> None:
    pieces = [
        rb'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}' % half
        for half in (rb"\ud83d", rb"\ude00")
    ]
    lines, views = decode(encoded(HELLO[:3]), *(b"data: " + piece + b"\n\n" for piece in pieces))
    assert completion_of(lines)["choices"][0]["message"]["content"] == "\U0001f600"
    assert all(choice.delta.content == "\ufffd" for view in views[1:] for choice in view.choices)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
            {"message": "Overloaded", "type": "overloaded_error", "param": None, "code": 529},
        ),
        (
            b'event: error\ndata: {"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}\n\n',
            {
                "message": "prompt is too long: 9 tokens > 8 maximum",
                "type": "invalid_request_error",
                "param": None,
                "code": "context_length_exceeded",
            },
        ),
        (b"event: error\ndata: upstream died\n\n", {"message": "upstream died", "type": "upstream_error", "param": None, "code": None}),
        (
            b'data: {"type":"error","error":{"type":"new_error"}}\n\n',
            {"message": "The engine sent an error event", "type": "new_error", "param": None, "code": None},
        ),
    ],
)  # fmt: skip
def test_an_error_has_openai_shape(data: bytes, error: dict[str, Any]) -> None:
    lines, views = decode(encoded(HELLO[:4]), data)
    assert json.loads(lines[-1]) == {"error": error}
    assert (views[-1].error, views[-1].choices, views[-1].usage) == (error, [], None)
