import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from headrace.engines.openai.connection import Connection


class Pair:
    """A connection and the far end of it, which blocks."""

    def __init__(self, buffer_bytes: int) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        near = socket.create_connection(listener.getsockname())
        self.far, _ = listener.accept()
        self.far.settimeout(10)
        listener.close()
        near.setblocking(False)
        self.near = Connection(near, memoryview(bytearray(buffer_bytes)), asyncio.get_running_loop())

    async def readable(self) -> None:
        event = asyncio.Event()
        self.near.watch(event.set)
        async with asyncio.timeout(10):
            await event.wait()
        self.near.watch(None)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair(16)
    yield pair
    pair.near.close()
    pair.far.close()


async def test_nothing_arrived_is_none_and_quiet(pair: Pair) -> None:
    assert pair.near.receive() is None
    assert pair.near.is_quiet


async def test_data_then_end(pair: Pair) -> None:
    pair.far.sendall(b"0123456789abcdefXYZ")
    pair.far.close()
    await pair.readable()
    assert not pair.near.is_quiet
    assert bytes(pair.near.receive() or b"") == b"0123456789abcdef"
    assert pair.near.has_more
    assert bytes(pair.near.receive() or b"") == b"XYZ"
    assert not pair.near.has_more
    await pair.readable()
    assert pair.near.receive() == b""


async def test_unwatched_data_stay_in_the_kernel(pair: Pair) -> None:
    calls: list[None] = []
    pair.near.watch(lambda: calls.append(None))
    pair.near.watch(None)
    pair.far.sendall(b"x")
    await pair.readable()
    assert not calls
    assert bytes(pair.near.receive() or b"") == b"x"


async def test_a_large_body_is_sent_as_the_other_side_takes_it(pair: Pair) -> None:
    body = bytes(range(256)) * (20 * 4096)  # 20 MiB
    pair.near.send(b"head", b"", body)
    assert not pair.near.is_sent, "the kernel takes part of it at most"

    def take() -> bytearray:
        taken = bytearray()
        while len(taken) < len(body) + 4:
            taken += pair.far.recv(1 << 20)
        return taken

    taken = await asyncio.to_thread(take)
    assert pair.near.is_sent
    assert taken[:4] == b"head"
    assert taken[4:] == body


async def test_a_failed_send_leaves_the_answer_readable(pair: Pair) -> None:
    pair.far.sendall(b"answer")
    pair.far.shutdown(socket.SHUT_RDWR)
    pair.far.close()
    await pair.readable()
    pair.near.send(b"x" * 100)
    pair.near.send(b"x" * 100)
    assert bytes(pair.near.receive() or b"") == b"answer"


async def test_abort_is_seen_as_a_reset(pair: Pair) -> None:
    pair.near.send(b"x" * (8 << 20))
    pair.near.abort()
    pair.near.abort()

    def take_all() -> None:
        while pair.far.recv(1 << 20):
            pass

    with pytest.raises(ConnectionResetError):
        await asyncio.to_thread(take_all)


async def test_close_is_seen_as_an_end_and_watching_afterwards_does_nothing(pair: Pair) -> None:
    pair.near.watch(lambda: None)
    pair.near.close()
    pair.near.watch(lambda: None)
    pair.near.close()
    assert pair.near.is_closed
    assert await asyncio.to_thread(pair.far.recv, 1) == b""
