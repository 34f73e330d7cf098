"""The settings tree. A section is a TOML table; a key is the field's name, durations without their ``_s``.

Values of durations are seconds or carry a unit (``"500ms"``, ``"24h"``), sizes are bytes or carry one (``"64KiB"``).
Amounts of money are US dollars, exactly as written.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headrace.delivery.options import MAX_COALESCE_TOKENS
from headrace.policy.limits import Limits
from headrace.policy.prices import Price
from headrace.policy.timeouts import Timeouts
from headrace.policy.units import Bytes, Count, PositiveSeconds, Seconds, without_seconds
from headrace.settings.names import ModelName, OwnerName
from headrace.types.access import Allowance, Budget
from headrace.types.bill import BillRule

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=without_seconds):
    """What all sections have in common."""


class ServerSettings(_Section, frozen=True, kw_only=True):
    """Where the relay listens, whom it answers, and what it takes from one connection."""

    host: NonEmpty = "127.0.0.1"
    """Address or name to listen on. Anything but loopback needs client keys, or ``insecure``."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    """0 takes a free one."""
    insecure: bool = False
    """Listen beyond loopback even while there are no client keys, so that nobody has to show one."""
    allowed_hosts: tuple[str, ...] = ()
    """Values of ``Host`` that are answered beside loopback ones: a name for any port, or ``name:port``."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the relay, each as browsers send it: ``https://app.example``."""
    max_connections: Count | None = None
    """More are answered with 503; None leaves room within the limit on open files."""
    max_head_bytes: Bytes = 64 * 1024
    """Request line and headers of one request; more is answered with 431."""
    head_timeout_s: PositiveSeconds = 30.0
    """How long a connection may take to send a whole request head."""
    max_body_bytes: Bytes = 16 * 1024 * 1024
    """Body of one request; more is answered with 413."""
    body_timeout_s: PositiveSeconds = 30.0
    """How long a request body may take after its head."""
    http2: bool = False
    """Speak HTTP/2 too: over TLS where the client can, else with clients that begin with it. Needs the extra ``http2``."""
    tls_cert: NonEmpty | None = None
    """PEM file of the certificate and its chain; serves HTTPS."""
    tls_key: NonEmpty | None = None
    """PEM file of the certificate's private key, without a password."""


class EngineSettings(_Section, frozen=True, kw_only=True):
    """Who generates the tokens."""

    upstream: NonEmpty | None = None
    """Base URL of an OpenAI-compatible engine, up to what stands before ``/chat/completions``; None runs the embedded
    engine."""
    upstream_key_env: NonEmpty = "LLM_API_KEY"
    """Name of the environment variable that holds the upstream's API key. Unset or empty sends no key."""
    upstream_keys: tuple[str, ...] = ()
    """Where the upstream's API keys are, when there are several: ``env:NAME`` or ``file:/absolute/path`` each; white
    space around a key is cut off. Requests are spread over them. None: the one of ``upstream_key_env``."""
    provider: NonEmpty | None = None
    """Vendor whose price list applies, as genai-prices calls it (``openai``); None: told by the upstream's URL."""
    continuous_usage: bool = False
    """Ask for usage with every chunk (vLLM's ``stream_options.continuous_usage_stats``), so that answers which are cut
    off are billed as counted by the engine."""
    model: NonEmpty | None = None
    """The one model served; None serves what the engine lists."""
    max_event_bytes: Bytes = 8 * 1024 * 1024
    """One event of the engine's answer; a larger one ends the stream as ``event_too_large``."""
    on_malformed_chunk: Literal["skip", "end"] = "skip"
    """What a chunk does that is no JSON object: it is skipped and counted, or it ends the stream."""
    forward_headers: tuple[str, ...] = ("traceparent", "tracestate")
    """Client headers that the engine gets (the default is W3C Trace Context). Credentials cannot be among them."""
    slots: Count = 4
    """Requests that the embedded engine works on at once."""
    queue: Annotated[int, msgspec.Meta(ge=0)] = 64
    """Requests that wait for a slot of the embedded engine; more are answered with 429."""
    limits: Allowance = Allowance()
    """Of the engine as a whole, whoever asks."""


class KeysSettings(_Section, frozen=True, kw_only=True):
    """What client keys may do that say nothing of their own, field by field."""

    limits: Allowance = Allowance()
    budget: Budget = Budget()


class OwnerSettings(_Section, frozen=True, kw_only=True):
    """What all keys of one owner may do together."""

    limits: Allowance = Allowance()
    budget: Budget = Budget()


class ModelSettings(_Section, frozen=True, kw_only=True):
    """One model: how much of it all may use together, what it costs, and what is charged when it is cut off."""

    cancelled: BillRule | None = None
    """``billing.cancelled`` of this model; None: as there."""
    truncated: BillRule | None = None
    """``billing.truncated`` of this model; None: as there."""
    limits: Allowance = Allowance()
    price: Price | None = None
    """None: as the vendor's price list says."""


class BillingSettings(_Section, frozen=True, kw_only=True):
    """What is charged for answers that were cut off."""

    cancelled: BillRule = BillRule.GENERATED
    """Answers that somebody stopped: a client, a budget, an operator."""
    truncated: BillRule = BillRule.GENERATED
    """Answers that broke off after content."""
    drain_s: Seconds = 60.0
    """How long a stopped engine is read for its usage where the rule is ``vendor``."""


class StreamSettings(_Section, frozen=True, kw_only=True):
    """How streams flow."""

    flush_interval_ms: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 50
    """Time between ticks, in milliseconds; 0 passes every token on at once."""
    coalesce_tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_COALESCE_TOKENS)] = 1
    """Entries gathered before a client is written to, unless it asks otherwise; nothing waits longer than a second."""
    merge: bool = False
    """Send chunks that differ in their text only as one, unless a client asks otherwise."""
    compress: bool = False
    """Compress streams (zstd, gzip, br) for clients that accept it. Stock SDKs accept it on every request."""
    retry_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 1000
    """How long an EventSource waits before it reconnects, in milliseconds."""


class StoreSettings(_Section, frozen=True, kw_only=True):
    """Where streams are kept, and for how long."""

    url: NonEmpty
    """``memory:``, ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``."""
    retain_for_s: Seconds = 24 * 3600.0
    """How long ended streams and their records are kept."""
    retain_usage_for_s: Seconds = 400 * 24 * 3600.0
    """How long it is kept what each request used and cost, without its text."""
    max_bytes: Bytes = 1024 * 1024 * 1024
    """How much text of ended streams is kept; the oldest goes first."""
    store_content: bool = True
    """False keeps no text after the end of a stream."""


class LogSettings(_Section, frozen=True, kw_only=True):
    """The process's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Section, frozen=True, kw_only=True):
    """Everything that can be set."""

    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    keys: KeysSettings = KeysSettings()
    owners: dict[OwnerName, OwnerSettings] = {}
    """By the owner's name."""
    models: dict[ModelName, ModelSettings] = {}
    """By the model's name."""
    billing: BillingSettings = BillingSettings()
    stream: StreamSettings = StreamSettings()
    store: StoreSettings
    log: LogSettings = LogSettings()
