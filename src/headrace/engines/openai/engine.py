"""The engine for every server that speaks OpenAI's protocol."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Sequence

from headrace.engines.openai.dialect import OPENAI
from headrace.engines.openai.http_engine import HTTPEngine
from headrace.engines.openai.keys import KeyRing
from headrace.engines.openai.limits import Limits
from headrace.protocol.chat import ChatStreamDecoder
from headrace.types.engine import Capabilities, EngineRequest, Generation

_DEFAULT_CAPABILITIES = Capabilities()


class OpenAIEngine(HTTPEngine):
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
        limits = Limits(
            connect_timeout_s=connect_timeout_s,
            max_head_bytes=max_head_bytes,
            max_event_bytes=max_event_bytes,
            ends_at_malformed=ends_at_malformed,
            max_error_body_bytes=max_error_body_bytes,
            max_idle_connections=max_idle_connections,
            idle_connection_s=idle_connection_s,
        )
        super().__init__(
            base_url,
            dialect=OPENAI,
            api_key=api_key,
            keys=keys,
            models=models,
            ssl_context=ssl_context,
            capabilities=capabilities,
            limits=limits,
        )
        self._new_decoder = functools.partial(
            ChatStreamDecoder, max_event_bytes=max_event_bytes, stops_at_malformed=ends_at_malformed
        )

    @property
    def name(self) -> str:
        return "openai"

    def start(self, request: EngineRequest, on_ready: Callable[[], None]) -> Generation:
        """Send a request and return at once; see ``Engine.start``.

        When no key can be used now, nothing is sent: the generation has its end already.

        Raises:
            ClientRequestError: A header cannot be sent; nothing was started.
        """
        return self._begin(request, on_ready, self._new_decoder)
