"""The answer's body: both paths agree on any bytes cut anywhere; nothing is lost, nothing invented."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.protocol.chat import ChatStreamDecoder, ChunkTooLarge
from headrace.protocol.json_object import decode_object
from headrace.protocol.sse import EventTooLarge, SSEDecoder
from headrace.types.chunk import Choice, ChunkView, Delta

LIMIT = 100_000


def chunk(text: str) -> bytes:
    return msgspec.json.encode(
        {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    )


def plain(*texts: str) -> bytes:
    return b"".join(b"data: %b\n\n" % chunk(text) for text in texts)


class Seen(msgspec.Struct):
    """What a decoder gave for some reads."""

    lines: list[bytes] = []
    views: list[ChunkView] = []
    is_done: bool = False
    malformed_chunks: int = 0
    is_too_large: bool = False


def run(reads: Iterable[bytes], *, limit: int = LIMIT) -> Seen:
    decoder = ChatStreamDecoder(max_event_bytes=limit)
    seen = Seen()
    for data in reads:
        try:
            chunks = decoder.receive_data(data)
        except ChunkTooLarge as error:
            chunks = error.chunks
            seen.is_too_large = True
        if chunks is not None:
            assert len(chunks.lines()) == len(chunks.views)
            seen.lines += chunks.lines()
            seen.views += chunks.views
        if seen.is_too_large:
            break
    decoder.receive_eof()
    seen.is_done, seen.malformed_chunks = decoder.is_done, decoder.malformed_chunks
    return seen


def run_generally(body: bytes, *, limit: int = LIMIT) -> Seen:
    """The reference: every event through the standard's decoder, in one read."""
    decoder = ChatStreamDecoder(max_event_bytes=limit)
    is_too_large = False
    try:
        events = SSEDecoder(max_event_bytes=limit).receive_data(body)
    except EventTooLarge as error:
        events, is_too_large = error.events, True
    chunks = decoder._chunks(events)
    return Seen(
        lines=chunks.lines() if chunks else [],
        views=chunks.views if chunks else [],
        is_done=decoder.is_done,
        malformed_chunks=decoder.malformed_chunks,
        is_too_large=is_too_large and not decoder.is_done,
    )


def texts(seen: Seen) -> list[object]:
    return [view.choices[0].delta.content for view in seen.views]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    reads = []
    for size in sizes:
        reads.append(data[:size])
        data = data[size:]
    return [*reads, data]


EVENT = st.one_of(
    st.text(max_size=5).map(plain),
    st.sampled_from(["ha", "é", "{}", "}\n\ndata: {"]).map(plain),
    st.sampled_from(
        [
            b": ping\n\n",
            b"\n",
            b"data: [DONE]\n\n",
            b"data:{}\n\n",
            b"data: {} {}\n\n",
            b"data: {\n\n",
            b"data: }\n\n",
            b'data: {"a":{}\n\n',
            b"data: \n\n",
            b"data: 12\n\n",
            b'data: {"a":"\xff"}\n\n',
            b'data: {"a":\ndata: 1}\n\n',
            b'data: {"a":\n1}\n\n',
            b'data: {"a":\r1}\n\n',
            b'data: {"choices":null}\n\n',
            b'id: 1\ndata: {"a":1}\n\n',
            b'id: 2\ndata: {"a":1}\n\n',
            b'data: {"a":1}\nid\n\n',
            b'event: error\ndata: {"message":"m"}\n\n',
            b"event: error\ndata: m\n\n",
            b"retry: 5\n\n",
            b"\r",
            b"\xef\xbb\xbf",
            b'data: {"a":1}\r\n\r\n',
            b"data: {}",
        ]
    ),
)
BODY = st.builds(
    lambda events, is_crlf: b"".join(events).replace(b"\n", b"\r\n") if is_crlf else b"".join(events),
    st.lists(EVENT, max_size=8),
    st.booleans(),
)


@given(BODY, st.lists(st.integers(0, 200)))
@example(plain("a", "b", "c"), [7, 1, 1])
@example(plain("a", "b", "c"), [len(plain("a")), len(plain("b")) + 5])
@example(plain("a", "b"), [len(plain("a")), len(plain("b")) - 1])
@example(plain("a") + b"data: {}{}\n\ndata: {\n\n", [len(plain("a"))])
def test_any_cut_gives_what_the_general_path_gives_for_the_whole(body: bytes, sizes: list[int]) -> None:
    assert run(cut(body, sizes)) == run_generally(body)


@given(BODY, st.lists(st.integers(0, 200)), st.integers(0, 120))
def test_limit_is_found_at_any_cut_and_loses_nothing_before_it(body: bytes, sizes: list[int], limit: int) -> None:
    assert run(cut(body, sizes), limit=limit) == run_generally(body, limit=limit)


@given(BODY)
def test_byte_by_byte_gives_the_same(body: bytes) -> None:
    assert run([body[i : i + 1] for i in range(len(body))]) == run_generally(body)


@given(st.lists(st.text()), st.booleans())
def test_chunks_come_out_verbatim(contents: list[str], is_crlf: bool) -> None:
    reads = [plain(content) + plain(content) for content in contents]
    seen = run([data.replace(b"\n", b"\r\n") if is_crlf else data for data in reads])
    assert seen.lines == [chunk(content) for content in contents for _ in range(2)]
    assert texts(seen) == [content for content in contents for _ in range(2)]


