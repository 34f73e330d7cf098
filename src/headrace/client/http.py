"""The transport over ``httpx2``, for threads."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator, Iterator, Mapping

import httpx2

from headrace.client.address import Address
from headrace.client.patience import Patience
from headrace.client.transport import Broken, Request, Unreached

UNREACHED = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
"""Errors that come before anything was sent."""

LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
"""Any number of streams at once: each holds a connection."""


class HTTPTransport:
    """Sends requests to one server.

    Args:
        address: Where it is.
        api_key: Sent as a bearer token, shown nowhere.
        patience: How long to wait.
        client: An ``httpx2.Client`` to use; None makes one, which ``close`` closes.
    """

    def __init__(
        self, address: Address, *, api_key: str | None, patience: Patience, client: httpx2.Client | None
    ) -> None:
        self._address = address
        self._secret = Secret(api_key)
        self._patience = patience
        self._client = httpx2.Client(limits=LIMITS) if client is None else client
        self._is_ours = client is None

    def close(self) -> None:
        """Close the client, if it is ours."""
        if self._is_ours:
            self._client.close()

    def send(self, request: Request, *, within_s: float | None = None) -> HTTPResponse:
        sent = self._client.build_request(
            request.method,
            self._address.url(request.path),
            headers={**self._secret.headers(), **request.headers},
            content=request.body,
            timeout=timeout_of(self._patience, within_s),
        )
        with told(self._address):
            return HTTPResponse(self._client.send(sent, stream=True), self._address, self._secret)


class HTTPResponse:
    """An answer of ``httpx2``."""

    def __init__(self, response: httpx2.Response, address: Address, secret: Secret) -> None:
        self._response = response
        self._address = address
        self._secret = secret

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    def pieces(self) -> Generator[bytes, None]:
        with told(self._address):
            yield from self._response.iter_bytes()

    def read(self, limit_bytes: int) -> bytes:
        body = bytearray()
        with contextlib.closing(self._response), contextlib.closing(self.pieces()) as pieces:
            for piece in pieces:
                body += piece
                if len(body) >= limit_bytes:
                    break
        return self._secret.removed_from(bytes(body[:limit_bytes]))

    def interrupt(self) -> None:
        # Closing a socket does not wake a thread that waits in its recv; shutting it down does.
        stream = self._response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._response.close()


class Secret:
    """An API key that shows itself nowhere but in the header.

    Args:
        api_key: None for none.

    Raises:
        ValueError: It cannot stand in a header.
    """

    __slots__ = ("_key",)

    def __init__(self, api_key: str | None) -> None:
        if api_key is not None and not (api_key and api_key.isascii() and api_key.isprintable()):
            raise ValueError("api_key must be printable ASCII")
        self._key = api_key

    def headers(self) -> dict[str, str]:
        return {} if self._key is None else {"Authorization": f"Bearer {self._key}"}

    def removed_from(self, body: bytes) -> bytes:
        """Return a body without the key, which some servers repeat in their errors."""
        return body if self._key is None else body.replace(self._key.encode(), b"***")

    def __repr__(self) -> str:
        return "Secret(***)"


@contextlib.contextmanager
def told(address: Address) -> Iterator[None]:
    """Turn the errors of ``httpx2`` into ours.

    Raises:
        Unreached: Nothing was sent.
        Broken: Something may have been sent.
    """
    try:
        yield
    except UNREACHED as error:
        raise Unreached(f"{address} cannot be reached: {_shown(error)}") from error
    except httpx2.RequestError as error:
        raise Broken(f"{address}: {_shown(error)}") from error


def timeout_of(patience: Patience, within_s: float | None) -> httpx2.Timeout:
    """Return the time-outs of a request; see ``Transport.send``."""
    connect_s = patience.connect_s if within_s is None else min(within_s, patience.connect_s)
    idle_s = patience.idle_s if within_s is None else within_s
    return httpx2.Timeout(connect=connect_s, read=idle_s, write=idle_s, pool=connect_s)


def _shown(error: httpx2.RequestError) -> str:
    if isinstance(error, httpx2.ReadTimeout):
        return "nothing came for too long"
    return str(error) or type(error).__name__
