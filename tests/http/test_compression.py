"""Compression: every delivery can be read as it comes, by other implementations too; and who asks for what."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from headrace.http.compression import CODECS, chosen

READERS: dict[bytes, Callable[[], Callable[[bytes], bytes]]] = {
    b"gzip": lambda: zlib.decompressobj(31).decompress,
    b"br": lambda: brotli.Decompressor().process,
    b"zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
}


@pytest.mark.parametrize("name", CODECS)
@given(parts=st.lists(st.binary(max_size=200), max_size=8))
def test_each_delivery_can_be_read_at_once(name: bytes, parts: list[bytes]) -> None:
    compressor, read = CODECS[name](), READERS[name]()
    for part in parts:
        assert read(compressor.add(part)) == part
    assert read(compressor.finish()) == b""


@pytest.mark.parametrize("name", CODECS)
def test_chunks_that_repeat_each_other_shrink_to_a_quarter(name: bytes) -> None:
    compressor = CODECS[name]()
    chunk = b'data: {"id":"chatcmpl-1","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" %d"}}]}\n\n'
    chunks = [chunk % number for number in range(100)]
    assert sum(len(compressor.add(each)) for each in chunks) < sum(map(len, chunks)) / 4


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"", None),
        (b"identity", None),
        (b"*", None),
        (b"gzip", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip, br", b"gzip"),
        (b"br", b"br"),
        (b"GZIP;q=1.0, br;q=0.5", b"gzip"),
        (b"gzip;q=0", None),
        (b"gzip;q=0, br;q=0.1", b"br"),
        (b"gzip;q=2", None),
        (b"gzip;q=nan", None),
        (b"gzip;level=9", None),
        (b"deflate", None),
        (b"," * 100_000 + b"gzip", None),
        (b"\xff;;q==", None),
    ],
)
def test_the_client_s_weights_choose_and_then_the_cheapest(accepted: bytes, coding: bytes | None) -> None:
    assert chosen(accepted) == coding
