"""Frames come out as they went in, wherever reads cut them."""

from __future__ import annotations

import pytest
from bench.frames import client_frame, http2_frame, http2_frames, socket_frames

from headrace.protocol.duplex import frame

MESSAGES = [b"{}", b"x" * 125, b"x" * 126, b"x" * 65535, b"x" * 65536, b""]


@pytest.mark.parametrize("step", [1, 2, 9, 1000, 1 << 20])
def test_socket_frames_do_not_depend_on_reads(step: int) -> None:
    data = b"".join(map(frame, MESSAGES))
    found: list[tuple[int, bytes]] = []
    rest = b""
    for start in range(0, len(data), step):
        frames, rest = socket_frames(rest + data[start : start + step])
        found += frames
    assert found == [(1, message) for message in MESSAGES]
    assert rest == b""


@pytest.mark.parametrize("size", [0, 125, 126, 65535])
def test_frames_of_clients_are_masked_and_have_their_length(size: int) -> None:
    data = client_frame(b"x" * size)
    assert data[1] & 128
    # A masked frame is one without a mask whose payload has the key before it.
    unmasked = data[:1] + bytes([data[1] & 127]) + data[2:]
    key_and_message, rest = unmasked[-4 - size :], unmasked[: -4 - size]
    assert key_and_message == bytes(4) + b"x" * size
    assert rest == frame(b"x" * size)[: len(rest)]


@pytest.mark.parametrize("step", [1, 8, 9, 10, 1000])
def test_http2_frames_do_not_depend_on_reads(step: int) -> None:
    sent = [(0, 1, 5, b"abc"), (4, 0, 0, b""), (1, 4, 2**31 - 1, b"x" * 300)]
    data = b"".join(http2_frame(kind, payload, flags=flags, number=number) for kind, flags, number, payload in sent)
    found: list[tuple[int, int, int, bytes]] = []
    rest = b""
    for start in range(0, len(data), step):
        frames, rest = http2_frames(rest + data[start : start + step])
        found += frames
    assert (found, rest) == (sent, b"")


def test_beginning_of_a_frame_is_kept() -> None:
    assert socket_frames(b"\x81") == ([], b"\x81")
    assert socket_frames(b"\x81\x7e\x01") == ([], b"\x81\x7e\x01")
    assert http2_frames(b"\0\0\0\0\0\0\0\0") == ([], bytes(8))
