"""Which HTTP a connection speaks: over TLS as ALPN agreed, else as its first bytes say."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from headrace.http.http2 import Http2Connections, Http2Protocol
from headrace.http.protocol import Connections, RelayProtocol

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What an HTTP/2 client says first (RFC 9113 3.4)."""


class NegotiatingProtocol(RelayProtocol):
    """An HTTP/1.1 connection until it turns out to be HTTP/2. Made by ``negotiating_protocol``.

    Without TLS only prior knowledge leads to HTTP/2; upgrading from HTTP/1.1 is deprecated (RFC 9113 3.1).
    """

    http2: ClassVar[Http2Connections]

    _opening: bytes | None = b""
    """What came while it could still be the preface; None once that is settled."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._opening = None
            # A connection beyond the last spare one is aborted already.
            if tls.selected_alpn_protocol() == "h2" and not transport.is_closing():
                self._hand_over()

    def data_received(self, data: bytes) -> None:
        if self._opening is None:
            super().data_received(data)
            return
        opening = self._opening + data
        if opening.startswith(PREFACE):
            self._hand_over().data_received(opening)
        elif PREFACE.startswith(opening):
            self._opening = opening
        else:
            self._opening = None
            super().data_received(opening)

    def _hand_over(self) -> Http2Protocol:
        """Let HTTP/2 take the connection over."""
        self.connections.discard(self)
        protocol = Http2Protocol(self, self.http2)
        protocol.begin(is_admitted=self._is_admitted)
        return protocol


def negotiating_protocol(connections: Connections, *, head_timeout_s: float) -> type[NegotiatingProtocol]:
    """Return the protocol class of one server that speaks both, for ``uvicorn.Config(http=…)``.

    Args:
        connections: Where all connections count.
        head_timeout_s: How long a connection may have no request.
    """

    class ServerProtocol(NegotiatingProtocol):
        shared = connections
        http2 = Http2Connections(connections, head_timeout_s=head_timeout_s)

    return ServerProtocol
