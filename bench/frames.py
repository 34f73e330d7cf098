"""Frames of WebSocket and HTTP/2 as a client writes and reads them, without I/O."""

from __future__ import annotations


def client_frame(message: bytes) -> bytes:
    """Return a text frame of a client for a message under 64 KiB, masked with zeros: any key will do (RFC 6455 5.3)."""
    size = len(message)
    length = bytes([128 + size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + message


def socket_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Split what a server sent into frames (RFC 6455 5.2): opcode and payload of each, and what is no whole one yet."""
    frames: list[tuple[int, bytes]] = []
    start = 0
    while len(data) >= start + 2:
        size, head = data[start + 1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[start + 2 : start + head], "big")
        end = start + head + size
        if len(data) < max(end, start + head):
            break
        frames.append((data[start] & 15, data[start + head : end]))
        start = end
    return frames, data[start:]


def http2_frame(kind: int, payload: bytes, *, flags: int = 0, number: int = 0) -> bytes:
    """Return a frame (RFC 9113 4.1) on stream ``number``."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + payload


def http2_frames(data: bytes) -> tuple[list[tuple[int, int, int, bytes]], bytes]:
    """Split what a server sent into frames: type, flags, stream and payload of each, and what is no whole one yet."""
    frames: list[tuple[int, int, int, bytes]] = []
    start = 0
    while len(data) >= start + 9:
        end = start + 9 + int.from_bytes(data[start : start + 3], "big")
        if len(data) < end:
            break
        number = int.from_bytes(data[start + 5 : start + 9], "big")
        frames.append((data[start + 3], data[start + 4], number, data[start + 9 : end]))
        start = end
    return frames, data[start:]
