import itertools
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.openai.response import Response
from headrace.errors import UpstreamProtocolError
from headrace.protocol.chat import ChatStreamDecoder

BODY = b"data: one\n\ndata: two\n\n" + bytes(range(256))
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MESSAGES = {
    "chunked": CHUNKED
    + b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in (BODY[:1], BODY[1:20], BODY[20:]))
    + b"0\r\nTrailer: 1\r\n\r\n",
    "length": b"HTTP/1.1 200\r\nCONTENT-type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    "close": b"HTTP/1.0 200 OK\r\nContent-Type:text/event-stream \r\n\r\n" + BODY,
    "after informational": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Type: a\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
}


def split(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return (data[a:b] for a, b in itertools.pairwise(edges) if a < b)


def response(*parts: bytes) -> Response:
    result = Response(max_head_bytes=1000)
    for part in parts:
        result.receive_data(part)
    return result


@pytest.mark.parametrize("framing", MESSAGES)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_any_split_gives_the_same_response(framing: str, cuts: list[int]) -> None:
    result = Response(max_head_bytes=1000)
    body = b""
    for part in split(MESSAGES[framing], cuts):
        result.receive_data(memoryview(bytearray(part)))
        body += result.take_body()
    assert result.receive_eof()
    assert (result.status, result.header(b"content-type"), body) == (200, "text/event-stream", BODY)


@pytest.mark.parametrize("framing", ["chunked", "length"])
@given(cuts=st.lists(st.integers(0, 10_000), max_size=30), text=st.text(max_size=5), count=st.integers(0, 5))
def test_any_split_gives_the_same_chunks(framing: str, cuts: list[int], text: str, count: int) -> None:
    chunk = msgspec.json.encode({"choices": [{"index": 0, "delta": {"content": text}}]})
    events = [b"data: %s\n\n" % chunk] * count + [b"data: [DONE]\n\n"]
    if framing == "chunked":
        message = CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"
    else:
        body = b"".join(events)
        message = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    result, decoder = Response(max_head_bytes=1000), ChatStreamDecoder(max_event_bytes=1000)
    lines: list[bytes] = []
    for part in split(message, cuts):
        result.receive_data(part)
        chunks = decoder.receive_data(result.take_body())
        lines += chunks.lines() if chunks else []
    assert result.is_reusable
    assert decoder.is_done
    assert lines == [chunk] * count


@given(st.binary(max_size=300), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED]), st.booleans())
def test_any_bytes_give_a_body_or_the_documented_error(data: bytes, prefix: bytes, is_bytewise: bool) -> None:
    result = Response(max_head_bytes=100)
    try:
        for part in split(prefix + data, list(range(1000)) if is_bytewise else []):
            result.receive_data(part)
    except UpstreamProtocolError:
        pass
    result.receive_eof()


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_whole_message_leaves_the_connection_reusable(framing: str) -> None:
    result = response(MESSAGES[framing])
    assert result.is_complete
    assert result.is_reusable


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_an_engine_that_will_close_is_believed(head: bytes) -> None:
    result = response(head)
    assert result.is_complete
    assert not result.is_reusable


@pytest.mark.parametrize("excess", [b"H", b"junk\r\n\r\n", MESSAGES["length"]])
@pytest.mark.parametrize("is_joined", [True, False])
def test_bytes_after_the_message_spoil_the_connection_not_the_message(excess: bytes, is_joined: bool) -> None:
    message = MESSAGES["length"]
    result = response(message + excess) if is_joined else response(message, excess)
    assert result.is_complete
    assert result.take_body() == BODY
    assert not result.is_reusable


@pytest.mark.parametrize("framing", ["chunked", "length"])
@given(data=st.data())
def test_an_end_inside_a_framed_message_cuts_it_short(framing: str, data: st.DataObject) -> None:
    message = MESSAGES[framing]
    result = response(message[: data.draw(st.integers(0, len(message) - 1))])
    assert not result.receive_eof()


def test_an_end_inside_an_unframed_body_ends_it() -> None:
    result = response(MESSAGES["close"])
    assert not result.is_complete
    assert result.receive_eof()
    assert not result.is_reusable


@pytest.mark.parametrize(
    "message",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"3\r\nabcde\r\n",
    ],
)
def test_broken_http_is_the_engines_fault(message: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        response(message)


def test_what_came_before_a_fault_stays_readable() -> None:
    result = Response(max_head_bytes=1000)
    with pytest.raises(UpstreamProtocolError):
        result.receive_data(CHUNKED + b"3\r\nabc\r\nzz\r\n")
    assert result.take_body() == b"abc"


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 2000, id="many headers at once"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 9000, id="one endless header"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 500, id="informational without end"),
        pytest.param(CHUNKED + b"0\r\nx: " + b"y" * 9000, id="an endless trailer"),
        pytest.param(CHUNKED + b"1;" + b"y" * 9000, id="an endless chunk extension"),
    ],
)
@pytest.mark.parametrize("step", [64, 100_000])
def test_head_and_framing_are_bounded(part: bytes, step: int) -> None:
    parts = [part[start : start + step] for start in range(0, len(part), step)]
    with pytest.raises(UpstreamProtocolError, match="more than 1000 bytes"):
        response(*parts)


def test_a_long_body_is_not_framing() -> None:
    result = response(CHUNKED + b"5000\r\n")
    for _ in range(0x5000 // 64):
        result.receive_data(b"x" * 64)
    assert len(result.take_body()) == 0x5000


def test_peeking_leaves_the_body() -> None:
    result = response(CHUNKED + b"1\r\na\r\n1\r\nb\r\n")
    assert result.peek_body() == b"ab"
    assert result.take_body() == b"ab"
    assert result.take_body() == b""
