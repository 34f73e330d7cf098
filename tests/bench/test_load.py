"""The load generator counts right, and notices what is wrong."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
import pytest
from bench.load import Generator, Load, Result, StreamClient, quantile

from headrace.engines.scripted.server import SimulatorServer

EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"One"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":" two"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)
DONE = b"data: [DONE]\n\n"


class _Sink:
    """A transport that takes everything and sends nothing."""

    def write(self, data: bytes) -> None:
        """Take it."""

    def close(self) -> None:
        """Nothing to close."""


def _chunked(*bodies: bytes) -> bytes:
    parts = b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in (*bodies, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts


def _receive(data: bytes, *, step: int, tokens: int = 2) -> Result:
    result = Result()
    client = StreamClient(b"", tokens=tokens, pauses_s=[], result=result, on_over=lambda: None)
    client.connection_made(cast(asyncio.Transport, _Sink()))
    for start in range(0, len(data), step):
        client.data_received(data[start : start + step])
    client.connection_lost(None)
    return result


@pytest.mark.parametrize("step", [1, 7, 64, 4096])
@pytest.mark.parametrize("cut", [1, 100, 150, len(EVENTS)])
def test_tokens_are_counted_once_however_they_are_split(step: int, cut: int) -> None:
    body = EVENTS + DONE
    result = _receive(_chunked(body[:cut], body[cut:]), step=step)
    assert (result.tokens, result.completed, result.failures) == (2, 1, [])
    assert len(result.ttft_s) == 1


def test_stream_without_done_is_a_failure() -> None:
    result = _receive(_chunked(EVENTS), step=4096)
    assert result.completed == 0
    assert "no [DONE]" in result.failures[0]


def test_missing_token_is_a_failure() -> None:
    result = _receive(_chunked(EVENTS, DONE), step=4096, tokens=3)
    assert result.completed == 0
    assert result.failures == ["2 of 3 tokens"]


def test_cut_connection_is_a_failure() -> None:
    result = _receive(_chunked(EVENTS, DONE)[:-2], step=4096)
    assert result.completed == 0
    assert "connection lost" in result.failures[0]


async def test_every_token_of_the_simulator_is_counted() -> None:
    load = Load(streams=4, tokens=30, itl_ms=0, repeats=3, ramp_s=0.0)
    async with SimulatorServer(models=("sim",)) as server:
        result = await Generator(server.port, load).run()
    assert result.failures == []
    assert (result.completed, result.tokens) == (12, load.total_tokens)
    assert len(result.ttft_s) == 12


async def test_refused_request_is_a_failure() -> None:
    load = Load(streams=2, tokens=1, itl_ms=0, ramp_s=0.0)
    async with SimulatorServer(models=("other",)) as server:
        result = await Generator(server.port, load).run()
    assert (result.completed, result.failed) == (0, 2)
    assert "status 404" in result.failures[0]


def test_request_asks_for_the_pace_of_the_load() -> None:
    load = Load(streams=1, tokens=7, itl_ms=20)
    body = load.request("127.0.0.1:1", "/v1/chat/completions").partition(b"\r\n\r\n")[2]
    assert msgspec.json.decode(body)["simulate"] == {"ttft_ms": 50.0, "itl_ms": 20, "tokens": 7}


def test_quantile_is_the_nearest_rank() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (quantile(values, 0.0), quantile(values, 0.5), quantile(values, 0.99)) == (1.0, 51.0, 100.0)
