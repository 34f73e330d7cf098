"""Transports over the stock ``openai`` clients: their base URL, key, headers, proxies and body encoding, used as they are.

The stock client sends each request once; what to do about a failure is the session's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
import openai

from headrace.client.address import Address
from headrace.client.async_http import AsyncHTTPResponse
from headrace.client.http import UNREACHED, HTTPResponse, Secret, timeout_of
from headrace.client.patience import Patience
from headrace.client.transport import Broken, Request, Unreached


class SDKTransport:
    """Sends requests by an ``openai.OpenAI``.

    Args:
        client: The stock client; stays open.
        params: Of ``chat.completions.create``: the body of the request that starts the stream.
        patience: How long to wait, where ``params`` has no ``timeout``.
    """

    def __init__(self, client: openai.OpenAI, params: Mapping[str, Any], patience: Patience) -> None:
        self._client = client.with_options(max_retries=0)
        self._params = params
        self._patience = patience
        self._address = Address(str(client.base_url))

    def send(self, request: Request, *, within_s: float | None = None) -> HTTPResponse:
        timeouts = timeout_of(self._patience, within_s)
        try:
            stream = self._sent(request, timeouts)
        except openai.APIStatusError as error:
            return HTTPResponse(error.response, self._address, Secret(None))
        except openai.APIConnectionError as error:
            raise failure_of(error, self._address) from error
        return HTTPResponse(stream.response, self._address, Secret(None))

    def _sent(self, request: Request, timeouts: httpx2.Timeout) -> openai.Stream[Any]:
        if request.path == CHAT_PATH:
            found: openai.Stream[Any] = self._client.chat.completions.create(
                **chat_params(self._params, request, timeouts)
            )
            return found
        call = self._client.get if request.method == "GET" else self._client.post
        options: Any = {"headers": request.headers, "timeout": timeouts}
        return call(request.path, cast_to=object, options=options, stream=True, stream_cls=openai.Stream[object])


class AsyncSDKTransport:
    """Sends requests by an ``openai.AsyncOpenAI``; else as ``SDKTransport``."""

    def __init__(self, client: openai.AsyncOpenAI, params: Mapping[str, Any], patience: Patience) -> None:
        self._client = client.with_options(max_retries=0)
        self._params = params
        self._patience = patience
        self._address = Address(str(client.base_url))

    async def send(self, request: Request, *, within_s: float | None = None) -> AsyncHTTPResponse:
        timeouts = timeout_of(self._patience, within_s)
        try:
            stream = await self._sent(request, timeouts)
        except openai.APIStatusError as error:
            return AsyncHTTPResponse(error.response, self._address, Secret(None))
        except openai.APIConnectionError as error:
            raise failure_of(error, self._address) from error
        return AsyncHTTPResponse(stream.response, self._address, Secret(None))

    async def _sent(self, request: Request, timeouts: httpx2.Timeout) -> openai.AsyncStream[Any]:
        if request.path == CHAT_PATH:
            found: openai.AsyncStream[Any] = await self._client.chat.completions.create(
                **chat_params(self._params, request, timeouts)
            )
            return found
        call = self._client.get if request.method == "GET" else self._client.post
        options: Any = {"headers": request.headers, "timeout": timeouts}
        return await call(
            request.path, cast_to=object, options=options, stream=True, stream_cls=openai.AsyncStream[object]
        )


CHAT_PATH = "/chat/completions"


def chat_params(params: Mapping[str, Any], request: Request, timeouts: httpx2.Timeout) -> dict[str, Any]:
    """Return the arguments of ``create`` for the request that starts a stream."""
    return {"timeout": timeouts, **params, "stream": True, "extra_headers": request.headers}


def failure_of(error: openai.APIConnectionError, address: Address) -> Unreached | Broken:
    """Return what a stock client's connection error means to a session."""
    if isinstance(error.__cause__, UNREACHED):
        return Unreached(f"{address} cannot be reached: {error.__cause__}")
    return Broken(f"{address}: {error.__cause__ or error}")
