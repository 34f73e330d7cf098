from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.url import BaseURL
from headrace.errors import UpstreamError

if TYPE_CHECKING:
    from tests.engines.openai.conftest import Eventually, Peer, Serve


def dialler(port: int, *, host: str = "127.0.0.1", timeout_s: float = 10) -> Dialler:
    return Dialler(BaseURL.parse(f"http://{host}:{port}"), timeout_s=timeout_s, ssl_context=None)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that answers no SYN: its accept queue is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_name_is_looked_up(serve: Serve) -> None:
    async def engine(peer: Peer) -> None:
        await peer.gone()

    double = await serve(engine)
    connection = await dialler(double.port, host="localhost").dial()
    assert connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    connection.close()


async def test_a_refusal_says_so_and_leaves_nothing_open(closed_port: int, open_descriptors: Callable[[], int]) -> None:
    before = open_descriptors()
    with pytest.raises(UpstreamError, match="refused") as caught:
        await dialler(closed_port).dial()
    assert (caught.value.status, caught.value.code) == (502, "upstream_unreachable")
    assert open_descriptors() == before


async def test_silence_is_bounded(full_port: int) -> None:
    with pytest.raises(UpstreamError, match=r"within 0\.05 s"):
        await dialler(full_port, timeout_s=0.05).dial()


async def test_an_unknown_name_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Dialler, loop: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(Dialler, "_addresses", fail)
    with pytest.raises(UpstreamError, match="host name was not found"):
        await dialler(1, host="engine.invalid").dial()


async def test_addresses_are_tried_in_turn_even_if_one_swallows_packets(
    serve: Serve, closed_port: int, full_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def engine(peer: Peer) -> None:
        await peer.gone()

    double = await serve(engine)

    async def three(self: Dialler, loop: object) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        return [(socket.AF_INET, ("127.0.0.1", port)) for port in (closed_port, full_port, double.port)]

    monkeypatch.setattr(Dialler, "_addresses", three)
    connection = await dialler(1, timeout_s=0.5).dial()
    connection.close()


async def test_cancelling_leaves_nothing_open(
    full_port: int, open_descriptors: Callable[[], int], eventually: Eventually
) -> None:
    before = open_descriptors()
    task = asyncio.ensure_future(dialler(full_port).dial())
    await eventually(lambda: open_descriptors() > before)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert open_descriptors() == before
