"""Hostile input for HTTP/2: what one connection says behind its preface, most of it right."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from hpack import Encoder
from tests.system.hostile import SECRET, Input, Known

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4

_TARGETS = (
    *(b"/v1/models", b"/healthz", b"/v1/streams", b"/v1/streams?limit=x", b"/v1/streams/none", b"/v1/completions/stream"),
    *(b"/v1/completions/stream?prompt=hi&max_tokens=1", b"/v1/stream", b"/", b"", b"*", b"//", b"/\xff", b"/%zz", b"http://x/"),
)  # fmt: skip
_BODIES = (
    b'{"messages":[{"role":"user","content":"hi"}],"stream":true}',
    *(b"{", b"", b"null", b"\xff", b"x" * 20_000),
)
_METHODS = (*[b"GET"] * 4, *[b"POST"] * 3, b"DELETE", b"OPTIONS", b"CONNECT", b"get", b"", b"HEAD")
_VALUES = (*(b"", b"a", b"\xff", b"true", b"chunked", b"gzip", b"application/x-ndjson", b"-1", b"x" * 5000), SECRET)
_NAMES = (
    *(b"accept", b"accept-encoding", b"cookie", b"authorization", b"headrace-linger", b"headrace-stream-id"),
    *(b"headrace-merge", b"headrace-coalesce-tokens", b"last-event-id", b"x" * 300),
)  # fmt: skip
_BAD_NAMES = (
    *(b"host", b"connection", b"transfer-encoding", b"content-length", b"te", b"upgrade", b"Upper", b"", b"a b"),
    *(b":path", b":protocol", b":status", b"nul\x00"),
)  # fmt: skip


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Return one frame (RFC 9113 4.1); ``length`` other than the payload's is a lie."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def connections(rng: Random, _: Known) -> Iterator[Input]:
    """Yield what connections say, without end."""
    while True:
        encoder, said = Encoder(), []
        for number in range(rng.randint(1, 6)):
            stream_id = 2 * number + 1
            said.append(_request(rng, encoder, stream_id) if rng.random() < 0.85 else _odd(rng, stream_id))
        yield Input(data=b"".join(said), is_last=True)


def _request(rng: Random, encoder: Encoder, stream_id: int) -> bytes:
    """Return a request with one thing or another wrong with it."""
    method = rng.choice(_METHODS)
    fields = [
        (b":method", method),
        (b":scheme", _mostly(rng, b"http", (b"https", b"ftp", b""))),
        (b":authority", _mostly(rng, b"127.0.0.1", (b"evil.example", b"", b"a@b"))),
        (b":path", rng.choice(_TARGETS)),
    ]
    if rng.random() < 0.05:
        del fields[rng.randrange(len(fields))]
    if method == b"POST":
        fields.append((b"content-type", rng.choice((b"application/json", b"text/plain"))))
    names = _NAMES if rng.random() < 0.8 else (*_NAMES, *_BAD_NAMES)
    fields += [(rng.choice(names), rng.choice(_VALUES)) for _ in range(rng.choice((0, 0, 1, 2, 5)))]
    if rng.random() < 0.05:
        rng.shuffle(fields)
    block = encoder.encode(fields, huffman=rng.random() < 0.5)
    if rng.random() < 0.05:
        block = block[: rng.randrange(len(block))] + rng.randbytes(rng.randint(0, 4))
    body = rng.choice(_BODIES) if method == b"POST" else b""
    flags = END_HEADERS | (0 if body else END_STREAM)
    parts = [frame(HEADERS, flags, stream_id, block)]
    parts += [
        frame(DATA, END_STREAM if start + 9000 >= len(body) else 0, stream_id, body[start : start + 9000])
        for start in range(0, len(body), 9000)
    ]
    if rng.random() < 0.2:
        parts.append(frame(RST_STREAM, 0, stream_id, rng.randbytes(rng.choice((4, 4, 3)))))
    return b"".join(parts)


def _mostly(rng: Random, right: bytes, wrong: tuple[bytes, ...]) -> bytes:
    return right if rng.random() < 0.95 else rng.choice(wrong)


def _odd(rng: Random, stream_id: int) -> bytes:
    """Return frames that do not belong there, or are none."""
    somewhere = rng.choice((0, stream_id, stream_id + 1, 2**31 - 1, 2**31))
    noise = rng.randbytes(rng.choice((0, 1, 4, 5, 6, 8, 40, 16_384)))
    return rng.choice(
        (
            frame(rng.randrange(256), rng.randrange(256), somewhere, noise),
            frame(SETTINGS, 0, 0, rng.randbytes(6 * rng.randint(0, 20))),
            frame(WINDOW_UPDATE, 0, somewhere, rng.choice((0, 1, 2**31 - 1)).to_bytes(4, "big")),
            frame(CONTINUATION, rng.choice((0, END_HEADERS)), somewhere, rng.randbytes(20)),
            frame(PING, 0, 0, b"hostile!") * rng.randint(1, 200),
            frame(HEADERS, 0, stream_id, b"\x82") + frame(CONTINUATION, 0, stream_id) * rng.randint(1, 50),
            frame(rng.randrange(10), 0, somewhere, b"x", length=rng.choice((2**24 - 1, 20_000, 2))),
            frame(GOAWAY, 0, 0, bytes(8)),
        )
    )
