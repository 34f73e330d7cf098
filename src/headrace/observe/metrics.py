"""Prometheus metrics of one node, in a registry of its own.

Times to first token are measured here from the accepted request to the first entry that bears content, never to the
role chunk; what clients measured has names of its own. Labels are states, causes and transports only: bounded whatever
peers send. A model's name is not, where the engine decides which there are. Owners are those of keys, which admins make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.types.bill import NANO
from headrace.types.outcome import Cause, State
from headrace.types.record import Perceived

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_TTFT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_SHORT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """Counts streams, ticks and commits; the observer that pump, tick and committer are given."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._ended = Counter(
            "headrace_streams", "Streams that ended, by state and cause.", ["state", "cause"], registry=self.registry
        )
        self._active = Gauge("headrace_streams_active", "Streams that have not ended.", registry=self.registry)
        self._ttft = Histogram(
            "headrace_time_to_first_token_seconds",
            "From the accepted request to the first entry that bears content.",
            buckets=_TTFT_BUCKETS,
            registry=self.registry,
        )
        self._tick = Histogram(
            "headrace_tick_seconds", "Length of a tick's work.", buckets=_SHORT_BUCKETS, registry=self.registry
        )
        self._tick_late = Histogram(
            "headrace_tick_late_seconds", "How late a tick began.", buckets=_SHORT_BUCKETS, registry=self.registry
        )
        self._commit = Histogram(
            "headrace_commit_seconds",
            "From handing a batch to the store until it is durable.",
            buckets=_SHORT_BUCKETS,
            registry=self.registry,
        )
        self._degraded = Counter(
            "headrace_streams_degraded", "Streams that went on without the store.", registry=self.registry
        )
        self._rejected = Counter(
            "headrace_requests_rejected",
            "Requests refused before a stream existed, by status.",
            ["status"],
            registry=self.registry,
        )
        self._unauthorized = Counter(
            "headrace_requests_unauthorized", "Requests without a good key.", registry=self.registry
        )
        self._malformed = Counter(
            "headrace_malformed_chunks", "Engine chunks skipped because they were not JSON.", registry=self.registry
        )

        self._entries = Counter(
            "headrace_delivered_entries", "Log entries delivered to clients.", registry=self.registry
        )
        self._writes = Counter(
            "headrace_delivered_writes", "Writes that delivered them, signs of life included.", registry=self.registry
        )
        self._delivered = Counter(
            "headrace_delivered_bytes", "Bytes of those writes, before compression.", registry=self.registry
        )
        saved = Counter(
            "headrace_saved_bytes", "Bytes that need not be sent, by what saved them.", ["by"], registry=self.registry
        )
        self._saved_by_merging = saved.labels("merge")
        self._saved_by_compression = saved.labels("compression")
        self._client_visible = Histogram(
            "headrace_client_first_visible_token_seconds",
            "From the request to the first text painted, as clients report it, by transport.",
            ["transport"],
            buckets=_TTFT_BUCKETS,
            registry=self.registry,
        )
        self._client_duration = Histogram(
            "headrace_client_duration_seconds",
            "From the request to the end, as clients report it, by transport.",
            ["transport"],
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )

        self._by_owner = _ByOwner(self.registry)

    def billed(self, owner: str, *, generated_tokens: int, delivered_tokens: int, nano_usd: int) -> None:
        """A stream has ended, its last client has left, and its bill is final."""
        self._by_owner.billed(
            owner, generated_tokens=generated_tokens, delivered_tokens=delivered_tokens, nano_usd=nano_usd
        )

    def unauthorized(self) -> None:
        """A request came without a good key."""
        self._unauthorized.inc()

    def delivered(self, *, entries: int, writes: int, written_bytes: int, merged_bytes: int) -> None:
        """A client was served to the end, or left; see ``headrace.delivery.writer.DeliveryObserver``."""
        self._entries.inc(entries)
        self._writes.inc(writes)
        self._delivered.inc(written_bytes)
        self._saved_by_merging.inc(merged_bytes)

    def compressed(self, saved_bytes: int) -> None:
        """A compressed response ended; nothing is counted when it became longer."""
        self._saved_by_compression.inc(max(0, saved_bytes))

    def perceived(self, perceived: Perceived) -> None:
        """A client reported what it perceived of a stream."""
        if perceived.first_visible_ms is not None:
            self._client_visible.labels(perceived.transport).observe(perceived.first_visible_ms / 1000)
        if perceived.total_ms is not None:
            self._client_duration.labels(perceived.transport).observe(perceived.total_ms / 1000)

    def started(self) -> None:
        """A stream began."""
        self._active.inc()

    def ended(self, state: State, cause: Cause, *, malformed_chunks: int, ttft_s: float | None) -> None:
        """A stream ended; ``ttft_s`` is None when it never bore content."""
        self._active.dec()
        self._ended.labels(state.value, cause.value).inc()
        if malformed_chunks:
            self._malformed.inc(malformed_chunks)
        if ttft_s is not None:
            self._ttft.observe(ttft_s)

    def recovered(self, state: State, cause: Cause) -> None:
        """A stream that an earlier process left open was closed."""
        self._ended.labels(state.value, cause.value).inc()

    def ticked(self, duration_s: float, late_s: float) -> None:
        self._tick.observe(duration_s)
        self._tick_late.observe(max(0.0, late_s))

    def committed(self, duration_s: float) -> None:
        self._commit.observe(duration_s)

    def degraded(self) -> None:
        self._degraded.inc()

    def rejected(self, status: int) -> None:
        """A request was refused before a stream existed."""
        self._rejected.labels(str(status)).inc()

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Ask at each scrape how many requests wait for their limits."""
        Gauge("headrace_requests_waiting", "Requests that wait for their limits.", registry=self.registry).set_function(
            waiting
        )

    def watch_upstream_keys(self, states: Callable[[], Sequence[tuple[str, UpstreamKeyState]]]) -> None:
        """Ask at each scrape how the engines' keys stand; each comes with its engine's name."""
        self.registry.register(_UpstreamKeys(states))

    def text(self) -> bytes:
        """Return the exposition for a scrape."""
        return generate_latest(self.registry)

    def text_of_owner(self, owner: str) -> bytes:
        """Return the exposition of one owner's series alone."""
        registry = CollectorRegistry()
        registry.register(_OfOwner(self._by_owner.collectors, owner))
        return generate_latest(registry)


