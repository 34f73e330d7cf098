"""TLS over a socket of ours.

``ssl.SSLObject`` works on memory, so a TLS connection is read on the tick exactly like a plain one. The event loop's own
TLS transport with paused reading was measured against it (50 streams, 50 events a second each, one read in 50 ms): it
cost three times the CPU, because it still wakes for every packet, and added a whole tick of delay, because what arrives
after the first packet of a tick waits for the next one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable

from headrace.engines.openai.connection import Connection

# RFC 8446 5.1: a record holds at most 2^14 bytes of plaintext, and SSL_read never crosses a record.
_RECORD_BYTES = 16 * 1024
# Plaintext encrypted ahead of the socket. All of a large body at once would hold the loop for tens of milliseconds.
_SEAL_BYTES = 64 * 1024
_HANDSHAKE_READ_BYTES = 64 * 1024


class Session:
    """One TLS session over two memory buffers: what came from the network and what is to be sent there."""

    __slots__ = ("incoming", "outgoing", "tls")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)

    async def handshake(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Agree on keys and verify the certificate as the context demands.

        Raises:
            OSError: The handshake failed (``ssl.SSLCertVerificationError`` for the certificate) or the connection broke.
        """
        while True:
            try:
                self.tls.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                is_done = False
            finally:
                # On failure too: the alert tells the engine's operator what is wrong.
                if self.outgoing.pending:
                    await loop.sock_sendall(sock, self.outgoing.read())
            if is_done:
                return
            data = await loop.sock_recv(sock, _HANDSHAKE_READ_BYTES)
            if not data:
                raise ConnectionResetError("closed during the TLS handshake")
            self.incoming.write(data)


class TLSConnection(Connection):
    """A connection that encrypts. Only ciphertext is awaited: whatever ``receive`` has taken in, it returns."""

    __slots__ = ("_failure", "_has_ended", "_on_readable", "_plain", "_session")

    def __init__(
        self, sock: socket.socket, buffer: memoryview, loop: asyncio.AbstractEventLoop, session: Session
    ) -> None:
        super().__init__(sock, buffer, loop)
        self._session = session
        self._plain: deque[memoryview] = deque()
        self._has_ended = False
        self._failure: ssl.SSLError | None = None
        self._on_readable: Callable[[], None] | None = None

    @property
    def is_sent(self) -> bool:
        return not self._wire and not self._plain

    @property
    def is_quiet(self) -> bool:
        return not self._has_ended and super().is_quiet

    def watch(self, on_readable: Callable[[], None] | None) -> None:
        super().watch(on_readable)
        self._on_readable = on_readable
        if self._has_ended:
            self._loop.call_soon(self._tell_end)

    def send(self, *parts: bytes) -> None:
        self._plain.extend(memoryview(part) for part in parts if part)
        if not self._wire:
            self._flush()

    def receive(self, most_bytes: int | None = None) -> memoryview | bytes | None:
        """Return what has arrived, at most so many bytes as they came, decrypted; empty at the end, None when no record is complete.

        Raises:
            OSError: The connection broke, or ended without saying so: RFC 8446 6.1 calls that a truncation.
        """
        if self._failure is not None:
            raise self._failure
        if self._has_ended:
            return b""
        data = super().receive(most_bytes)
        if data is None:
            return None
        session = self._session
        if data:
            session.incoming.write(data)
        else:
            session.incoming.write_eof()
        records = self._open_records(session)
        if session.outgoing.pending and not self._wire:  # the peer asked for new keys
            self._flush()
        if records:
            return records[0] if len(records) == 1 else b"".join(records)
        return b"" if self._has_ended else None

    def close(self) -> None:
        self._plain.clear()
        super().close()

    def _open_records(self, session: Session) -> list[bytes]:
        records: list[bytes] = []
        incoming, read = session.incoming, session.tls.read
        try:
            # A read that finds no whole record raises, which costs more than asking whether anything is left.
            while incoming.pending or incoming.eof:
                record = read(_RECORD_BYTES)
                if not record:
                    self._end()
                    break
                records.append(record)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end()
        except ssl.SSLError as error:
            if not records:
                raise
            # What was whole goes out first, and the error with the next call.
            self._failure = error
            self.has_more = True
        return records

    def _end(self) -> None:
        """Note that the peer said it is done. Its socket may stay silent from now on, so the loop would not tell."""
        self._has_ended = True
        if self._on_readable is not None:
            self._loop.call_soon(self._tell_end)

    def _tell_end(self) -> None:
        if self._on_readable is not None and not self.is_closed:
            self._on_readable()

    def _refill(self) -> bool:
        session, plain = self._session, self._plain
        if plain:
            part = plain[0][:_SEAL_BYTES]
            session.tls.write(part)
            if len(part) == len(plain[0]):
                plain.popleft()
            else:
                plain[0] = plain[0][len(part) :]
        if session.outgoing.pending:
            self._wire.append(memoryview(session.outgoing.read()))
        return bool(self._wire)
