"""Server-sent events: the standard's rules, any cut, limits."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.protocol.sse import PING, EventTooLarge, SSEDecoder, SSEEvent, encode_comment, encode_event

LIMIT = 1_000_000

STREAMS = st.lists(
    st.sampled_from(
        [
            b"data",
            b"id",
            b"event",
            b"retry",
            b":",
            b" ",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"12",
            b"\xe2\x82\xac",
            b"\xe2",
            b"\xff",
            b"x",
            b"\0",
            b"\xef\xbb\xbf",
            b"data: a\n",
            b"id: 7\r",
        ]
    ),
    max_size=30,
).map(b"".join)


def decode(*reads: bytes, limit: int = LIMIT) -> list[SSEEvent]:
    decoder = SSEDecoder(max_event_bytes=limit)
    events = [event for data in reads for event in decoder.receive_data(data)]
    return events + decoder.receive_eof()


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    reads = []
    for size in sizes:
        reads.append(data[:size])
        data = data[size:]
    return [*reads, data]


def datas(events: list[SSEEvent]) -> list[str]:
    return [event.data for event in events]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"]),
        (b": test stream\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n", ["first", "second", " third"]),
        (b"data\n\ndata\ndata\n\ndata:", ["", "\n"]),
        (b"data:test\n\ndata: test\n\n", ["test", "test"]),
        (b"id: 1\nevent: x\n\n", []),
        (b"data: a\rdata: b\r\rdata: c\r\n\r\n", ["a\nb", "c"]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", ["a"]),
        (b"data: a\n", []),
        (b"data: \xff\xe2\x82\ndata: \xac\n\n", ["\ufffd\ufffd\n\ufffd"]),
        (b"dat: a\nDATA: b\n data: c\n\n", []),
    ],
)
def test_events_follow_the_standard(stream: bytes, expected: list[str]) -> None:
    assert datas(decode(stream)) == expected


def test_type_holds_for_one_event_and_id_for_all_later_ones() -> None:
    first, second, third = decode(b"event: a\nid: 1\ndata: x\n\ndata: y\n\nevent:\nid\ndata: z\n\n")
    assert (first.event, first.id, first.own_id) == ("a", "1", "1")
    assert (second.event, second.id, second.own_id) == ("message", "1", None)
    assert (third.event, third.id, third.own_id) == ("message", "", "")


def test_id_of_a_block_without_data_is_in_force_but_not_the_next_events_own() -> None:
    (event,) = decode(b"id: 5\n\ndata: x\n\n")
    assert (event.id, event.own_id) == ("5", None)


def test_id_with_nul_is_ignored() -> None:
    (event,) = decode(b"id: 5\0\ndata: x\n\n")
    assert (event.id, event.own_id) == ("", None)


@pytest.mark.parametrize(
    ("value", "expected"), [(b"1500", 1500), (b"1.5", None), (b"-1", None), (b"", None), (b"9" * 5000, None)]
)
def test_retry_takes_digits_only(value: bytes, expected: int | None) -> None:
    (event,) = decode(b"retry: %b\n\ndata: x\n\n" % value)
    assert event.retry_ms == expected


def test_event_is_dispatched_at_its_last_carriage_return() -> None:
    decoder = SSEDecoder(max_event_bytes=LIMIT)
    assert datas(decoder.receive_data(b"data: a\r\n\r")) == ["a"]
    assert decoder.receive_data(b"") == []
    assert datas(decoder.receive_data(b"\ndata: b\n\n")) == ["b"]


@given(STREAMS, st.lists(st.integers(0, 5)))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 1, 1, 1])
def test_any_cut_gives_the_same_events(stream: bytes, sizes: list[int]) -> None:
    assert decode(*cut(stream, sizes)) == decode(stream)


@given(STREAMS)
def test_replacing_invalid_utf8_equals_decoding_the_whole_stream(stream: bytes) -> None:
    assert decode(stream) == decode(stream.decode(errors="replace").encode())


@given(
    st.text(),
    st.none() | st.text(st.characters(exclude_characters="\r\n", codec="utf-8")),
    st.none() | st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8")),
)
def test_decoding_gives_back_what_was_encoded(data: str, event: str | None, own_id: str | None) -> None:
    (decoded,) = decode(PING + encode_comment(data) + encode_event(data, event=event, id=own_id))
    assert decoded.data == data.replace("\r\n", "\n").replace("\r", "\n")
    assert (decoded.event, decoded.own_id) == (event or "message", own_id)


def test_bytes_are_encoded_as_they_are() -> None:
    assert encode_event(b"a\nb", id="3") == b"id: 3\ndata: a\ndata: b\n\n"


@pytest.mark.parametrize("fields", [{"id": "a\nb"}, {"id": "a\0"}, {"event": "a\r"}])
def test_encoding_refuses_what_the_format_cannot_carry(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line end"):
        encode_event("x", **fields)


@given(STREAMS, st.lists(st.integers(0, 5)), st.integers(0, 12))
def test_limit_is_found_at_any_cut_and_loses_nothing_before_it(stream: bytes, sizes: list[int], limit: int) -> None:
    def run(*reads: bytes) -> tuple[list[SSEEvent], bool]:
        decoder = SSEDecoder(max_event_bytes=limit)
        events = []
        for data in reads:
            try:
                events += decoder.receive_data(data)
            except EventTooLarge as error:
                return events + error.events, True
        return events, False

    assert run(*cut(stream, sizes)) == run(stream)


@pytest.mark.parametrize("stream", [b"x" * 11, b"data: " + b"x" * 5, b"x" * 11 + b"\n", b"data:xxxxx\n" * 2 + b"\n"])
def test_event_over_the_limit_raises_and_leaves_the_decoder_unusable(stream: bytes) -> None:
    decoder = SSEDecoder(max_event_bytes=10)
    with pytest.raises(EventTooLarge) as caught:
        decoder.receive_data(b"data: a\n\n" + stream)
    assert datas(caught.value.events) == ["a"]
    assert (caught.value.code, caught.value.limit_bytes, caught.value.status) == ("event_too_large", 10, 502)
    with pytest.raises(EventTooLarge):
        decoder.receive_data(b"")


def test_event_at_the_limit_passes() -> None:
    assert datas(decode(b"data:" + b"x" * 5 + b"\ndata:y\n\n", limit=10)) == ["xxxxx\ny"]


def test_memory_stays_bounded_without_a_line_end() -> None:
    decoder = SSEDecoder(max_event_bytes=100_000)
    tracemalloc.start()
    try:
        for _ in range(50):
            decoder.receive_data(b"ab" * 1000)
        with pytest.raises(EventTooLarge):
            decoder.receive_data(b"x")
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", False),
        (b"data: a\n\n", True),
        (b"id: 1\ndata: a\n\n", True),
        (b": ping\n", True),
        (b"data: a\r\n\r", False),
        (b"data: a\n", False),
        (b"event: a\n", False),
        (b"id: 1\n", False),
        (b"data: a\n\nd", False),
    ],
)
def test_boundary_is_known(stream: bytes, expected: bool) -> None:
    decoder = SSEDecoder(max_event_bytes=LIMIT)
    decoder.receive_data(stream)
    assert decoder.is_at_boundary is expected
