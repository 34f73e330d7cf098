"""Opens connections to one engine."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import ssl

from headrace.engines.openai.connection import Connection
from headrace.engines.openai.tls import Session, TLSConnection
from headrace.engines.openai.url import BaseURL
from headrace.errors import UpstreamError

# One read of a saturated stream. Half of it costs more calls, and a fresh buffer of this size for each read would cost
# ten times the read itself: it comes from mmap.
READ_BYTES = 256 * 1024

_REASONS: dict[type[OSError], str] = {
    ssl.SSLError: "The TLS handshake with the engine failed",
    socket.gaierror: "The engine's host name was not found",
    ConnectionRefusedError: "The engine refused the connection",
    ConnectionError: "The engine closed the connection at once",
}

_log = logging.getLogger(__name__)

_Address = tuple[socket.AddressFamily, tuple[object, ...]]


class Dialler:
    """Name look-up, TCP and TLS, all within one time limit."""

    def __init__(self, base_url: BaseURL, *, timeout_s: float, ssl_context: ssl.SSLContext | None) -> None:
        """Prepare for one address.

        Args:
            base_url: Where to.
            timeout_s: Limit for everything together, in seconds.
            ssl_context: How to verify the engine; None for the system's authorities. Ignored without TLS.
        """
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._context = (ssl_context or _verifying_context()) if base_url.is_tls else None
        # Shared by all connections: whoever receives hands the bytes on before anybody else can receive.
        self._buffer = memoryview(bytearray(READ_BYTES))

    async def dial(self) -> Connection:
        """Return a new connection. Cancelling leaves nothing open.

        Raises:
            UpstreamError: Code ``upstream_unreachable``; the message says why, without naming the address.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._dial()
        except TimeoutError as error:
            raise self._unreachable(
                f"The engine did not take a connection within {self._timeout_s:g} s", error
            ) from error
        except OSError as error:
            raise self._unreachable(_reason(error), error) from error

    async def _dial(self) -> Connection:
        loop = asyncio.get_running_loop()
        sock = await self._connect(loop)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is None:
                return Connection(sock, self._buffer, loop)
            session = Session(self._context, self._base_url.host)
            await session.handshake(sock, loop)
            return TLSConnection(sock, self._buffer, loop, session)
        except BaseException:
            sock.close()
            raise

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Try each address in turn; one that swallows packets leaves the others their share of the time."""
        addresses = await self._addresses(loop)
        deadline = loop.time() + self._timeout_s
        for waiting in range(len(addresses), 0, -1):
            family, address = addresses[-waiting]
            try:
                async with asyncio.timeout((deadline - loop.time()) / waiting):
                    return await _connect(loop, family, address)
            except OSError as error:  # TimeoutError is one
                last_error = error
        raise last_error

    async def _addresses(self, loop: asyncio.AbstractEventLoop) -> list[_Address]:
        host, port = self._base_url.host, self._base_url.port
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [(family, address) for family, _, _, _, address in found]
        # A literal needs no resolver, which would be a visit to another thread.
        return [(socket.AF_INET6 if version == 6 else socket.AF_INET, (host, port))]

    def _unreachable(self, message: str, error: OSError) -> UpstreamError:
        _log.warning("engine at %s: %s (%s)", self._base_url.authority, message, error)
        return UpstreamError(message, code="upstream_unreachable")


async def _connect(
    loop: asyncio.AbstractEventLoop, family: socket.AddressFamily, address: tuple[object, ...]
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _verifying_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The engine's certificate was not accepted: {error.verify_message}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "No more connections can be opened"
    return next(
        (reason for kind, reason in _REASONS.items() if isinstance(error, kind)), "The engine cannot be reached"
    )