class UpstreamKeyState(Protocol):
    """One of the engine's keys as it stands."""

    @property
    def name(self) -> str: ...
    @property
    def running(self) -> int: ...
    @property
    def is_resting(self) -> bool: ...
    @property
    def is_retired(self) -> bool: ...
    @property
    def requests(self) -> int: ...
    @property
    def rejected(self) -> int: ...


class _UpstreamKeys(Collector):
    """The engines' keys, by engine and reference."""

    def __init__(self, states: Callable[[], Sequence[tuple[str, UpstreamKeyState]]]) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        running = GaugeMetricFamily(
            "headrace_upstream_key_running", "Generations with this key.", labels=["engine", "key"]
        )
        usable = GaugeMetricFamily(
            "headrace_upstream_key_usable", "0 while it rests or is retired.", labels=["engine", "key"]
        )
        requests = CounterMetricFamily(
            "headrace_upstream_key_requests", "Requests sent with it.", labels=["engine", "key"]
        )
        rejected = CounterMetricFamily(
            "headrace_upstream_key_rejected", "Those answered with 401, 403 or 429.", labels=["engine", "key"]
        )
        for engine, state in self._states():
            labels = [engine, state.name]
            running.add_metric(labels, state.running)
            usable.add_metric(labels, not (state.is_resting or state.is_retired))
            requests.add_metric(labels, state.requests)
            rejected.add_metric(labels, state.rejected)
        return (running, usable, requests, rejected)


class _ByOwner:
    """The series that are told apart by owner."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._streams = Counter("headrace_owner_streams", "Streams billed, by owner.", ["owner"], registry=registry)
        self._tokens = Counter(
            "headrace_owner_tokens",
            "Tokens by our own count, generated and delivered, by owner.",
            ["owner", "kind"],
            registry=registry,
        )
        self._cost = Counter(
            "headrace_owner_cost_usd", "What streams cost in US dollars, by owner.", ["owner"], registry=registry
        )

    @property
    def collectors(self) -> tuple[Collector, ...]:
        return (self._streams, self._tokens, self._cost)

    def billed(self, owner: str, *, generated_tokens: int, delivered_tokens: int, nano_usd: int) -> None:
        self._streams.labels(owner).inc()
        self._tokens.labels(owner, "generated").inc(generated_tokens)
        self._tokens.labels(owner, "delivered").inc(delivered_tokens)
        self._cost.labels(owner).inc(nano_usd / NANO)


class _OfOwner(Collector):
    """The samples of one owner."""

    def __init__(self, collectors: Iterable[Collector], owner: str) -> None:
        self._collectors = collectors
        self._owner = owner

    def collect(self) -> Iterable[Metric]:
        for collector in self._collectors:
            for metric in collector.collect():
                metric.samples = [sample for sample in metric.samples if sample.labels.get("owner") == self._owner]
                yield metric
