"""What carries requests: the little that following a stream needs of an HTTP client. Two twins, for threads and tasks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Protocol

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    method: str
    path: str
    """Below ``/v1``, with its query."""
    headers: dict[str, str] = {}
    body: bytes | None = None
    """JSON."""


class Unreached(Exception):
    """No connection could be made: nothing was sent."""


class Broken(Exception):
    """The connection broke, or fell silent, after something may have been sent."""


class Response(Protocol):
    """An answer whose head is here."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By name; looked up without regard to case."""

    def pieces(self) -> Generator[bytes, None]:
        """Yield the body as it comes. Raises ``Broken``."""

    def read(self, limit_bytes: int) -> bytes:
        """Return the body, or its beginning. Raises ``Broken``."""

    def interrupt(self) -> None:
        """Let a read in another thread end now. Any thread may call it."""

    def close(self) -> None:
        """Give the connection up, or back. Idempotent."""


class Transport(Protocol):
    """Sends requests; any thread may."""

    def send(self, request: Request, *, within_s: float | None = None) -> Response:
        """Send a request and wait for the head of its answer.

        Args:
            request: What to send.
            within_s: Longest wait for a connection and for each read; None for the transport's own.

        Raises:
            Unreached: Nothing was sent.
            Broken: Something may have been sent.
        """


class AsyncResponse(Protocol):
    """As ``Response``. A cancelled read gives the connection up."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def pieces(self) -> AsyncGenerator[bytes, None]: ...

    async def read(self, limit_bytes: int) -> bytes: ...

    async def aclose(self) -> None: ...


class AsyncTransport(Protocol):
    """As ``Transport``."""

    async def send(self, request: Request, *, within_s: float | None = None) -> AsyncResponse: ...
