"""One stream as a client follows it, without I/O: told what happened, it says what to do next.

A driver asks ``next_step``, does it, tells what came of it by one of the ``receive_`` methods, and asks again. The methods
belong to the driver's thread; ``request_stop`` and ``confirm_stop`` may come from any. Once it is over, nothing changes any
more: another task may have left the stream while one was waiting for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec

from headrace.client.answer import Answer
from headrace.client.backoff import Backoff
from headrace.client.blame import error_object, error_of_end
from headrace.client.ending import Ending, ending_of_error
from headrace.client.entry import Entry, bears_content
from headrace.client.failure import NEXT, Failure, Next, Phase, failure_of_answer
from headrace.client.patience import Patience
from headrace.client.result import Result
from headrace.client.stopwatch import Stopwatch
from headrace.client.transcript import Transcript
from headrace.client.transport import Request
from headrace.client.wire import NDJSON, SSE, Body, ChatEvents, ChatLines, Chunk, Ended, EventLines, Item, Unreadable
from headrace.errors import ConnectionLost, RelayError, StreamNotFound, UpstreamProtocolError
from headrace.protocol.errors import MAX_BODY_BYTES
from headrace.types.outcome import Cause, State

MAX_STARTS = 3
"""How often a request is sent that may have arrived: a server that is no Headrace would answer each of them."""


class Send(msgspec.Struct, frozen=True):
    """Send a request, then ``receive_head``."""

    request: Request


class Read(msgspec.Struct, frozen=True):
    """Read of the body what has come, then ``receive_data`` or ``receive_eof``."""


class ReadRefusal(msgspec.Struct, frozen=True):
    """Read the beginning of the body, then ``receive_refusal``."""

    limit_bytes: int = MAX_BODY_BYTES


class Wait(msgspec.Struct, frozen=True):
    """Wait ``seconds``, or until a stop is asked for, then ``receive_wake``."""

    seconds: float


class Over(msgspec.Struct, frozen=True):
    """Nothing more comes."""


Step = Send | Read | ReadRefusal | Wait | Over


class Session:
    """Follows one stream over as many connections as it takes.

    Args:
        start: The request that starts the stream; None attaches to one.
        events: Returns the request for what follows an offset.
        stream_id: The stream's id, as this client proposes it.
        transcript: Where entries are collected.
        patience: How long to try.
        clock: Monotonic seconds.
        random: Numbers from 0 up to 1, for the backoff.
    """

    def __init__(
        self,
        *,
        start: Request | None,
        events: Callable[[int], Request],
        stream_id: str,
        transcript: Transcript,
        patience: Patience,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.error: RelayError | None = None
        """Why it ended, when that is no whole answer and nobody here wanted it; carries the result."""
        self._start = start
        self._events = events
        self._stream_id: str | None = stream_id
        self._transcript = transcript
        self._patience = patience
        self._clock = clock
        self._backoff = Backoff(random)
        self._stopwatch = Stopwatch(clock)
        self._phase = Phase.ATTACHING if start is None else Phase.ASKING
        self._step: Step = Send(self._request(Next.RESUME if start is None else Next.START))
        self._then = self._step
        """What comes after a wait."""
        self._body: Body | None = None
        self._head: tuple[int, Mapping[str, str]] = (0, {})
        """Status and headers of the answer that is being read."""
        self._was_sent = False
        self._starts = 1
        self._trying_since_s: float | None = None
        """Since when nothing has come; None while something does."""
        self._is_broken = False
        self._reconnects = 0
        self._ending: Ending | None = None
        self._stop_wanted = False
        self._stop_confirmed = False
        self._stop_is_due = False

    # --- how it stands

    @property
    def is_over(self) -> bool:
        """Nothing more comes."""
        return isinstance(self._step, Over)

    @property
    def has_begun(self) -> bool:
        """The server has answered with the stream, or it is over."""
        return self._phase in {Phase.FOLLOWING, Phase.PLAIN} or self.is_over

    @property
    def needs_body(self) -> bool:
        """The answer under way is not read to its end."""
        return isinstance(self._step, Read | ReadRefusal)

    @property
    def is_plain(self) -> bool:
        """The server is no Headrace."""
        return self._phase is Phase.PLAIN

    @property
    def may_run(self) -> bool:
        """The stream may be running on a relay that can be told to stop it."""
        is_out_of_reach = self.is_plain or isinstance(self.error, ConnectionLost | StreamNotFound)
        return self._was_sent and self._ending is None and not self._stop_confirmed and not is_out_of_reach

    @property
    def stream_id(self) -> str | None:
        """The stream's id; None when the server is no Headrace."""
        return self._stream_id

    def result(self) -> Result:
        """Return what is known by now."""
        transcript, ending = self._transcript, self._ending
        usage = (ending.usage if ending else None) or transcript.usage
        tokens = (usage or {}).get("completion_tokens")
        return Result(
            text=transcript.text,
            state=ending.state if ending else State.IN_PROGRESS,
            cause=str(ending.cause) if ending and ending.cause else None,
            finish_reason=(ending.finish_reason if ending else None) or transcript.finish_reason,
            usage=usage,
            tool_calls=transcript.tool_calls,
            stream_id=self._stream_id,
            last_offset=transcript.last_offset,
            ttft_s=self._stopwatch.ttft_s(),
            tpot_s=self._stopwatch.tpot_s(tokens if type(tokens) is int else None),
            duration_s=self._stopwatch.duration_s(),
            reconnects=self._reconnects,
            message=self.error.message if self.error else None,
        )

    # --- what to do

    def next_step(self) -> Step:
        """Return what to do now; doing it ends with a call of the method that the step names."""
        if self._stop_wanted and (self.is_plain or not self._was_sent) and not self.is_over:
            self._finish(_STOPPED)
        if isinstance(self._step, Send):
            self._was_sent = True
            self._stopwatch.start()
            if self._trying_since_s is None:
                self._trying_since_s = self._clock()
        return self._step

    def take_due_stop(self) -> bool:
        """Return whether the relay is to be told now that the stream is not wanted; True once for each reason."""
        is_due = self._stop_is_due and not self._stop_confirmed and self._phase is Phase.FOLLOWING and not self.is_over
        if is_due:
            self._stop_is_due = False
        return is_due

    # --- what happened

    def receive_head(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer has come."""
        if self.is_over:
            return
        is_start = self._is_starting
        self._head = (status, headers)
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        body = _body_of(content_type, is_start=is_start) if status == 200 else None
        if body is None:
            self._step = ReadRefusal()
            return
        self._body = body
        self._step = Read()
        if is_start and headers.get("headrace-stream-id") is None:
            self._phase, self._stream_id = Phase.PLAIN, None
        else:
            self._phase = Phase.FOLLOWING
        if self._is_broken:
            self._is_broken = False
            self._reconnects += 1
        else:
            self._trying_since_s = None
        self._stop_is_due = self._stop_wanted

    def receive_refusal(self, body: bytes) -> None:
        """The body of an answer that is no stream has come."""
        answer = Answer(*self._head, body)
        told = error_object(body)
        ending = ending_of_error(told) if told is not None else None
        failure = failure_of_answer(answer.status, has_error=told is not None, had_stream=ending is not None)
        error = answer.error or UpstreamProtocolError("the server answered, but not with a stream")
        self._meet(failure, error, ending=ending)

    def receive_data(self, data: bytes) -> list[Entry]:
        """Some of the body has come; returns the entries that are new."""
        if data:
            self._trying_since_s = None
        return self._take(self._body.receive_data(data)) if self._body and not self.is_over else []

    def receive_eof(self) -> list[Entry]:
        """The body has ended in an orderly way."""
        entries = self._take(self._body.receive_eof()) if self._body and not self.is_over else []
        if not self.is_over:
            self.receive_failure(Failure.BROKEN, ConnectionError("the answer ended without its end"))
        return entries

    def receive_failure(self, failure: Failure, reason: Exception) -> None:
        """There is no answer, or no more of it.

        Args:
            failure: ``UNREACHED`` or ``BROKEN``.
            reason: For people, and as the cause of the error that may come of it.
        """
        self._meet(failure, ConnectionLost(str(reason)), reason=reason)

    def receive_wake(self) -> None:
        """The wait is over."""
        if self.is_over:
            return
        self._step = self._then
        if self._stop_wanted and self._is_starting:
            self._finish(_STOPPED)

    def request_stop(self) -> bool:
        """Note that the stream is not wanted any more; returns whether its relay is to be told."""
        self._stop_wanted = True
        return self.may_run and not self.is_over

    def confirm_stop(self) -> None:
        """The relay has been told."""
        self._stop_confirmed = True

    def leave(self) -> None:
        """Follow no further."""
        if not self.is_over:
            is_stopped = self._stop_confirmed or self.is_plain or not self._was_sent
            self._ending = _STOPPED if is_stopped else None
            self._stopwatch.end()
            self._step = Over()

    # --- inside

    @property
    def _is_starting(self) -> bool:
        """The request under way, or the next one, is the one that starts the stream."""
        return self._start is not None and self._then == Send(self._start)

    def _request(self, step: Next) -> Request:
        if step is Next.START and self._start is not None:
            return self._start
        return self._events(self._transcript.last_offset)

    def _take(self, items: list[Item]) -> list[Entry]:
        entries: list[Entry] = []
        for item in items:
            try:
                entry = self._take_one(item)
            except UpstreamProtocolError as error:
                self._fail(error)
                entry = None
            if entry is not None:
                entries.append(entry)
            if self.is_over:
                break
        return entries

    def _take_one(self, item: Item) -> Entry | None:
        match item:
            case Chunk(offset, chunk):
                entry = self._transcript.add(offset, chunk)
                if entry is not None:
                    self._backoff.reset()
                    if bears_content(chunk):
                        self._stopwatch.content()
                return entry
            case Ended(offset, ending):
                if offset is not None:
                    self._transcript.check_next(offset)
                self._finish(ending)
            case Unreadable():
                self._fail(item.error, item.ending or (self._cut(item.error) if self.is_plain else None))
            case _:
                assert_never(item)
        return None

    def _meet(
        self, failure: Failure, error: RelayError, *, ending: Ending | None = None, reason: Exception | None = None
    ) -> None:
        """Do what the table says about a failure."""
        if self.is_over:
            return
        self._is_broken = True
        step = NEXT[self._phase][failure]
        if failure is Failure.TAKEN and step is Next.RESUME:
            self._phase = Phase.FOLLOWING
        elif step is Next.RESUME and self._phase in {Phase.ASKING, Phase.ASKING_AGAIN}:
            self._phase = Phase.UNSURE
        elif step is Next.START and self._phase is Phase.UNSURE:
            self._phase = Phase.ASKING_AGAIN
            self._starts += 1
        wait_s = self._backoff.next_s(at_least_s=error.retry_after_s)
        if self.is_plain:
            self._finish(_STOPPED if self._stop_wanted else self._cut(error))
        elif step is Next.GIVE_UP:
            self._fail(error, ending or self._refused())
        elif self._stop_wanted and step is Next.START:
            self._finish(_STOPPED)
        elif self._starts > MAX_STARTS or self._waited_s() + wait_s > self._limit_s():
            self._lose(failure, error, reason)
        else:
            self._then = Send(self._request(step))
            self._step = Wait(wait_s)

    def _waited_s(self) -> float:
        """Return for how long nothing has come."""
        if self._trying_since_s is None:
            self._trying_since_s = self._clock()
        return self._clock() - self._trying_since_s

    def _limit_s(self) -> float:
        is_unstarted = self._phase in {Phase.ASKING, Phase.ATTACHING}
        return self._patience.start_for_s if is_unstarted else self._patience.resume_for_s

    def _lose(self, failure: Failure, error: RelayError, reason: Exception | None) -> None:
        """Give up what has been tried long enough."""
        if self._stop_confirmed:
            self._finish(_STOPPED)
        elif failure in {Failure.BUSY, Failure.FAULT}:
            self._fail(error, self._refused())
        else:
            lost = ConnectionLost(f"the connection is lost: {error.message}")
            lost.__cause__ = reason or error
            self._fail(lost, None)

    def _cut(self, error: RelayError) -> Ending:
        """Return the end of a stream that nobody can resume."""
        state = State.FAILED if self._stopwatch.ttft_s() is None else State.TRUNCATED
        return Ending(state=state, cause=Cause.UPSTREAM_CLOSED, message=error.message)

    def _refused(self) -> Ending | None:
        """Return the end of a request that was refused; None when there is a stream, whose end is not known."""
        is_unstarted = self._phase in {Phase.ASKING, Phase.ASKING_AGAIN}
        return Ending(state=State.FAILED, cause=None) if is_unstarted else None

    def _finish(self, ending: Ending) -> None:
        is_wanted = self._stop_wanted and ending.state is State.CANCELLED
        self._end(ending, None if is_wanted else error_of_end(ending))

    def _fail(self, error: RelayError, ending: Ending | None = None) -> None:
        is_wanted = self._stop_wanted and ending is not None and ending.state is State.CANCELLED
        self._end(ending, None if is_wanted else error)

    def _end(self, ending: Ending | None, error: RelayError | None) -> None:
        self._ending = ending
        self._stopwatch.end()
        self._step = Over()
        self.error = error
        if error is not None:
            error.result = self.result()


_STOPPED = Ending(state=State.CANCELLED, cause=Cause.CLIENT_STOP)


def _body_of(content_type: str, *, is_start: bool) -> Body | None:
    if content_type in {NDJSON, "application/ndjson"}:
        return ChatLines() if is_start else EventLines()
    return ChatEvents() if is_start and content_type == SSE else None
