"""A whole answer that is no stream, and how to get one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from headrace.client.blame import error_of_answer
from headrace.client.transport import AsyncTransport, Broken, Request, Transport, Unreached
from headrace.errors import ConnectionLost, RelayError, UpstreamProtocolError

T = TypeVar("T")

MAX_BYTES = 16 * 1024 * 1024
"""How much of an answer is read."""

LIMIT_PREFIX = "x-ratelimit-"
"""How the names of headers begin that tell of rate limits, as with OpenAI."""


class Answer(msgspec.Struct, frozen=True):
    """Status, headers and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> RelayError | None:
        """What went wrong; None for a success."""
        if self.status < 300:
            return None
        error = error_of_answer(self.body, status=self.status, retry_after_s=retry_after_s(self.headers))
        error.headers = limit_headers(self.headers)
        return error

    def decoded(self, kind: type[T]) -> T:
        """Return the JSON of a success.

        Raises:
            RelayError: It is none.
            UpstreamProtocolError: It is not JSON of this kind.
        """
        if self.error is not None:
            raise self.error
        try:
            return msgspec.json.decode(self.body, type=kind)
        except ValueError as error:
            raise UpstreamProtocolError(f"the server's answer cannot be read: {error}") from error


def ask(transport: Transport, request: Request, *, within_s: float | None = None) -> Answer:
    """Make one request.

    Raises:
        ConnectionLost: There was no answer.
    """
    try:
        response = transport.send(request, within_s=within_s)
        return Answer(response.status, response.headers, response.read(MAX_BYTES))
    except (Unreached, Broken) as error:
        raise ConnectionLost(str(error)) from error


async def ask_async(transport: AsyncTransport, request: Request, *, within_s: float | None = None) -> Answer:
    """As ``ask``."""
    try:
        response = await transport.send(request, within_s=within_s)
        return Answer(response.status, response.headers, await response.read(MAX_BYTES))
    except (Unreached, Broken) as error:
        raise ConnectionLost(str(error)) from error


def limit_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return what an answer says of its caller's rate limits."""
    return tuple((name.lower(), value) for name, value in headers.items() if name.lower().startswith(LIMIT_PREFIX))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return ``Retry-After`` in seconds; None for a date, or none (RFC 9110 section 10.2.3)."""
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 10 else None
