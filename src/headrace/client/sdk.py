"""``resumable``: the stock ``openai`` clients with streams that go on over dropped connections.

Only ``chat.completions.create(stream=True, …)`` is ours; everything else is the stock client's own. The modules ``sdk…`` are
the only ones that need the ``openai`` package, so no other module imports them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import openai

from headrace.client.async_stream import AsyncStream
from headrace.client.calls import chat_headers
from headrace.client.patience import Patience
from headrace.client.plan import Planner, new_stream_id
from headrace.client.sdk_stream import AsyncResumableStream, ResumableStream
from headrace.client.sdk_transport import CHAT_PATH, AsyncSDKTransport, SDKTransport
from headrace.client.session import Session
from headrace.client.stream import Stream
from headrace.client.transport import Request


def resumable(
    client: openai.OpenAI | openai.AsyncOpenAI,
    *,
    linger_s: float = 30.0,
    patience: Patience | None = None,
    clock: Callable[[], float] = time.monotonic,
    random: Callable[[], float] = random.random,
) -> Overlay:
    """Return ``client`` with chat streams that go on over dropped connections.

    ``chat.completions.create(stream=True, …)`` returns a ``ResumableStream``; of an ``AsyncOpenAI``, awaited, an
    ``AsyncResumableStream``. Their errors are the ``openai`` package's own; ``__cause__`` is one of ``headrace.errors``, with
    its ``result``. Everything else is passed on to ``client``.

    Args:
        client: A stock client whose base URL is the relay's. It stays open, and usable by itself.
        linger_s: How long the engine goes on while this client is cut off, in seconds.
        patience: How long to wait for what; the stock client's own retries are not used for streams.
        clock: Monotonic seconds.
        random: Numbers from 0 up to 1, for the backoff.
    """
    settings = _Settings(Planner(patience=patience or Patience(), clock=clock, random=random), linger_s)

    def with_options(**options: Any) -> Overlay:
        return resumable(
            client.with_options(**options), linger_s=linger_s, patience=patience, clock=clock, random=random
        )

    create = _creator(client, settings) if isinstance(client, openai.OpenAI) else _async_creator(client, settings)
    completions = Overlay(client.chat.completions, create=create)
    return Overlay(
        client, chat=Overlay(client.chat, completions=completions), with_options=with_options, copy=with_options
    )


class Overlay:
    """An object with some of its attributes replaced.

    Args:
        under: The object.
        over: The attributes.
    """

    def __init__(self, under: Any, **over: Any) -> None:
        self._under = under
        self._over = over

    def __getattr__(self, name: str) -> Any:
        return self._over[name] if name in self._over else getattr(self._under, name)


class _Settings:
    """What all streams of a client have in common."""

    def __init__(self, planner: Planner, linger_s: float) -> None:
        self.planner = planner
        self._linger_s = linger_s

    def session(self, params: Mapping[str, Any]) -> Session:
        """Return a session for the arguments of ``create``, whose ``extra_headers`` win over ours."""
        headers = httpx2.Headers(chat_headers(stream_id=new_stream_id(), linger_s=self._linger_s))
        headers.update(params.get("extra_headers") or {})
        request = Request(method="POST", path=CHAT_PATH, headers=dict(headers))
        return self.planner.start(request, stream_id=headers["headrace-stream-id"])


def _creator(client: openai.OpenAI, settings: _Settings) -> Callable[..., Any]:
    def create(**params: Any) -> Any:
        if not params.get("stream"):
            return client.chat.completions.create(**params)
        transport = SDKTransport(client, params, settings.planner.patience)
        stream = Stream(settings.session(params), transport, keep=False, open_streams=set())
        return ResumableStream(stream, _request(client)).open()

    return create


def _async_creator(client: openai.AsyncOpenAI, settings: _Settings) -> Callable[..., Any]:
    async def create(**params: Any) -> Any:
        if not params.get("stream"):
            return await client.chat.completions.create(**params)
        transport = AsyncSDKTransport(client, params, settings.planner.patience)
        stream = AsyncStream(settings.session(params), transport, keep=False, open_streams=set())
        return await AsyncResumableStream(stream, _request(client)).open()

    return create


def _request(client: openai.OpenAI | openai.AsyncOpenAI) -> httpx2.Request:
    """Return what stands for the request in errors."""
    return httpx2.Request("POST", str(client.base_url).rstrip("/") + CHAT_PATH)