@pytest.mark.parametrize("body", [b"", b": ping\n\n", b"data: \n\n", b"retry: 5\n\n", b"data: {}\n"])
def test_keep_alives_and_incomplete_events_give_none(body: bytes) -> None:
    assert run([plain("a"), body]) == run([plain("a")])


def test_done_ends_everything() -> None:
    seen = run([plain("a"), plain("b") + b"data: [DONE]\n\n" + plain("c") + b"x" * LIMIT * 2, plain("d")])
    assert (texts(seen), seen.is_done, seen.is_too_large) == (["a", "b"], True, False)


def test_what_is_no_object_is_counted_and_skipped() -> None:
    seen = run([plain("a"), b"data: {oops\n\n" + plain("b"), b'data: 12\n\ndata: {"a":"x\ndata: y"}\n\n'])
    assert (texts(seen), seen.malformed_chunks) == (["a", "b"], 3)


def test_a_strict_decoder_gives_what_stands_before_a_malformed_chunk_and_nothing_behind_it() -> None:
    decoder = ChatStreamDecoder(max_event_bytes=1000, stops_at_malformed=True)
    chunks = decoder.receive_data(b'data: {"id":"a"}\n\ndata: {"id":\n\ndata: {"id":"b"}\n\n')
    assert chunks is not None
    assert chunks.lines() == [b'{"id":"a"}']
    assert (decoder.is_done, decoder.malformed_chunks) == (True, 1)
    assert decoder.receive_data(b'data: {"id":"c"}\n\n') is None


def test_odd_objects_are_kept() -> None:
    seen = run([plain("a"), b'data: {"choices":[{"delta":null,"finish_reason":"stop"}]}\n\n'])
    assert (seen.views[1].choices, seen.malformed_chunks) == ([Choice(finish_reason="stop")], 0)


def test_line_ends_between_tokens_become_spaces() -> None:
    seen = run([b'data: {"choices":\ndata: []}\n\n'])
    assert seen.lines == [b'{"choices": []}']


def test_invalid_utf8_becomes_the_replacement_character() -> None:
    seen = run([plain("a"), b'data: {"x":"\xff\xe2\x82"}\n\n'])
    assert decode_object(seen.lines[1]) == {"x": "\ufffd\ufffd"}
    assert seen.malformed_chunks == 0


def test_error_object_is_seen() -> None:
    seen = run([plain("a"), b'data: {"error":{"message":"m"}}\n\n'])
    assert seen.views[1].error == {"message": "m"}


@pytest.mark.parametrize(
    ("data", "error", "line"),
    [
        (b'{"message":\ndata: "m"}', {"message": "m"}, b'{"message": "m"}'),
        (b'{"error":"e"}', "e", b'{"error":"e"}'),
        (
            b"overloaded",
            {"message": "overloaded", "type": "upstream_error", "param": None, "code": None},
            b'{"error":{"message":"overloaded","type":"upstream_error","param":null,"code":null}}',
        ),
    ],
)
def test_event_of_type_error_is_an_error_whatever_its_data(data: bytes, error: object, line: bytes) -> None:
    seen = run([b"event: error\ndata: %b\n\n" % data])
    assert (seen.views[0].error, seen.lines, seen.malformed_chunks) == (error, [line], 0)


def identified(own_id: str, text: str) -> bytes:
    return f"id: {own_id}\n".encode() + plain(text)


def test_repeated_event_with_an_id_is_dropped_even_with_others_between() -> None:
    assert texts(run([identified("1", "a") + plain("ha", "ha") + identified("1", "a"), identified("2", "a")])) == [
        "a",
        "ha",
        "ha",
        "a",
    ]


def test_equal_texts_are_kept_without_an_own_id() -> None:
    assert texts(run([identified("1", "ha") + plain("ha", "ha"), plain("ha")])) == ["ha"] * 4
    assert texts(run([identified("", "ha") * 2])) == ["ha"] * 2


def test_ids_that_do_not_tell_events_apart_drop_nothing() -> None:
    stream = [identified("chat-1", text) for text in ("a", "ha", "ha", "b", "b")]
    assert texts(run(stream)) == ["a", "ha", "ha", "b", "b"]


def test_event_over_the_limit_raises_and_leaves_the_decoder_unusable() -> None:
    decoder = ChatStreamDecoder(max_event_bytes=LIMIT)
    decoder.receive_data(plain("a"))
    with pytest.raises(ChunkTooLarge) as caught:
        decoder.receive_data(plain("b") + b"x" * (LIMIT + 1))
    assert caught.value.chunks is not None
    assert caught.value.chunks.lines() == [chunk("b")]
    assert caught.value.code == "event_too_large"
    with pytest.raises(ChunkTooLarge):
        decoder.receive_data(plain("c"))


def test_view_types_reach_the_caller() -> None:
    seen = run([plain("a"), plain("b")])
    assert seen.views == [ChunkView(choices=[Choice(delta=Delta(content=text))]) for text in "ab"]
