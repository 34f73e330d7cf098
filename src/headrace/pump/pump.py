"""The pump: moves one generation into one log, and decides how the stream ends.

A pump is no task. It is called: by the generation when something arrived (until the first content), by the tick
(after it), by the sweep when time has passed, and by whoever stops it. Every call is short and never blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from headrace.policy.limits import Limits
from headrace.policy.timeouts import Timeouts
from headrace.protocol.chunk_view import without_running_usage
from headrace.pump.charge import Charge
from headrace.pump.order import Order
from headrace.pump.reckoning import Reckoning
from headrace.pump.tally import Tally, end_of_error_event, token_count, usage_chunk
from headrace.stream.log import StreamLog, Taken
from headrace.stream.state import CAUSES
from headrace.stream.store import Opening
from headrace.types.chunk import Chunks
from headrace.types.engine import EngineEnd, Generation
from headrace.types.outcome import Cause, Durability, End, State, cause_of_finish
from headrace.types.record import Record

FINISH_GRACE_S = 5.0
"""How long a whole answer waits for the usage chunk and ``[DONE]`` behind its last finish_reason."""

HOT_BYTES = 32 * 1024
"""A stream that brings this much in one tick is read whenever data arrive, until a tick brings less: a socket read
only on the tick passes at most one kernel buffer a tick, which would slow such an engine down."""

HOT_LIMIT_BYTES = 1024 * 1024
"""Such a stream is read until the tick no further than this, so that what waits for a commit is bounded."""

FRAME_BYTES = 16
"""What an event of a stream takes beside its data: ``data: ``, two line ends, and the framing of HTTP."""

_ONLY_BEFORE_CONTENT = CAUSES[State.FAILED] - CAUSES[State.TRUNCATED]


class Scheduler(Protocol):
    """What a pump asks of the tick."""

    def join(self, pump: Pump) -> None:
        """Read this pump on every tick from now on."""

    def leave(self, pump: Pump) -> None:
        """Read it no longer."""

    def mark(self, pump: Pump) -> None:
        """Commit what it has on the next tick."""

    def rush(self, pump: Pump) -> None:
        """Commit what it has in this round of the event loop."""

    @property
    def is_immediate(self) -> bool:
        """Whether every token goes out at once, without a tick."""

    @property
    def is_behind(self) -> bool:
        """Whether the store cannot follow, so that a flood must wait for the next tick."""


class Clocks(msgspec.Struct, frozen=True):
    """Time, passed in."""

    monotonic_s: Callable[[], float]
    wall_time: Callable[[], float]
    """Unix seconds."""


class Pump:
    """Producer of one stream.

    Args:
        order: What was asked.
        log: The empty log it writes.
        timeouts: How long its phases may take.
        limits: How far it may run ahead of its consumers.
        on_malformed: Whether a chunk that is not JSON is skipped and counted, or ends the stream.
        is_memory_only: Whether nothing but memory keeps the entries, so that running ahead is bounded.
        scheduler: The tick.
        clocks: Time.
        on_end: Called once, when the log is sealed.
        charge: What the stream pays with; None lets it run unbounded and unpriced.
    """

    __slots__ = (
        "_charge",
        "_clocks",
        "_first_line",
        "_generation",
        "_has_noted_first",
        "_hot_bytes",
        "_is_hot",
        "_is_memory_only",
        "_is_paused",
        "_is_ticking",
        "_limits",
        "_linger_until_s",
        "_on_end",
        "_on_malformed",
        "_progress_s",
        "_received_bytes",
        "_record_is_stale",
        "_scheduler",
        "_tally",
        "_timeouts",
        "_why_over",
        "accepted_at",
        "accepted_s",
        "ended_at",
        "engine_name",
        "first_content_at",
        "first_content_s",
        "is_opened",
        "log",
        "order",
        "reckoning",
    )

    def __init__(
        self,
        order: Order,
        log: StreamLog,
        *,
        engine_name: str,
        timeouts: Timeouts,
        limits: Limits,
        on_malformed: Literal["skip", "end"],
        is_memory_only: bool,
        scheduler: Scheduler,
        clocks: Clocks,
        on_end: Callable[[Pump], None],
        charge: Charge | None = None,
    ) -> None:
        self.order = order
        self.log = log
        self.engine_name = engine_name
        self.accepted_at = clocks.wall_time()
        self.accepted_s = clocks.monotonic_s()
        self.first_content_at: float | None = None
        self.first_content_s: float | None = None
        self.ended_at: float | None = None
        self.is_opened = False
        """Whether a commit holds the opening of the log."""
        self._charge = charge or Charge()
        self._why_over: str | None = None
        self._clocks = clocks
        self._on_end = on_end
        self._timeouts = timeouts
        self._limits = limits
        self._on_malformed = on_malformed
        self._is_memory_only = is_memory_only
        self._scheduler = scheduler
        self._generation: Generation | None = None
        self._tally = Tally(choices=order.choices, prompt_bytes=len(order.engine_request.body))
        self.reckoning = Reckoning(order.request_id, log, self._tally, self._charge)
        self._first_line: bytes | None = None
        self._progress_s = self.accepted_s
        self._linger_until_s: float | None = None
        self._is_ticking = False
        self._is_hot = False
        self._is_paused = False
        self._hot_bytes = 0
        self._received_bytes = 0
        self._record_is_stale = True
        self._has_noted_first = False
        log.on_followers = self._followers_changed

    def begin(self, start: Callable[[Callable[[], None]], Generation]) -> None:
        """Start the generation.

        Args:
            start: Called with what the generation shall call when something is ready.

        Raises:
            RelayError: The engine took nothing; there is no stream.
        """
        self._generation = start(self.ready)
        self._scheduler.mark(self)

    # --- reading

    def ready(self) -> None:
        """The generation has something to read."""
        is_full = self._hot_bytes > HOT_LIMIT_BYTES or self._scheduler.is_behind
        if self._is_hot and is_full and self._generation is not None:
            self._is_hot = False
            self._generation.watch(None)
            return
        self.read(self._clocks.monotonic_s())

    def tick(self, now_s: float) -> None:
        """Read on the tick."""
        if self._is_hot and self._hot_bytes < HOT_BYTES and self._generation is not None:
            self._is_hot = False
            self._generation.watch(None)
        self._hot_bytes = 0
        self.read(now_s)

    def read(self, now_s: float) -> None:
        """Take what has arrived into the log, and end the log when the generation has ended."""
        generation = self._generation
        tokens_left = self._charge.tokens_left(now_s) if self._charge.is_metered else math.inf
        if generation is None or (self._is_bounded and self._holds_back(tokens_left)):
            return
        chunks = generation.read(self._share_bytes(tokens_left))
        log = self.log
        if log.state is State.QUEUED and (generation.is_accepted or chunks is not None):
            log.accept()
        had_content = log.has_content
        if chunks is not None:
            self._receive(chunks, now_s)
        over = self._over(generation) if log.end is None else None
        if over is not None:
            self._finish(over)
        if log.has_untaken:
            if (log.has_content and not had_content) or log.end is not None or self._scheduler.is_immediate:
                self._scheduler.rush(self)
            else:
                self._scheduler.mark(self)
        if log.has_content and not self._is_ticking and log.end is None and not self._scheduler.is_immediate:
            self._is_ticking = True
            generation.watch(None)
            self._scheduler.join(self)

    def _over(self, generation: Generation) -> EngineEnd | None:
        """Return how the stream ends by what has been read; None while it goes on."""
        if self._why_over is not None:
            return EngineEnd(cause=Cause.BUDGET, message=self._why_over)
        if self._on_malformed == "end" and generation.malformed_chunks:
            return EngineEnd(cause=Cause.UPSTREAM_PROTOCOL, message="the engine sent a chunk that is not JSON")
        if self._tally.error is not None:
            return end_of_error_event(self._tally.error)
        return generation.end

    def _share_bytes(self, tokens_left: float) -> int | None:
        """Return how much to read, in bytes, of a stream on a rate of tokens; None: all that is there.

        No more than the rate has left, by what a token has taken so far: a kernel holds minutes of an answer, which
        would come in one lump, and be owed by all who share the rate.
        """
        tokens = self._tally.tokens
        # No token is shorter than a byte.
        if tokens_left >= HOT_BYTES or not tokens:
            return None
        share_bytes = max(1, int(max(1.0, tokens_left) * self._received_bytes / tokens))
        if share_bytes >= HOT_BYTES:
            return None
        if self._is_ticking:
            # Behind all others, so that whoever shares the rate has its turn.
            self._scheduler.leave(self)
            self._scheduler.join(self)
        return share_bytes

    @property
    def _is_bounded(self) -> bool:
        return self._charge.is_metered or self._is_memory_bound

    @property
    def _is_memory_bound(self) -> bool:
        return self._is_memory_only or self.log.is_degraded or self._limits.max_lead_entries is not None

    def _holds_back(self, tokens_left: float) -> bool:
        """Decide whether reading must wait, for the consumers or for a rate of tokens: real back-pressure on the engine."""
        paused = tokens_left < 0 or (self._is_memory_bound and self._is_far_ahead())
        if paused != self._is_paused and self._generation is not None:
            self._is_paused = paused
            if paused:
                self._generation.watch(None)
                # Behind all others: who has used up a rate that they share waits until each had its turn.
                self._scheduler.leave(self)
                self._scheduler.join(self)
            elif self._scheduler.is_immediate:
                self._scheduler.leave(self)
                self._generation.watch(self.ready)
        return paused

    def _is_far_ahead(self) -> bool:
        log, limits = self.log, self._limits
        only_memory = self._is_memory_only or log.is_degraded
        bound = limits.max_lead_entries
        if bound is None:
            bound = limits.memory_lead_entries
        if self._is_paused:
            # A paused stream publishes nothing, which is when a log is trimmed otherwise.
            log.trim()
        return log.lead() > bound or (only_memory and log.is_memory_full)

    def _receive(self, chunks: Chunks, now_s: float) -> None:
        """Append chunks, and note the progress they are."""
        tally = self._tally
        tokens_before = tally.tokens
        # With about what frames each of them on its way.
        self._received_bytes += len(chunks.data) + FRAME_BYTES * len(chunks.views)
        if tally.count(chunks):
            data, count = chunks.data, len(chunks.views)
        else:
            data, count = tally.without_ours(chunks, wants_usage=self.order.wants_usage)
        if self.order.hides_running_usage:
            data = without_running_usage(data)
        tokens = tally.tokens - tokens_before
        if tokens:
            self._progress_s = now_s
            self._why_over = self._charge.spend(tokens, now_s)
            if self.first_content_at is None:
                self.first_content_at = self._clocks.wall_time()
                self.first_content_s = now_s
            elif not self._has_noted_first:
                # Not with the first content itself: its commit is what a client waits for.
                self._has_noted_first = self._record_is_stale = True
        if count:
            if self._first_line is None and self.order.wants_usage:
                self._first_line = data.split(b"\n", 1)[0]
            self.log.append(data, count, tokens=tokens)
            self._watch_rate(len(data))

    def _watch_rate(self, received_bytes: int) -> None:
        self._hot_bytes += received_bytes
        if self._is_ticking and not self._is_hot and self._hot_bytes >= HOT_BYTES and self._generation is not None:
            self._is_hot = True
            self._generation.watch(self.ready)

    # --- ending

    def stop(self, cause: Cause, message: str | None = None) -> None:
        """End the stream now and abort the generation. Does nothing when it has ended already."""
        if self.log.end is None:
            self._finish(EngineEnd(cause=cause, message=message))
            self._scheduler.rush(self)

    def _finish(self, source: EngineEnd) -> None:
        """Seal the log with the state that follows from how the generation ended."""
        log, tally = self.log, self._tally
        cause, message = source.cause, source.message
        if tally.is_whole and log.state is State.IN_PROGRESS:
            cause, message = cause_of_finish(tally.finish_reason or "stop"), None
        elif cause is None:
            cause = Cause.UPSTREAM_CLOSED
            message = "the engine ended the answer without a finish_reason"
        elif cause in _ONLY_BEFORE_CONTENT and log.has_content:
            cause = Cause.UPSTREAM_CLOSED
        self.ended_at = self._clocks.wall_time()
        self._record_is_stale = True
        state = self._state_of(cause)
        was_accepted = log.state is State.IN_PROGRESS
        lacks_usage = tally.engine_usage is None
        generation, self._generation = self._generation, None
        malformed = 0
        if generation is not None:
            self.reckoning.let_go(generation, state, cause)
            malformed = generation.malformed_chunks
        usage, tokens_source = tally.usage()
        if state is State.COMPLETED and self.order.wants_usage and lacks_usage:
            log.append(usage_chunk(self._first_line or b"{}", usage), 1, tokens=0)
        self._scheduler.leave(self)
        log.seal(
            End(
                state=state,
                cause=cause,
                finish_reason=self._tally.finish_reason,
                usage=usage,
                tokens_source=tokens_source,
                message=message,
                status=source.status,
                malformed_chunks=malformed,
                durability=log.durability,
                retry_after_s=source.retry_after_s,
                error_type=source.error_type,
                error_code=source.error_code,
                error_param=source.error_param,
            )
        )
        self.reckoning.end(self._clocks.monotonic_s(), was_accepted=was_accepted)
        self._on_end(self)

    def _state_of(self, cause: Cause) -> State:
        """Return the one terminal state that allows ``cause`` here."""
        if cause in CAUSES[State.COMPLETED]:
            return State.COMPLETED
        if cause in CAUSES[State.CANCELLED]:
            return State.CANCELLED
        if cause in (Cause.NODE_LOST, Cause.SHUTDOWN) or self.log.has_content:
            return State.TRUNCATED
        return State.FAILED

    # --- time and consumers

    def expire(self, now_s: float) -> None:
        """End the stream when one of its times has run out."""
        if self.log.end is not None:
            return
        times = self._timeouts
        silent_s = now_s - self._progress_s
        running_s = now_s - self.accepted_s
        if self._linger_until_s is not None and now_s >= self._linger_until_s:
            self.stop(Cause.CLIENT_GONE, "nobody came back within the linger time")
        elif times.deadline_s is not None and running_s >= times.deadline_s:
            self.stop(Cause.DEADLINE, f"the stream ran longer than deadline = {times.deadline_s:g} s")
        elif self._is_paused:
            self._progress_s = now_s
        elif not self.log.has_content:
            if running_s >= times.first_token_s:
                self.stop(Cause.FIRST_TOKEN_TIMEOUT, f"no content within first_token = {times.first_token_s:g} s")
        elif silent_s >= (min(FINISH_GRACE_S, times.idle_s) if self._tally.is_whole else times.idle_s):
            self.stop(Cause.UPSTREAM_STALLED, f"no content for idle = {times.idle_s:g} s")

    def _followers_changed(self, left_because: Cause | None) -> None:
        if self.log.end is not None:
            return
        if self.log.followers:
            self._linger_until_s = None
        elif self.order.linger_s is None:
            self.stop(left_because or Cause.CLIENT_GONE)
        else:
            self._linger_until_s = self._clocks.monotonic_s() + self.order.linger_s

    @property
    def ttft_s(self) -> float | None:
        """From accepting the request to its first content; None before."""
        return None if self.first_content_s is None else self.first_content_s - self.accepted_s

    # --- what the committer takes

    def opening(self) -> Opening:
        return Opening(self.log.lease, self.log.owner, self.accepted_at, self.order.keeps_content)

    def take_record(self) -> Record | None:
        """Return the record when it has changed since the last call."""
        if not self._record_is_stale:
            return None
        self._record_is_stale = False
        return self.record()

    def record(self) -> Record:
        """Return the row of this request as it stands."""
        log, order = self.log, self.order
        usage, tokens_source = self._tally.usage()
        end = log.end
        return Record(
            id=order.request_id,
            stream_id=order.stream_id,
            owner=order.owner,
            model=order.model,
            engine=self.engine_name,
            accepted_at=self.accepted_at,
            first_content_at=self.first_content_at,
            ended_at=self.ended_at,
            state=log.state,
            cause=end.cause if end is not None else None,
            finish_reason=self._tally.finish_reason,
            prompt_tokens=token_count(usage.get("prompt_tokens")),
            completion_tokens=token_count(usage.get("completion_tokens")),
            tokens_source=tokens_source,
            entries=log.appended,
            bytes=log.bytes,
            malformed_chunks=end.malformed_chunks if end is not None else 0,
            durability=log.durability,
            key_id=order.key_id,
            tags=order.tags,
            generated_tokens=self.reckoning.generated_tokens,
            delivered_tokens=self.reckoning.delivered_tokens,
            bill=self.reckoning.bill,
        )

    def degrade(self, taken: Taken) -> Taken:
        """Go on without the store; returns what was taken with the end saying so."""
        self.log.degrade()
        self._record_is_stale = True
        if taken.end is None:
            return taken
        end = msgspec.structs.replace(taken.end, durability=Durability.DEGRADED)
        return Taken(taken.segment, end, taken.has_content)
