"""The engine: requests go out translated, answers come back as chunks."""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable, Sequence

import msgspec

from headrace.engines.anthropic.decoder import MessageStreamDecoder
from headrace.engines.anthropic.dialect import CAPABILITIES, MESSAGES
from headrace.engines.anthropic.refusal import unsupported
from headrace.engines.anthropic.request import messages_body
from headrace.engines.openai import HTTPEngine, KeyRing
from headrace.engines.openai.limits import Limits
from headrace.types.engine import Capabilities, Endpoint, EngineRequest, Generation

DEFAULT_MAX_TOKENS = 4096
"""Bound of an answer whose request has none; the API must have one."""


class AnthropicEngine(HTTPEngine):
    """An ``Engine`` for Anthropic's Messages API, for chats only. Enter it once, in the task that leaves it."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        keys: KeyRing | None = None,
        models: Sequence[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        capabilities: Capabilities = CAPABILITIES,
        default_max_tokens: int = DEFAULT_MAX_TOKENS,
        wall_time: Callable[[], float] = time.time,
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
            base_url: ``http`` or ``https`` URL up to and including what stands in front of ``/messages``, such as
                ``https://api.anthropic.com/v1``.
            api_key: Sent as ``x-api-key``. Never shown. None, and no ``keys``, sends none.
            keys: Several of them, instead of ``api_key``; the owner may replace them at any time.
            models: What ``models`` returns; None asks the engine.
            ssl_context: How to verify an ``https`` engine; None for the system's authorities.
            capabilities: What policies may expect of it.
            default_max_tokens: Bound of an answer whose request has none, in tokens.
            wall_time: Unix time, in seconds: when answers are said to be created.
            connect_timeout_s: This and what follows: see ``Limits``.
            max_head_bytes: Likewise.
            max_event_bytes: Likewise.
            ends_at_malformed: Likewise.
            max_error_body_bytes: Likewise.
            max_idle_connections: Likewise.
            idle_connection_s: Likewise.

        Raises:
            SettingsError: The URL or the key cannot be used.
            ValueError: Both ``api_key`` and ``keys`` are given, or the default bound is not positive.
        """
        if default_max_tokens < 1:
            raise ValueError("default_max_tokens must be 1 or more")
        super().__init__(
            base_url,
            dialect=MESSAGES,
            api_key=api_key,
            keys=keys,
            models=models,
            ssl_context=ssl_context,
            capabilities=capabilities,
            limits=Limits(
                connect_timeout_s=connect_timeout_s,
                max_head_bytes=max_head_bytes,
                max_event_bytes=max_event_bytes,
                ends_at_malformed=ends_at_malformed,
                max_error_body_bytes=max_error_body_bytes,
                max_idle_connections=max_idle_connections,
                idle_connection_s=idle_connection_s,
            ),
        )
        self._default_max_tokens = default_max_tokens
        self._wall_time = wall_time

    @property
    def name(self) -> str:
        return "anthropic"

    def start(self, request: EngineRequest, on_ready: Callable[[], None]) -> Generation:
        """Translate a request, send it and return at once; see ``Engine.start``.

        When no key can be used now, nothing is sent: the generation has its end already.

        Raises:
            ClientRequestError: It asks for something that the API does not have (``param`` names the field), or a
                header cannot be sent; nothing was started.
        """
        if request.endpoint is not Endpoint.CHAT:
            raise unsupported("prompt", "this engine has chats only; send messages to chat/completions")
        body = messages_body(request.body, default_max_tokens=self._default_max_tokens)
        decoder = functools.partial(
            MessageStreamDecoder,
            max_event_bytes=self._limits.max_event_bytes,
            stops_at_malformed=self._limits.ends_at_malformed,
            created=int(self._wall_time()),
        )
        return self._begin(msgspec.structs.replace(request, body=body), on_ready, decoder)
