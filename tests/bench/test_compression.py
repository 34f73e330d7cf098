"""What the codecs are given is the whole stream, and what they give can be read."""

from __future__ import annotations

import msgspec
import pytest
from bench.compression import SETTLING, Task, measure, parts_of

from headrace.http.compression import CODECS

EVENTS = [b'data: {"number":%d}\n\n' % number for number in range(120)]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6, 7])
def test_parts_are_the_stream_in_twos_and_threes(count: int) -> None:
    parts = parts_of(b"".join(EVENTS[:count]))
    assert b"".join(parts) == b"".join(EVENTS[:count])
    assert [part.count(b"\n\n") for part in parts][:-1] == [2, 3, 2, 3][: max(0, len(parts) - 1)]


@pytest.mark.parametrize("coding", [name.decode() for name in CODECS])
def test_codec_is_measured_on_streams_longer_than_it_takes_to_settle(coding: str) -> None:
    parts = parts_of(b"".join(EVENTS))
    assert len(parts) > SETTLING
    figures = measure(msgspec.convert({"coding": coding, "streams": 3, "parts": parts}, type=Task))
    assert figures.plain_bytes == sum(map(len, EVENTS)) > figures.compressed_bytes > 0
    assert figures.flush_s > 0
