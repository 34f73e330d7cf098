"""Prometheus metrics of one node, in a registry of its own.

Times to first token are measured here from the accepted request to the first entry that bears content, never to the
role chunk; what clients measured has names of its own. Labels are states, causes and transports only: bounded whatever
peers send. A model's name is not, where the engine decides which there are.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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

    def text(self) -> bytes:
        """Return the exposition for a scrape."""
        return generate_latest(self.registry)
