"""Compression of streams: small windows, flushed at every delivery.

A window of 4 to 16 KiB is as much of the past as pays for chunks that repeat themselves every few hundred bytes; larger
ones cost memory for each of thousands of streams. Brotli holds ten times what gzip holds whatever its window, so it is for
clients that accept nothing else. ``docs/benchmarks.md`` has memory and time of each.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import zstandard

GZIP_LEVEL = 1
GZIP_WINDOW_BITS = 12
GZIP_MEMORY_LEVEL = 4
BROTLI_QUALITY = 3
BROTLI_WINDOW_BITS = 14
ZSTD_LEVEL = 1
ZSTD_WINDOW_BITS = 12
ZSTD_TABLE_BITS = 10

MAX_CODINGS = 16
"""Codings looked at in ``Accept-Encoding``."""


class Compressor(Protocol):
    """Compresses one response body."""

    def add(self, data: bytes) -> bytes:
        """Return bytes from which all of ``data`` so far can be read."""

    def finish(self) -> bytes:
        """Return the end of the body."""


class Gzip:
    """RFC 1952."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + GZIP_WINDOW_BITS, GZIP_MEMORY_LEVEL)

    def add(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._deflate.flush(zlib.Z_FINISH)


class Brotli:
    """RFC 7932."""

    def __init__(self) -> None:
        self._compressor = brotli.Compressor(mode=brotli.MODE_TEXT, quality=BROTLI_QUALITY, lgwin=BROTLI_WINDOW_BITS)

    def add(self, data: bytes) -> bytes:
        return bytes(self._compressor.process(data)) + bytes(self._compressor.flush())

    def finish(self) -> bytes:
        return bytes(self._compressor.finish())


class Zstd:
    """RFC 8878."""

    def __init__(self) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            ZSTD_LEVEL,
            window_log=ZSTD_WINDOW_BITS,
            hash_log=ZSTD_TABLE_BITS,
            chain_log=ZSTD_TABLE_BITS,
            write_checksum=False,
        )
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def add(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


CODECS: dict[bytes, Callable[[], Compressor]] = {b"zstd": Zstd, b"gzip": Gzip, b"br": Brotli}
"""By the name of the coding (RFC 9110 8.4.1), the cheapest first."""


def chosen(accepted: bytes) -> bytes | None:
    """Return the coding for a client that sent ``Accept-Encoding: accepted``; None for none.

    RFC 9110 12.5.3: the client's weights decide, among equals the cheapest coding here. ``*`` asks for nothing: what
    does not name a coding gets plain bytes.
    """
    weights: dict[bytes, float] = {}
    for part in accepted.lower().split(b",", MAX_CODINGS)[:MAX_CODINGS]:
        coding, _, parameter = part.partition(b";")
        weights[coding.strip()] = _weight(parameter.strip())
    offered = [(weights.get(name, 0.0), -place, name) for place, name in enumerate(CODECS)]
    weight, _, name = max(offered)
    return name if weight > 0 else None


def _weight(parameter: bytes) -> float:
    """Return a quality value (RFC 9110 12.4.2); 0, which refuses, for what is none."""
    if not parameter:
        return 1.0
    name, _, value = parameter.partition(b"=")
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if name.strip() == b"q" and 0 <= weight <= 1 else 0.0
