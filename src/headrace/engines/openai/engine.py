"""The engine: one base URL, its connections and its generations."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Self

from headrace.engines.openai.connector import Connector
from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.generation import OpenAIGeneration
from headrace.engines.openai.limits import Limits
from headrace.engines.openai.models import fetch_models
from headrace.engines.openai.request import RequestEncoder
from headrace.engines.openai.url import BaseURL
from headrace.types.engine import Capabilities, EngineRequest

_DEFAULT_CAPABILITIES = Capabilities()


class OpenAIEngine:
    """An ``Engine`` for any server that speaks OpenAI's protocol. Enter it once, in the task that leaves it."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
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
            api_key: Sent as bearer token; None sends none. Never shown.
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
        """
        address = BaseURL.parse(base_url)
        self._api_key = api_key
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
        self._encoder = RequestEncoder(address, api_key=api_key)
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

    def active(self) -> int:
        return len(self._live)

    async def models(self) -> Sequence[str]:
        """Return the model names served.

        Raises:
            UpstreamError: The engine could not be asked; see ``fetch_models``.
        """
        if self._models is not None:
            return self._models
        return await fetch_models(self._dialler, self._encoder, self._limits, api_key=self._api_key)

    def start(self, request: EngineRequest, on_ready: Callable[[], None]) -> OpenAIGeneration:
        """Send a request and return at once; see ``Engine.start``.

        Raises:
            ClientRequestError: A header cannot be sent; nothing was started.
        """
        head = self._encoder.head(request.endpoint, request.headers, len(request.body))
        generation = OpenAIGeneration(
            (head, request.body),
            on_ready,
            connector=self._connector,
            limits=self._limits,
            api_key=self._api_key,
            on_over=self._live.discard,
        )
        self._live.add(generation)
        return generation
