"""The engine: one base URL, its connections and its generations."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from typing import Self

from headrace.engines.openai.connector import Connector
from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.generation import OpenAIGeneration
from headrace.engines.openai.keys import KeyRing, UpstreamKey
from headrace.engines.openai.limits import Limits
from headrace.engines.openai.models import fetch_models
from headrace.engines.openai.refused import RefusedGeneration
from headrace.engines.openai.rejection import no_key
from headrace.engines.openai.request import RequestEncoder
from headrace.engines.openai.url import BaseURL
from headrace.types.engine import Capabilities, EngineRequest, Generation

_DEFAULT_CAPABILITIES = Capabilities()


class OpenAIEngine:
    """An ``Engine`` for any server that speaks OpenAI's protocol. Enter it once, in the task that leaves it."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        keys: KeyRing | None = None,
        models: Sequence[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        capabilities: Capabilities = _DEFAULT_CAPABILITIES,
        connect_timeout_s: float = Limits.connect_timeout_s,
        max_head_bytes: int = Limits.max_head_bytes,
        max_event_bytes: int = Limits.max_event_bytes,
        ends_at_malformed: bool = Limits.ends_at_malformed,
        max_error_body_bytes: int = Limits.max_error_body_bytes,
        max_idle_connections: int = Limits.max_idle_connections,
        idle_connection_s: float = Limits.idle_connection_s,
    ) -> None:
        """Describe the engine; nothing is opened before ``async with``.

        Args:
            base_url: ``http`` or ``https`` URL up to and including what stands in front of ``/chat/completions``.
            api_key: Sent as bearer token. Never shown. None, and no ``keys``, sends none.
            keys: Several of them, instead of ``api_key``; the owner may replace them at any time.
            models: What ``models`` returns; None asks the engine.
            ssl_context: How to verify an ``https`` engine; None for the system's authorities.
            capabilities: What policies may expect of it.
            connect_timeout_s: This and what follows: see ``Limits``.
            max_head_bytes: Likewise.
            max_event_bytes: Likewise.
            ends_at_malformed: Likewise.
            max_error_body_bytes: Likewise.
            max_idle_connections: Likewise.
            idle_connection_s: Likewise.

        Raises:
            SettingsError: The URL or the key cannot be used.
            ValueError: Both ``api_key`` and ``keys`` are given.
        """
        if api_key is not None and keys is not None:
            raise ValueError("api_key and keys exclude each other")
        address = BaseURL.parse(base_url)
        alone = () if api_key is None else (UpstreamKey("api_key", api_key),)
        self._keys = KeyRing(alone, clock=time.monotonic) if keys is None else keys
        self._models = models
        self._limits = Limits(
            connect_timeout_s=connect_timeout_s,
            max_head_bytes=max_head_bytes,
            max_event_bytes=max_event_bytes,
            ends_at_malformed=ends_at_malformed,
            max_error_body_bytes=max_error_body_bytes,
            max_idle_connections=max_idle_connections,
            idle_connection_s=idle_connection_s,
        )
        self._capabilities = capabilities
        self._encoder = RequestEncoder(address)
        self._dialler = Dialler(address, timeout_s=connect_timeout_s, ssl_context=ssl_context)
        self._connector = Connector(self._dialler, self._limits)
        self._live: set[OpenAIGeneration] = set()

    async def __aenter__(self) -> Self:
        await self._connector.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for generation in list(self._live):
            generation.abort()
        await self._connector.__aexit__(*exc_info)

    @property
    def name(self) -> str:
        return "openai"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def redials(self) -> int:
        """Requests sent a second time because a pooled connection turned out dead: attempts beyond the first."""
        return self._connector.redials

    @property
    def idle_connections(self) -> int:
        """Connections that wait for a request."""
        return self._connector.idle

    @property
    def keys(self) -> KeyRing:
        """The keys, with their states."""
        return self._keys

    def active(self) -> int:
        return len(self._live)

    async def models(self) -> Sequence[str]:
        """Return the model names served.

        Raises:
            UpstreamError: The engine could not be asked; see ``fetch_models``.
        """
        if self._models is not None:
            return self._models
        return await fetch_models(self._dialler, self._encoder, self._limits, keys=self._keys)

    def start(self, request: EngineRequest, on_ready: Callable[[], None]) -> Generation:
        """Send a request and return at once; see ``Engine.start``.

        When no key can be used now, nothing is sent: the generation has its end already.

        Raises:
            ClientRequestError: A header cannot be sent; nothing was started.
        """
        head = self._encoder.head(request.endpoint, request.headers, len(request.body), is_keyed=len(self._keys) > 0)
        lease = self._keys.take()
        if lease is None:
            return RefusedGeneration(no_key(self._keys.rest_s()), on_ready, loop=self._connector.loop)
        generation = OpenAIGeneration(
            (head, request.body),
            on_ready,
            connector=self._connector,
            limits=self._limits,
            lease=lease,
            on_over=self._live.discard,
        )
        self._live.add(generation)
        return generation
