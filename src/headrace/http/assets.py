"""The files of the page, in memory: as they were built and, once somebody has asked for it, compressed.

The page is built by ``web/page`` into ``headrace/page``: ``index.html``, ``favicon.svg``, and under ``assets/`` files
whose names change with their content.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import brotli
import zstandard

from headrace.http.compression import chosen

FOLDER = Path(__file__).parents[1] / "page"
"""Where the built page is, in a checkout and in an installed wheel."""

MIN_COMPRESSED_BYTES = 512
"""Smaller files fit into one packet as they are."""

BROTLI_QUALITY = 11
ZSTD_LEVEL = 19
GZIP_LEVEL = 9

REVALIDATED = b"no-cache"
"""``Cache-Control`` of a file whose name stays: kept, but asked about each time."""
IMMUTABLE = b"public, max-age=31536000, immutable"
"""``Cache-Control`` of a file whose name changes with its content (RFC 8246)."""

_TEXT_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".json": b"application/json",
    ".map": b"application/json",
    ".svg": b"image/svg+xml",
    ".txt": b"text/plain; charset=utf-8",
    ".webmanifest": b"application/manifest+json",
}
_PACKED_TYPES = {
    ".avif": b"image/avif",
    ".jpg": b"image/jpeg",
    ".png": b"image/png",
    ".webp": b"image/webp",
    ".woff": b"font/woff",
    ".woff2": b"font/woff2",
}
_UNKNOWN_TYPE = b"application/octet-stream"


def _brotli(data: bytes) -> bytes:
    return bytes(brotli.compress(data, mode=brotli.MODE_TEXT, quality=BROTLI_QUALITY))


def _gzip(data: bytes) -> bytes:
    # Without the time of day, so that every relay sends the same bytes under the same tag.
    return gzip.compress(data, GZIP_LEVEL, mtime=0)


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)


COMPRESSIONS: Mapping[bytes, Callable[[bytes], bytes]] = {b"zstd": _zstd, b"gzip": _gzip, b"br": _brotli}
"""Whole files, by the names of ``headrace.http.compression.CODECS``: done once, so as small as they get."""


class Asset:
    """One file.

    Args:
        data: What is in it.
        suffix: How its name ends, with the dot.
        cache_control: How long clients may keep it.
    """

    __slots__ = ("_compressed", "_digest", "_lock", "cache_control", "content_type", "data", "is_compressible")

    def __init__(self, data: bytes, *, suffix: str, cache_control: bytes) -> None:
        self.data = data
        self.cache_control = cache_control
        self.content_type = _TEXT_TYPES.get(suffix) or _PACKED_TYPES.get(suffix, _UNKNOWN_TYPE)
        self.is_compressible = suffix in _TEXT_TYPES and len(data) >= MIN_COMPRESSED_BYTES
        """Whether its answer depends on ``Accept-Encoding``."""
        self._digest = hashlib.sha256(data).hexdigest()[:32].encode()
        self._compressed: dict[bytes, bytes] = {}
        self._lock = asyncio.Lock()

    def coding(self, accepted: bytes) -> bytes | None:
        """Return the coding for a client that sent ``Accept-Encoding: accepted``; None for the plain file."""
        return chosen(accepted) if self.is_compressible else None

    def etag(self, coding: bytes | None) -> bytes:
        """Return the strong tag of one coding: each has other bytes, so each has its own (RFC 9110 8.8.3.3)."""
        return b'"%s"' % self._digest if coding is None else b'"%s-%s"' % (self._digest, coding)

    async def body(self, coding: bytes | None) -> bytes:
        """Return the file in ``coding``. The first call for each compresses, on a thread: streams must not wait for it."""
        if coding is None:
            return self.data
        async with self._lock:
            body = self._compressed.get(coding)
            if body is None:
                body = self._compressed[coding] = await asyncio.to_thread(COMPRESSIONS[coding], self.data)
        return body


class Assets:
    """All files of one page, by the path under which they are served."""

    def __init__(self, files: Mapping[str, Asset]) -> None:
        self._files = dict(files)

    @classmethod
    def read(cls, folder: Path) -> Assets:
        """Read the files of a built page; what is not there is simply not served."""
        files: dict[str, Asset] = {}
        for path, file in (("/", folder / "index.html"), ("/favicon.svg", folder / "favicon.svg")):
            if file.is_file():
                files[path] = Asset(file.read_bytes(), suffix=file.suffix, cache_control=REVALIDATED)
        hashed = folder / "assets"
        for file in sorted(hashed.iterdir()) if hashed.is_dir() else ():
            if file.is_file():
                asset = Asset(file.read_bytes(), suffix=file.suffix, cache_control=IMMUTABLE)
                files[f"/assets/{file.name}"] = asset
        return cls(files)

    def find(self, path: str) -> Asset | None:
        """Return the file that is served under ``path``."""
        return self._files.get(path)
