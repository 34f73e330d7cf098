"""Steps as packets: HTTP/1.1 (RFC 9112) and Server-Sent Events (WHATWG HTML 9.2) around a script's answer. No sockets."""

from __future__ import annotations

import http
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from headrace.engines.scripted.faults import Fin, Rst, Silence, SilenceBefore, SplitUtf8
from headrace.engines.scripted.plan import Plan
from headrace.engines.scripted.script import Framing
from headrace.engines.scripted.steps import (
    Bomb,
    Burst,
    Chunk,
    Close,
    Comment,
    Done,
    Half,
    Head,
    Hold,
    How,
    Huge,
    Reply,
    Step,
    Wire,
    steps_of,
)

BLOCK_BYTES = 1 << 16
"""Largest piece of a huge event that is in memory at once."""
_BOMB_BLOCK_BYTES = 1 << 20
_DONE = b"data: [DONE]\n\n"
_COMMENT = b": keep-alive\n\n"
_WITHOUT_BODY = frozenset({204, 304})
"""Statuses whose response has no body (RFC 9110 section 6.4.1)."""


class Packet(msgspec.Struct, frozen=True, gc=False):
    """Bytes that go out together, no earlier than ``due_ms`` after the request was accepted."""

    due_ms: float
    data: bytes
    tokens: int = 0
    is_alone: bool = False
    """Goes into a write of its own, even when the next one is due too."""
    status: int = 0
    """Status of the response, on the packet with its head."""
    close: Close | None = None
    """The answer ends after these bytes; ``how`` END leaves the connection open."""


def packets_of(plan: Plan, *, keep_alive: bool, is_http10: bool = False) -> Iterator[Packet]:
    """Return the packets of an answer.

    Args:
        plan: The answer.
        keep_alive: Whether the connection may stay open after an orderly end.
        is_http10: Whether the client speaks HTTP/1.0, which knows no chunks.
    """
    framing = plan.script.body_framing
    if framing == "chunked" and is_http10:
        framing = "close"
    length = _length_of(plan) if framing == "length" else None
    encoder = _Encoder(framing, length_bytes=length, keep_alive=keep_alive and framing != "close")
    packets = encoder.packets(steps_of(plan))
    fault = plan.script.fault
    return _split(packets, fault) if isinstance(fault, SplitUtf8) else packets


def packets_of_reply(reply: Reply, *, keep_alive: bool, outcome: str = "completed") -> Iterator[Packet]:
    """Return the packets of a whole response; ``outcome`` is the word for the record."""
    return _Encoder("length", keep_alive=keep_alive).packets((reply, Close(reply.due_ms, outcome=outcome)))


def _event(data: bytes, event_id: int | None = None) -> bytes:
    return b"data: %b\n\n" % data if event_id is None else b"id: %d\ndata: %b\n\n" % (event_id, data)


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _as_it_is(data: bytes) -> bytes:
    return data


def _length_of(plan: Plan) -> int:
    """Return the length of the body that the head promises: of the whole answer, also when a fault cuts it."""
    if isinstance(plan.script.fault, Fin | Rst | Silence | SilenceBefore):
        plan = msgspec.structs.replace(plan, script=msgspec.structs.replace(plan.script, fault=None))
    length = 0
    for step in steps_of(plan):
        if isinstance(step, Chunk):
            length += len(_event(step.data, step.event_id))
        elif isinstance(step, Done):
            length += len(_DONE)
    return length


def _head(status: int, headers: Iterable[tuple[str, str]], *, keep_alive: bool) -> bytes:
    """Return a response head."""
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", "server: headrace-simulator", *(f"{n}: {v}" for n, v in headers)]
    if not keep_alive:
        lines.append("connection: close")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


