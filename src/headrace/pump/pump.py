"""The pump: moves one generation into one log, and decides how the stream ends.

A pump is no task. It is called: by the generation when something arrived (until the first content), by the tick
(after it), by the sweep when time has passed, and by whoever stops it. Every call is short and never blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from headrace.errors import RelayError
from headrace.policy.limits import Limits
from headrace.policy.timeouts import Timeouts
from headrace.protocol.chunk_view import without_running_usage
from headrace.pump.attempts import Attempts
from headrace.pump.charge import Charge
from headrace.pump.clocks import Clocks
from headrace.pump.course import Break, Course, Step
from headrace.pump.order import Order
from headrace.pump.parties import Parties
from headrace.pump.party import Party
from headrace.pump.reckoning import Reckoning
from headrace.pump.rows import record_of_party, record_of_stream
from headrace.pump.spliced import SplicedGeneration
from headrace.pump.tally import Tally, end_of_error_event, usage_chunk
from headrace.stream.log import StreamLog, Taken
from headrace.stream.state import CAUSES
from headrace.stream.store import Opening
from headrace.types.attempt import Attempt
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

EARLY_S = 0.001
"""The event loop's timers are as coarse as this."""

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

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back after so many seconds."""

    @property
    def is_immediate(self) -> bool:
        """Whether every token goes out at once, without a tick."""

    @property
    def is_behind(self) -> bool:
        """Whether the store cannot follow, so that a flood must wait for the next tick."""


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
        course: Whom it asks, and what follows an attempt that failed.
    """

    __slots__ = (
        "_awaits_first",
        "_charge",
        "_clocks",
        "_course",
        "_first_line",
        "_generation",
        "_has_noted_first",
        "_hot_bytes",
        "_is_hot",
        "_is_memory_only",
        "_is_paused",
        "_is_ticking",
        "_left_s",
        "_limits",
        "_linger_until_s",
        "_longest_gap_s",
        "_malformed",
        "_on_end",
        "_on_malformed",
        "_progress_s",
        "_received_bytes",
        "_record_is_stale",
        "_scheduler",
        "_step",
        "_step_due_s",
        "_tally",
        "_timeouts",
        "_why_over",
        "accepted_at",
        "accepted_s",
        "attempts",
        "ended_at",
        "first_content_at",
        "first_content_s",
        "is_opened",
        "log",
        "order",
        "parties",
        "reckoning",
    )

    def __init__(
        self,
        order: Order,
        log: StreamLog,
        *,
        course: Course,
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
        self._course = course
        self._step: Step | None = None
        self._step_due_s = 0.0
        self._awaits_first = True
        self._longest_gap_s = 0.0
        self._malformed = 0
        self.attempts = Attempts(course.engine_name, course.target.model, started_at=self.accepted_at)
        self._tally = Tally(
            choices=order.choices,
            prompt_bytes=len(order.engine_request.body),
            keeps_text=course.keeps_text,
        )
        self.reckoning = Reckoning(order.request_id, log, self._tally, self._charge)
        self._first_line: bytes | None = None
        self._progress_s = self.accepted_s
        self._left_s = self.accepted_s
        self._linger_until_s: float | None = None
        self._is_ticking = False
        self._is_hot = False
        self._is_paused = False
        self._hot_bytes = 0
        self._received_bytes = 0
        self._record_is_stale = True
        self._has_noted_first = False
        self.parties = Parties(
            Party(order.requester, accepted_at=self.accepted_at),
            monotonic_s=clocks.monotonic_s,
            wall_time=clocks.wall_time,
            published=lambda: log.published,
            stop=self.stop,
            changed=self._party_changed,
        )
        """The requests that want the log."""
        log.on_followers = self._followers_changed

    def begin(self) -> None:
        """Start the first attempt.

        Raises:
            RelayError: No engine took anything; there is no stream.
        """
        course, first = self._course, self._course.target
        self._generation = course.begin(self.ready)
        if course.target is not first:
            self.attempts = Attempts(course.engine_name, course.target.model, started_at=self.accepted_at)
            self._charge.next_part(course.quote_of(course.target), keeps_last=False)
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
        awaited_first = self._awaits_first
        if chunks is not None:
            self._receive(chunks, now_s)
        over = self._over(generation) if log.end is None else None
        if over is not None:
            self._fail(over, now_s)
        if log.has_untaken:
            if (awaited_first and not self._awaits_first) or log.end is not None or self._scheduler.is_immediate:
                self._scheduler.rush(self)
            else:
                self._scheduler.mark(self)
        if not self._awaits_first and not self._is_ticking and log.end is None and not self._scheduler.is_immediate:
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
        awaited_first = self._awaits_first
        # With about what frames each of them on its way.
        self._received_bytes += len(chunks.data) + FRAME_BYTES * len(chunks.views)
        if tally.count(chunks):
            data, count = chunks.data, len(chunks.views)
        else:
            # Usage of one attempt among several is no usage of the answer.
            data, count = tally.without_ours(chunks, wants_usage=self.order.wants_usage and not tally.parts)
        if self.order.hides_running_usage or tally.parts:
            data = without_running_usage(data)
        tokens = tally.tokens - tokens_before
        if tokens:
            self._progress(tokens, now_s)
        if count:
            if self._first_line is None or (awaited_first and not self._awaits_first):
                # Also of later attempts, which are the same answer but for the model.
                self._first_line = data.split(b"\n", 1)[0]
            self.log.append(data, count, tokens=tokens)
            self._watch_rate(len(data))

    def _progress(self, tokens: int, now_s: float) -> None:
        """Note that the answer has grown."""
        if self._awaits_first:
            self._awaits_first = False
            self._answered(now_s)
        else:
            gap_s = now_s - self._progress_s
            if gap_s > self._longest_gap_s:  # noqa: PLR1730 (the built-in costs as much as all of this)
                self._longest_gap_s = gap_s
            if not self._has_noted_first:
                # Not with the first content itself: its commit is what a client waits for.
                self._has_noted_first = self._record_is_stale = True
        self._progress_s = now_s
        self._why_over = self._charge.spend(tokens, now_s)

    def _answered(self, now_s: float) -> None:
        """Note the first content of an attempt."""
        at = self._clocks.wall_time()
        if self.first_content_at is None:
            self.first_content_at = at
            self.first_content_s = now_s
        self._course.answered(now_s)
        self.attempts.answered(at=at, offset=self.log.appended)

    def _watch_rate(self, received_bytes: int) -> None:
        self._hot_bytes += received_bytes
        if self._is_ticking and not self._is_hot and self._hot_bytes >= HOT_BYTES and self._generation is not None:
            self._is_hot = True
            self._generation.watch(self.ready)

    # --- other attempts

    def _fail(self, end: EngineEnd, now_s: float) -> None:
        """The attempt is over: leave it for another one, or end the stream."""
        if self._tally.is_whole or self._why_over is not None:
            self._finish(end)
            return
        step = self._course.after(self._break(end), now_s)
        if step is None:
            if len(self.attempts) > 1:
                self._note_failed(end)
            self._finish(self._course.last_word(end))
            return
        self._leave(end, now_s)
        self._step = step
        self._step_due_s = now_s + step.wait_s
        if step.wait_s <= 0:
            self._take_step(step, now_s)
        else:
            self._scheduler.call_later(step.wait_s, self._look_at_step)

    def _look_at_step(self) -> None:
        """Begin the attempt that is waited for when its time has come, unless the stream has ended meanwhile."""
        if self._step is None:
            return
        now_s = self._clocks.monotonic_s()
        left_s = self._step_due_s - now_s
        if left_s <= 0:
            self._take_step(self._step, now_s)
        else:
            # A loop counts from the beginning of its round; or the timer was that of an attempt before.
            self._scheduler.call_later(left_s + EARLY_S, self._look_at_step)

    def _break(self, end: EngineEnd) -> Break:
        tally = self._tally
        return Break(
            end=end,
            has_content=self.log.has_content,
            is_plain=tally.is_plain,
            text=tally.text,
            tokens=tally.tokens,
            first_line=self._first_line,
            roles=tally.roles,
        )

    def _leave(self, end: EngineEnd, now_s: float) -> None:
        """Let go of the generation of an attempt that has failed."""
        generation, self._generation = self._generation, None
        if generation is not None:
            self._note_last(generation)
            generation.abort()
        self._note_failed(end)
        self._scheduler.leave(self)
        self._is_ticking = self._is_hot = self._is_paused = False
        self._awaits_first = self._record_is_stale = True
        self._progress_s = self._left_s = now_s

    def _note_failed(self, end: EngineEnd) -> None:
        self.attempts.failed(end, self._tally.part, self._charge.quote, at=self._clocks.wall_time())

    def _note_last(self, generation: Generation) -> None:
        """Take note of what is known of a generation only once nothing more is read of it."""
        self._malformed += generation.malformed_chunks
        if isinstance(generation, SplicedGeneration):
            self._tally.unlogged_tokens += generation.dropped_tokens

    def _take_step(self, step: Step, now_s: float) -> None:
        """Begin the next attempt."""
        course = self._course
        self._step = None
        has_answered = self._tally.next_part(prompt_bytes=len(step.request.body))
        self._charge.next_part(course.quote_of(step.target), keeps_last=has_answered)
        at, target = self._clocks.wall_time(), step.target
        waited_s = now_s - self._left_s
        self.attempts.next(target.engine, step.request.model, step.kind, at=at, waited_s=waited_s)
        self._progress_s = now_s
        self._record_is_stale = True
        self._scheduler.mark(self)
        try:
            self._generation = course.start(step, self.ready)
        except RelayError as error:
            self._fail(_end_of_refusal(error), now_s)

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
        was_accepted = self._was_accepted
        lacks_usage = not tally.has_usage or bool(tally.parts)
        generation, self._generation = self._generation, None
        self._step = None
        if generation is not None:
            self.reckoning.let_go(generation, state, cause)
            self._note_last(generation)
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
                malformed_chunks=self._malformed,
                durability=log.durability,
                retry_after_s=source.retry_after_s,
                error_type=source.error_type,
                error_code=source.error_code,
                error_param=source.error_param,
            )
        )
        now_s = self._clocks.monotonic_s()
        self.reckoning.end(now_s, was_accepted=was_accepted)
        self.parties.end()
        self._course.over(state, self._longest_gap_s, now_s)
        self._on_end(self)

    @property
    def _was_accepted(self) -> bool:
        """Whether the engine that was asked last works, or worked, on the request."""
        if len(self.attempts) == 1:
            return self.log.state is State.IN_PROGRESS
        generation = self._generation
        return self._tally.part.tokens > 0 or (generation is not None and generation.is_accepted)

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
        elif self._step is None:
            self._expire_engine(now_s, silent_s, running_s)
        if self.parties.has_joined:
            self.parties.expire(now_s)

    def _expire_engine(self, now_s: float, silent_s: float, running_s: float) -> None:
        """Leave an engine that says nothing."""
        times = self._timeouts
        if not self.log.has_content:
            if running_s >= times.first_token_s:
                self._give_up(
                    Cause.FIRST_TOKEN_TIMEOUT, f"no content within first_token = {times.first_token_s:g} s", now_s
                )
            elif self._course.leaves_silence(now_s):
                self._give_up(Cause.FIRST_TOKEN_TIMEOUT, "no content within the time that silence is waited for", now_s)
        elif silent_s >= (min(FINISH_GRACE_S, times.idle_s) if self._tally.is_whole else times.idle_s):
            self._give_up(Cause.UPSTREAM_STALLED, f"no content for idle = {times.idle_s:g} s", now_s)

    def _give_up(self, cause: Cause, message: str, now_s: float) -> None:
        self._fail(EngineEnd(cause=cause, message=message), now_s)
        self._scheduler.rush(self)

    def _followers_changed(self, left_because: Cause | None) -> None:
        if self.log.end is not None:
            return
        if self.log.followers and self.parties.are_followed:
            self._linger_until_s = None
            return
        self._linger_until_s = self.parties.linger_until_s()
        if self._linger_until_s is None:
            self.stop(left_because or Cause.CLIENT_GONE)

    def _party_changed(self, party: Party) -> None:
        """A request has joined, or has ended alone: its record changes, and its consumers must know."""
        if party is self.parties.first:
            self._record_is_stale = True
        if not party.is_open:
            if party.followers:
                for follower in tuple(self.log.followers):
                    follower.wake()
            if not self.parties.are_followed:
                self._linger_until_s = self.parties.linger_until_s()
        self._scheduler.mark(self)

    @property
    def is_filtered(self) -> bool:
        """Whether a filter of the engine's has ended any choice."""
        return self._tally.is_filtered

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

    def take_joined_records(self) -> list[Record]:
        """Return the records of requests that joined and have changed since the last call."""
        whole = self._whole_record()
        return [record_of_party(whole, party, self) for party in self.parties.take_stale()]

    def record(self) -> Record:
        """Return the row of the request that began the stream, as it stands."""
        return self.record_of(self.parties.first)

    def record_of(self, party: Party) -> Record:
        """Return the row of one request, as it stands."""
        return record_of_party(self._whole_record(), party, self)

    def _whole_record(self) -> Record:
        """Return the row of the request that began the stream, as if it was the only one."""
        tally = self._tally
        usage, tokens_source = tally.usage()
        end = self.log.end
        attempts: list[Attempt] = []
        if len(self.attempts) > 1:
            cause = None if end is None else end.cause
            attempts = self.attempts.rows(tally.part, self._charge.quote, ended_at=self.ended_at, cause=cause)
        return record_of_stream(
            self,
            usage=usage,
            tokens_source=tokens_source,
            finish_reason=tally.finish_reason,
            attempts=attempts,
            retry_budget_s=self._course.budget_s,
        )

    def degrade(self, taken: Taken) -> Taken:
        """Go on without the store; returns what was taken with the end saying so."""
        self.log.degrade()
        self._record_is_stale = True
        if taken.end is None:
            return taken
        end = msgspec.structs.replace(taken.end, durability=Durability.DEGRADED)
        return Taken(taken.segment, end, taken.has_content)


def _end_of_refusal(error: RelayError) -> EngineEnd:
    """Return the end of an attempt that an engine did not even begin."""
    return EngineEnd(
        cause=Cause.UPSTREAM_REJECTED,
        message=error.message,
        status=error.status,
        upstream_status=error.status,
        retry_after_s=error.retry_after_s,
        error_type=error.type,
        error_code=error.code,
        error_param=error.param,
    )
