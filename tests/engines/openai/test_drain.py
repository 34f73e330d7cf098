from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from headrace.engines.openai.connection import Connection
from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.drain import Drain
from headrace.engines.openai.response import Response
from headrace.engines.openai.url import BaseURL

if TYPE_CHECKING:
    from tests.engines.openai.conftest import Peer, Serve


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def drained(
    serve: Serve, *parts: bytes, close: bool = False, timeout_s: float = 10, max_bytes: int = 100
) -> Drain:
    async def engine(peer: Peer) -> None:
        await peer.send(*parts)
        if not close:
            await peer.gone()

    double = await serve(engine)
    connection: Connection = await Dialler(BaseURL.parse(double.url), timeout_s=10, ssl_context=None).dial()
    response = Response(max_head_bytes=1000)
    response.receive_data(HEAD)
    loop = asyncio.get_running_loop()
    over: asyncio.Future[Drain] = loop.create_future()
    Drain(connection, response, max_bytes=max_bytes, timeout_s=timeout_s, loop=loop, on_end=over.set_result)
    drain = await asyncio.wait_for(over, 10)
    connection.close()
    return drain


async def test_the_rest_of_the_framing_makes_it_whole(serve: Serve) -> None:
    assert (await drained(serve, b"1\r\n\n\r\n", b"0\r", b"\n\r\n")).is_whole


@pytest.mark.parametrize("rest", [b"0\r\n", b"zz\r\n", b"0\r\n\r\nmore"])
async def test_anything_else_does_not(serve: Serve, rest: bytes) -> None:
    assert not (await drained(serve, rest, close=True)).is_whole


async def test_time_is_bounded(serve: Serve) -> None:
    assert not (await drained(serve, b"0\r\n", timeout_s=0.01)).is_whole


async def test_bytes_are_bounded(serve: Serve) -> None:
    assert not (await drained(serve, b"c8\r\n" + b"x" * 200)).is_whole
