"""Newline-delimited records: any cut, heartbeats, limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.ndjson import LineTooLarge, NDJSONDecoder, encode_line


def decode(*reads: bytes, limit: int = 1000) -> list[bytes]:
    decoder = NDJSONDecoder(max_line_bytes=limit)
    return [line for data in reads for line in decoder.receive_data(data)] + decoder.receive_eof()


def test_lines_end_with_lf_or_crlf_and_blank_ones_are_heartbeats() -> None:
    assert decode(b'{"a":1}\r\n\n\r\n  \n{"b":2}\n') == [b'{"a":1}', b'{"b":2}']


def test_last_line_without_its_end_is_dropped() -> None:
    assert decode(b"{}\n12") == [b"{}"]


@given(st.lists(st.sampled_from([b"{}", b"\n", b"\r\n", b"\r", b" ", b"12"])).map(b"".join))
def test_byte_by_byte_gives_the_same_lines(stream: bytes) -> None:
    assert decode(*[stream[i : i + 1] for i in range(len(stream))]) == decode(stream)


@pytest.mark.parametrize("stream", [b"x" * 11, b"x" * 11 + b"\n"])
def test_line_over_the_limit_raises_and_leaves_the_decoder_unusable(stream: bytes) -> None:
    decoder = NDJSONDecoder(max_line_bytes=10)
    with pytest.raises(LineTooLarge) as caught:
        decoder.receive_data(b"x" * 10 + b"\n" + stream)
    assert caught.value.lines == [b"x" * 10]
    assert caught.value.code == "event_too_large"
    with pytest.raises(LineTooLarge):
        decoder.receive_data(b"")


@given(st.lists(st.binary(min_size=1).filter(lambda line: line.strip() and not {10, 13} & set(line))))
def test_decoding_gives_back_what_was_encoded(lines: list[bytes]) -> None:
    assert decode(b"".join(map(encode_line, lines))) == lines


@pytest.mark.parametrize("data", [b"{\n}", b"{\r}"])
def test_encoding_refuses_a_raw_line_end(data: bytes) -> None:
    with pytest.raises(ValueError, match="line end"):
        encode_line(data)