class _Encoder:
    """Encodes the steps of one response."""

    def __init__(self, framing: Framing, *, length_bytes: int | None = None, keep_alive: bool) -> None:
        self._framing = framing
        self._length_bytes = length_bytes
        self._keep_alive = keep_alive
        self._frame = _http_chunk if framing == "chunked" else _as_it_is
        self._terminator = b""
        self._encoders: dict[type, Callable[[Any], Iterator[Packet]]] = {
            Head: self._stream_head,
            Reply: self._reply,
            Burst: self._burst,
            Huge: self._huge,
            Bomb: self._bomb,
            Hold: self._hold,
            Close: self._close,
        }

    def packets(self, steps: Iterable[Step]) -> Iterator[Packet]:
        frame = self._frame
        for step in steps:
            match step:
                case Chunk():
                    yield Packet(step.due_ms, frame(_event(step.data, step.event_id)), step.tokens)
                case Comment():
                    yield Packet(step.due_ms, frame(_COMMENT))
                case Done():
                    yield Packet(step.due_ms, frame(_DONE))
                case Wire():
                    yield Packet(step.due_ms, step.data)
                case Half():
                    whole = _event(step.data)
                    framed = frame(whole)
                    yield Packet(step.due_ms, framed[: len(framed) - len(whole) // 2])
                case _:
                    yield from self._encoders[type(step)](step)

    def _stream_head(self, step: Head) -> Iterator[Packet]:
        headers = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
        if step.is_gzip:
            headers.append(("content-encoding", "gzip"))
        if self._framing == "chunked":
            headers.append(("transfer-encoding", "chunked"))
            self._terminator = b"0\r\n\r\n"
        elif self._framing == "length":
            headers.append(("content-length", str(self._length_bytes)))
        yield Packet(step.due_ms, _head(200, headers, keep_alive=self._keep_alive), status=200)

    def _reply(self, step: Reply) -> Iterator[Packet]:
        headers = list(step.headers)
        body = b"" if step.status in _WITHOUT_BODY else step.body
        if step.status not in _WITHOUT_BODY:
            headers.append(("content-length", str(len(body))))
        data = _head(step.status, headers, keep_alive=self._keep_alive) + body
        yield Packet(step.due_ms, data, step.tokens, status=step.status)

    def _burst(self, step: Burst) -> Iterator[Packet]:
        data = b"".join([self._frame(_event(chunk)) for chunk in step.chunks])
        yield Packet(step.due_ms, data, len(step.chunks), is_alone=True)

    def _huge(self, step: Huge) -> Iterator[Packet]:
        """Yield one event in many HTTP chunks."""
        yield Packet(step.due_ms, self._frame(b"data: " + step.before), is_alone=True)
        block = self._frame(b"x" * BLOCK_BYTES)
        for _ in range(step.fill_bytes // BLOCK_BYTES):
            yield Packet(step.due_ms, block, is_alone=True)
        rest = b"x" * (step.fill_bytes % BLOCK_BYTES)
        yield Packet(step.due_ms, self._frame(rest + step.after + b"\n\n"), 1, is_alone=True)

    def _bomb(self, step: Bomb) -> Iterator[Packet]:
        for data in _gzip_event(step.unpacked_bytes):
            yield Packet(step.due_ms, self._frame(data), is_alone=True)

    def _hold(self, _step: Hold) -> Iterator[Packet]:
        return iter(())

    def _close(self, step: Close) -> Iterator[Packet]:
        if step.how is not How.END:
            yield Packet(step.due_ms, b"", close=step)
        else:
            how = How.END if self._keep_alive else How.FIN
            yield Packet(step.due_ms, self._terminator, close=msgspec.structs.replace(step, how=how))


def _gzip_event(unpacked_bytes: int) -> Iterator[bytes]:
    """Yield the gzip (RFC 1952) of an event of ``unpacked_bytes`` bytes; each block is compressed once and repeated.

    A full flush forgets what came before, so compressed blocks may follow each other in any number.
    """

    def deflate(data: bytes, flush: int) -> bytes:
        compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return compressor.compress(data) + compressor.flush(flush)

    block = b"x" * _BOMB_BLOCK_BYTES
    packed = deflate(block, zlib.Z_FULL_FLUSH)
    fill = max(0, unpacked_bytes - len(_event(b"")))
    start, rest = b"data: ", b"x" * (fill % len(block)) + b"\n\n"
    yield b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflate(start, zlib.Z_FULL_FLUSH)
    checksum = zlib.crc32(start)
    for _ in range(fill // len(block)):
        checksum = zlib.crc32(block, checksum)
        yield packed
    checksum = zlib.crc32(rest, checksum)
    size = (len(start) + fill + 2) & 0xFFFFFFFF
    yield deflate(rest, zlib.Z_FINISH) + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")


def _split(packets: Iterator[Packet], fault: SplitUtf8) -> Iterator[Packet]:
    """Cut the bytes after the head elsewhere: inside characters, or after every few bytes."""
    last_ms = 0.0
    for packet in _inside_characters(packets) if fault.bytes_per_packet is None else _small(packets, fault):
        last_ms = max(packet.due_ms, last_ms + fault.gap_ms)
        yield msgspec.structs.replace(packet, due_ms=last_ms, is_alone=True)


def _small(packets: Iterator[Packet], fault: SplitUtf8) -> Iterator[Packet]:
    size = fault.bytes_per_packet or 1
    for packet in packets:
        if len(packet.data) <= size:
            yield packet
            continue
        last = (len(packet.data) - 1) // size * size
        for start in range(0, last, size):
            yield Packet(packet.due_ms, packet.data[start : start + size], status=packet.status if not start else 0)
        yield msgspec.structs.replace(packet, data=packet.data[last:], status=0)


def _inside_characters(packets: Iterator[Packet]) -> Iterator[Packet]:
    carry, tokens = b"", 0
    for packet in packets:
        if packet.status:
            yield packet
            continue
        carry += packet.data
        tokens += packet.tokens
        # A byte from 0xC0 up begins a character of several bytes (RFC 3629 section 3).
        cut = next((at + 1 for at in range(len(carry) - 1, -1, -1) if carry[at] >= 0xC0), 0)
        if packet.close is not None:
            yield msgspec.structs.replace(packet, data=carry, tokens=tokens)
        elif cut:
            yield Packet(packet.due_ms, carry[:cut], tokens)
            carry, tokens = carry[cut:], 0
