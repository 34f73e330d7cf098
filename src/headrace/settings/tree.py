"""The settings tree. A section is a TOML table; a key is the field's name, durations without their ``_s``.

Values of durations are seconds or carry a unit (``"500ms"``, ``"24h"``), sizes are bytes or carry one (``"64KiB"``).
Amounts of money are US dollars, exactly as written.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headrace.delivery.options import MAX_COALESCE_TOKENS
from headrace.policy.health_settings import HealthSettings
from headrace.policy.limits import Limits
from headrace.policy.prices import Price
from headrace.policy.retry import RetryPolicy
from headrace.policy.timeouts import Timeouts
from headrace.policy.units import Bytes, Count, PositiveSeconds, Seconds
from headrace.settings.engines import DEFAULT_ENGINE, EngineSettings, TargetSettings, UpstreamSettings
from headrace.settings.names import EngineName, ModelName, OwnerName, TargetName
from headrace.settings.section import NonEmpty, Section
from headrace.types.access import Allowance, Budget
from headrace.types.bill import BillRule

__all__ = [
    "BillingSettings",
    "CacheSettings",
    "EngineSettings",
    "KeysSettings",
    "LogSettings",
    "ModelSettings",
    "OwnerSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "StreamSettings",
    "TargetSettings",
    "UpstreamSettings",
]


class ServerSettings(Section, frozen=True, kw_only=True):
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


class KeysSettings(Section, frozen=True, kw_only=True):
    """What client keys may do that say nothing of their own, field by field."""

    limits: Allowance = Allowance()
    budget: Budget = Budget()


class OwnerSettings(Section, frozen=True, kw_only=True):
    """What all keys of one owner may do together."""

    limits: Allowance = Allowance()
    budget: Budget = Budget()


class ModelSettings(Section, frozen=True, kw_only=True):
    """One model: who serves it, what may be done with its answers, how much of it all may use together, and its price."""

    engines: dict[TargetName, TargetSettings] = {}
    """Who serves it, under names of your choice; none: the engine of ``engine``."""
    continues: bool = True
    """Go on with an answer that breaks off, where an engine takes the beginning of one."""
    replays: bool = False
    """Where none does: ask again, and go on if the new answer is the same as far as the old one was delivered."""
    shares: bool = False
    """Identical requests of one owner at the same time, without chance in them, are one generation."""
    cache: Literal["off", "owner", "shared"] = "off"
    """Give whole answers again: to the owner who asked first, or to everybody who asks the same."""
    cache_for_s: PositiveSeconds = 3600.0
    """How old such an answer may be."""
    cache_pace: Literal["at_once", "natural"] = "at_once"
    """How it comes: all at once, or as fast as it came the first time."""
    caches_sampled: bool = False
    """Also answers that chance had a part in: to requests with a temperature above 0 and no seed."""
    cancelled: BillRule | None = None
    """``billing.cancelled`` of this model; None: as there."""
    truncated: BillRule | None = None
    """``billing.truncated`` of this model; None: as there."""
    limits: Allowance = Allowance()
    price: Price | None = None
    """None: as the vendor's price list says."""


class BillingSettings(Section, frozen=True, kw_only=True):
    """What is charged for answers that were cut off."""

    cancelled: BillRule = BillRule.GENERATED
    """Answers that somebody stopped: a client, a budget, an operator."""
    truncated: BillRule = BillRule.GENERATED
    """Answers that broke off after content."""
    drain_s: Seconds = 60.0
    """How long a stopped engine is read for its usage where the rule is ``vendor``."""


class CacheSettings(Section, frozen=True, kw_only=True):
    """How many whole answers are kept to be given again, of all models together."""

    max_entries: Count = 10_000
    """Answers; the oldest go first."""
    max_bytes: Bytes = 256 * 1024 * 1024
    """Their text, which counts towards ``store.max_bytes`` too."""


class StreamSettings(Section, frozen=True, kw_only=True):
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


class StoreSettings(Section, frozen=True, kw_only=True):
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


class LogSettings(Section, frozen=True, kw_only=True):
    """The process's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section, frozen=True, kw_only=True):
    """Everything that can be set."""

    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    engines: dict[EngineName, UpstreamSettings] = {}
    """More engines, by names of your choice."""
    retry: RetryPolicy = RetryPolicy()
    health: HealthSettings = HealthSettings()
    cache: CacheSettings = CacheSettings()
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

    @property
    def all_engines(self) -> dict[str, UpstreamSettings]:
        """Every engine by the name that targets use, the one of ``engine`` first."""
        return {DEFAULT_ENGINE: self.engine, **self.engines}
