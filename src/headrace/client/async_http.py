"""The transport over ``httpx2``, for tasks of asyncio."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping

import httpx2

from headrace.client.address import Address
from headrace.client.http import LIMITS, Secret, timeout_of, told
from headrace.client.patience import Patience
from headrace.client.transport import Request


class AsyncHTTPTransport:
    """As ``HTTPTransport``."""

    def __init__(
        self, address: Address, *, api_key: str | None, patience: Patience, client: httpx2.AsyncClient | None
    ) -> None:
        self._address = address
        self._secret = Secret(api_key)
        self._patience = patience
        self._client = httpx2.AsyncClient(limits=LIMITS) if client is None else client
        self._is_ours = client is None

    async def aclose(self) -> None:
        """Close the client, if it is ours."""
        if self._is_ours:
            await self._client.aclose()

    async def send(self, request: Request, *, within_s: float | None = None) -> AsyncHTTPResponse:
        sent = self._client.build_request(
            request.method,
            self._address.url(request.path),
            headers={**self._secret.headers(), **request.headers},
            content=request.body,
            timeout=timeout_of(self._patience, within_s),
        )
        with told(self._address):
            return AsyncHTTPResponse(await self._client.send(sent, stream=True), self._address, self._secret)


class AsyncHTTPResponse:
    """As ``HTTPResponse``."""

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

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        with told(self._address):
            async with contextlib.aclosing(self._response.aiter_bytes()) as pieces:
                async for piece in pieces:
                    yield piece

    async def read(self, limit_bytes: int) -> bytes:
        body = bytearray()
        async with contextlib.aclosing(self._response), contextlib.aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) >= limit_bytes:
                    break
        return self._secret.removed_from(bytes(body[:limit_bytes]))

    async def aclose(self) -> None:
        await self._response.aclose()
