"""What all engines behind a base URL have in common: connections, keys and running generations."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from typing import Self

from headrace.engines.openai.connector import Connector
from headrace.engines.openai.dialect import Dialect, StreamDecoder
from headrace.engines.openai.dialler import Dialler
from headrace.engines.openai.generation import HTTPGeneration
from headrace.engines.openai.keys import KeyRing, UpstreamKey
from headrace.engines.openai.limits import Limits
from headrace.engines.openai.models import fetch_models
from headrace.engines.openai.refused import RefusedGeneration
from headrace.engines.openai.rejection import no_key
from headrace.engines.openai.request import RequestEncoder
from headrace.engines.openai.url import BaseURL
from headrace.types.engine import Capabilities, EngineRequest, Generation


class HTTPEngine:
    """An ``Engine`` but for its name and for ``start``, which each protocol writes on ``_begin``.

    Enter it once, in the task that leaves it.
    """

    def __init__(
        self,
        base_url: str,
        *,
        dialect: Dialect,
        api_key: str | None,
        keys: KeyRing | None,
        models: Sequence[str] | None,
        ssl_context: ssl.SSLContext | None,
        capabilities: Capabilities,
        limits: Limits,
    ) -> None:
        """Describe the engine; nothing is opened before ``async with``.

        Args:
            base_url: ``http`` or ``https`` URL in front of the dialect's paths.
            dialect: The protocol.
            api_key: See ``OpenAIEngine``, as for all that follows.
            keys: Likewise.
            models: Likewise.
            ssl_context: Likewise.
            capabilities: Likewise.
            limits: What bounds answers and connections.

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
        self._limits = limits
        self._capabilities = capabilities
        self._dialect = dialect
        self._encoder = RequestEncoder(address, dialect)
        self._dialler = Dialler(address, timeout_s=limits.connect_timeout_s, ssl_context=ssl_context)
        self._connector = Connector(self._dialler, limits)
        self._live: set[HTTPGeneration] = set()

    async def __aenter__(self) -> Self:
        await self._connector.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for generation in list(self._live):
            generation.abort()
        await self._connector.__aexit__(*exc_info)

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

    def _begin(
        self, request: EngineRequest, on_ready: Callable[[], None], decoder: Callable[[], StreamDecoder]
    ) -> Generation:
        """Send a request whose body is the protocol's own, and return at once.

        Raises:
            ClientRequestError: A header cannot be sent; nothing was started.
        """
        head = self._encoder.head(request.endpoint, request.headers, len(request.body), is_keyed=len(self._keys) > 0)
        lease = self._keys.take()
        if lease is None:
            return RefusedGeneration(no_key(self._keys.rest_s()), on_ready, loop=self._connector.loop)
        generation = HTTPGeneration(
            (head, request.body),
            on_ready,
            connector=self._connector,
            limits=self._limits,
            lease=lease,
            dialect=self._dialect,
            decoder=decoder,
            on_over=self._live.discard,
        )
        self._live.add(generation)
        return generation
