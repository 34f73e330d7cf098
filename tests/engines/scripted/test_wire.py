from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.scripted.plan import plan_of
from headrace.engines.scripted.request import read_request
from headrace.engines.scripted.script import Script
from headrace.engines.scripted.steps import How, Reply
from headrace.engines.scripted.wire import BLOCK_BYTES, Packet, packets_of, packets_of_reply


def packets(simulate: Any = None, *, keep_alive: bool = True, is_http10: bool = False, **fields: Any) -> list[Packet]:
    body = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": "x"}],
        "simulate": simulate,
        **fields,
    }
    request, script = read_request(json.dumps(body).encode(), Script())
    plan = plan_of(request, script, serial=1, created=0)
    return list(packets_of(plan, keep_alive=keep_alive, is_http10=is_http10))


def wire(made: list[Packet]) -> bytes:
    return b"".join(packet.data for packet in made)


def dechunked(data: bytes) -> bytes:
    body = b""
    while data:
        line, _, rest = data.partition(b"\r\n")
        size = int(line, 16)
        body, data = body + rest[:size], rest[size + 2 :]
    return body


def how(made: list[Packet]) -> How:
    assert made[-1].close is not None
    return made[-1].close.how


def test_each_event_is_one_packet_and_one_http_chunk() -> None:
    head, role, token, *_ = packets({"tokens": 1})
    assert head.status == 200
    for packet in (role, token):
        size, _, rest = packet.data.partition(b"\r\n")
        assert int(size, 16) == len(rest) - 2
        assert rest.startswith(b"data: {")
        assert rest.endswith(b"}\n\n\r\n")
    assert (role.tokens, token.tokens) == (0, 1)


def test_an_event_is_as_long_as_those_of_real_engines() -> None:
    sizes = [len(packet.data) for packet in packets({"tokens": 64})[2:66]]
    assert all(215 <= size <= 270 for size in sizes)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_every_framing_carries_the_same_body(framing: str) -> None:
    made = packets({"tokens": 5, "seed": 1, "framing": framing})
    head, _, body = wire(made).partition(b"\r\n\r\n")
    reference = wire(packets({"tokens": 5, "seed": 1})).partition(b"\r\n\r\n")[2]
    assert (dechunked(body) if framing == "chunked" else body) == dechunked(reference)
    if framing == "length":
        assert b"content-length: %d" % len(body) in head
    assert (b"connection: close" in head) == (framing == "close")
    assert how(made) is (How.FIN if framing == "close" else How.END)


@pytest.mark.parametrize("kind", ["fin", "rst", "silence"])
def test_a_cut_body_falls_short_of_its_length(kind: str) -> None:
    made = packets({"tokens": 5, "framing": "length", "fault": {"kind": kind, "at": 2}})
    head, _, body = wire(made).partition(b"\r\n\r\n")
    assert int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]) > len(body)


@pytest.mark.parametrize(
    "script",
    [
        {"fault": {"kind": "clean_end", "at": 2}},
        {"fault": {"kind": "no_done"}},
        {"fault": {"kind": "repeat_event_id"}},
        {"fault": {"kind": "split_utf8"}},
        {"fault": {"kind": "silence_before", "ms": 1}},
        {"timestamps": True, "n": 2, "logprobs": True},
    ],
)
def test_a_length_is_exact(script: dict[str, Any]) -> None:
    head, _, body = wire(packets({"tokens": 5, "framing": "length", **script})).partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head


def test_http10_gets_no_chunks() -> None:
    made = packets({"tokens": 1}, is_http10=True)
    assert b"transfer-encoding" not in wire(made)
    assert how(made) is How.FIN


def test_a_connection_that_may_not_stay_is_closed() -> None:
    made = packets({"tokens": 1}, keep_alive=False)
    assert b"connection: close" in made[0].data
    assert how(made) is How.FIN


def test_a_reply_without_body_has_no_length() -> None:
    assert next(packets_of_reply(Reply(0, 204, b""), keep_alive=True)).data == (
        b"HTTP/1.1 204 No Content\r\nserver: headrace-simulator\r\n\r\n"
    )


def test_every_packet_ends_inside_a_character() -> None:
    plain = wire(
        packets({"tokens": 20, "seed": 1, "text": None, "fault": {"kind": "split_utf8", "bytes_per_packet": 9**9}})
    )
    _, *body, last = packets({"tokens": 20, "seed": 1, "fault": {"kind": "split_utf8"}})
    for packet in body:
        with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
            packet.data[_first_whole(packet.data) :].decode()
        assert packet.is_alone
    assert sum(packet.tokens for packet in [*body, last]) == 20
    assert wire([*body, last]) == plain.partition(b"\r\n\r\n")[2]


def _first_whole(data: bytes) -> int:
    """Skip the rest of the character that the packet before began."""
    return next(at for at, byte in enumerate(data) if byte & 0xC0 != 0x80)


@given(st.integers(1, 40))
def test_small_packets_join_to_the_same_bytes(size: int) -> None:
    whole = packets({"tokens": 2, "seed": 1, "text": "né 🌊"})
    made = packets({"tokens": 2, "seed": 1, "text": "né 🌊", "fault": {"kind": "split_utf8", "bytes_per_packet": size}})
    assert wire(made) == wire(whole)
    assert all(len(packet.data) <= size for packet in made)
    assert [packet.status for packet in made if packet.status] == [200]


def test_packets_may_have_gaps() -> None:
    made = packets({"tokens": 1, "fault": {"kind": "split_utf8", "bytes_per_packet": 50, "gap_ms": 2}})
    dues = [packet.due_ms for packet in made]
    assert dues == [2.0 * (number + 1) for number in range(len(dues))]


def test_a_huge_event_comes_in_blocks() -> None:
    size = 3 * BLOCK_BYTES + 5
    made = packets(
        {
            "tokens": 0,
            "role_chunk": False,
            "done": False,
            "finish_reason": None,
            "fault": {"kind": "huge_event", "bytes": size},
        }
    )
    assert max(len(packet.data) for packet in made) < BLOCK_BYTES + 300
    event = dechunked(wire(made).partition(b"\r\n\r\n")[2])
    assert json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == "x" * size


def test_a_burst_is_one_packet() -> None:
    burst = max(packets({"fault": {"kind": "burst", "at": 1, "events": 10_000}}), key=lambda packet: packet.tokens)
    assert burst.tokens == 10_000
    assert burst.data.count(b"data: ") == 10_000


@pytest.mark.parametrize("size", [1, 8, 5000, (1 << 20) + 8, 5_000_000])
def test_a_compressed_bomb_unpacks_to_its_size(size: int) -> None:
    made = packets({"fault": {"kind": "compressed_bomb", "bytes": size}})
    head, _, body = wire(made).partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head
    packed = dechunked(body)
    unpacked = zlib.decompress(packed, wbits=31)
    assert len(unpacked) == max(size, len(b"data: \n\n"))
    assert len(packed) < len(unpacked) / 500 + 200
    assert unpacked.startswith(b"data: ")
    assert unpacked.endswith(b"\n\n")
