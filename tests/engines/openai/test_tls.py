"""TLS over sockets, against the event loop's own TLS on the far side."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from headrace.engines.openai.connection import Connection
from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.url import BaseURL
from headrace.errors import UpstreamError

if TYPE_CHECKING:
    from tests.engines.openai.conftest import Authority, Peer, Serve


WAIT_S = 10


def dialler(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> Dialler:
    return Dialler(BaseURL.parse(f"https://{host}:{port}"), timeout_s=WAIT_S, ssl_context=context)


async def received(connection: Connection, until: Callable[[bytes], bool]) -> bytes:
    """Return what arrives until the condition holds or the connection ends."""
    readable = asyncio.Event()
    connection.watch(readable.set)
    data = b""
    async with asyncio.timeout(WAIT_S):
        while not until(data):
            await readable.wait()
            readable.clear()
            part = connection.receive()
            if part == b"":
                break
            data += bytes(part or b"")
    connection.watch(None)
    return data


async def test_many_records_arrive_in_one_receive(serve: Serve, authority: Authority) -> None:
    sent = asyncio.Event()

    async def engine(peer: Peer) -> None:
        await peer.request()
        for _ in range(5):
            await peer.send(b"x" * 20_000)
        sent.set()
        await peer.gone()

    double = await serve(engine, tls=authority.server("127.0.0.1"))
    connection = await dialler(double.port, authority.client()).dial()
    connection.send(b"GET / HTTP/1.1\r\n\r\n")
    await sent.wait()
    assert await received(connection, lambda data: len(data) >= 100_000) == b"x" * 100_000
    connection.abort()


async def test_a_large_body_is_encrypted_as_the_engine_takes_it(serve: Serve, authority: Authority) -> None:
    body = bytes(range(256)) * (8 * 4096)  # 8 MiB
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def engine(peer: Peer) -> None:
        taken.set_result((await peer.request())[2])

    double = await serve(engine, tls=authority.server("127.0.0.1"))
    connection = await dialler(double.port, authority.client()).dial()
    connection.send(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body), body)
    assert not connection.is_sent
    assert await asyncio.wait_for(taken, WAIT_S) == body
    assert connection.is_sent
    connection.close()


async def test_the_engines_good_bye_is_the_end(serve: Serve, authority: Authority) -> None:
    async def engine(peer: Peer) -> None:
        await peer.send(b"last words")

    double = await serve(engine, tls=authority.server("127.0.0.1"))
    connection = await dialler(double.port, authority.client()).dial()
    assert await received(connection, lambda _: False) == b"last words"
    assert connection.receive() == b""
    assert not connection.is_quiet
    connection.close()


async def test_a_good_bye_on_a_silent_socket_is_told(authority: Authority) -> None:
    """Data and ``close_notify`` in one packet, and no FIN: the descriptor alone would never say that it is over."""
    connection, far, session = await _by_hand(authority)
    session.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        session.unwrap()
    far.sendall(session.outgoing.read())
    assert await received(connection, lambda _: False) == b"last words"
    assert connection.receive() == b""
    connection.close()
    far.close()


async def test_an_end_without_good_bye_is_a_truncation(authority: Authority) -> None:
    connection, far, session = await _by_hand(authority)
    session.write(b"last words")
    far.sendall(session.outgoing.read())
    far.close()
    assert await received(connection, bool) == b"last words"
    with pytest.raises(ssl.SSLError):
        await received(connection, lambda _: False)
    connection.close()


async def test_whole_records_come_before_a_forged_one_fails(authority: Authority) -> None:
    connection, far, session = await _by_hand(authority)
    session.write(b"last words")
    far.sendall(session.outgoing.read() + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert await received(connection, bool) == b"last words"
    assert connection.has_more
    with pytest.raises(ssl.SSLError):
        connection.receive()
    connection.close()
    far.close()


class _FarSession:
    """The engine's side of TLS, by hand."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.write = self.tls.write
        self.unwrap = self.tls.unwrap

    async def handshake(self, far: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(far, self.outgoing.read())
                self.incoming.write(await loop.sock_recv(far, 65536))
            else:
                await loop.sock_sendall(far, self.outgoing.read())
                return


async def _by_hand(authority: Authority) -> tuple[Connection, socket.socket, _FarSession]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        dialling = asyncio.ensure_future(dialler(listener.getsockname()[1], authority.client()).dial())
        far, _ = await asyncio.get_running_loop().sock_accept(listener)
    far.setblocking(False)
    session = _FarSession(authority.server("127.0.0.1"))
    await session.handshake(far)
    return await dialling, far, session


@pytest.mark.parametrize(
    ("names", "is_trusted", "reason"),
    [(["other.example"], True, "certificate"), (["127.0.0.1"], False, "certificate")],
    ids=["wrong host", "unknown authority"],
)
async def test_an_engine_that_cannot_prove_its_name_is_refused(
    serve: Serve, authority: Authority, names: list[str], is_trusted: bool, reason: str
) -> None:
    async def engine(peer: Peer) -> None:
        await peer.gone()

    double = await serve(engine, tls=authority.server(*names))
    context = authority.client() if is_trusted else ssl.create_default_context()
    with pytest.raises(UpstreamError, match=reason) as caught:
        await dialler(double.port, context).dial()
    assert caught.value.code == "upstream_unreachable"


async def test_an_engine_without_tls_is_refused(serve: Serve, authority: Authority) -> None:
    async def engine(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    double = await serve(engine)
    with pytest.raises(UpstreamError, match="TLS handshake"):
        await dialler(double.port, authority.client()).dial()


async def test_an_engine_that_hangs_up_during_the_handshake_is_refused(serve: Serve, authority: Authority) -> None:
    async def engine(peer: Peer) -> None:
        await peer.reader.read(1)

    double = await serve(engine)
    with pytest.raises(UpstreamError, match="closed the connection"):
        await dialler(double.port, authority.client()).dial()
