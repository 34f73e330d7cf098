"""One script played in process, as a good adapter in front of the simulator would show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from headrace.engines.scripted.chunks import SENT_AT, stamp
from headrace.engines.scripted.steps import Burst, Chunk, Close, Comment, Head, Huge, Reply, Step
from headrace.engines.scripted.timetable import EPSILON_MS, TimeSource, Timetable
from headrace.types.chunk import Chunks, ChunkView
from headrace.types.engine import EngineEnd
from headrace.types.outcome import Cause

READ_BYTES = 64 * 1024
"""Upper bound on one read, give or take one step."""

_VIEWS = msgspec.json.Decoder(ChunkView)


class _ErrorObject(msgspec.Struct):
    """OpenAI's error object."""

    message: str | None = None
    type: str | None = None
    code: str | None = None
    param: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _ErrorObject


class ScriptedGeneration:
    """Plays steps. They are taken when they are read, so nothing is buffered and nothing is lost."""

    def __init__(
        self,
        steps: Iterator[Step],
        *,
        source: TimeSource,
        timetable: Timetable,
        max_event_bytes: int,
        on_over: Callable[[ScriptedGeneration], None],
    ) -> None:
        """Begin.

        Args:
            steps: The answer; its times count from now.
            source: The clock.
            timetable: Wakes this generation, on the same clock.
            max_event_bytes: A longer event ends the generation.
            on_over: Called once, when it ends or is aborted.
        """
        self._steps = steps
        self._source = source
        self._timetable = timetable
        self._max_event_bytes = max_event_bytes
        self._on_over = on_over
        self._started_s = source.monotonic()
        self._on_ready: Callable[[], None] | None = None
        self._next: Step | None = next(steps, None)
        self._is_waiting = False
        self._is_over = False
        self._is_accepted = False
        self._is_saturated = False
        self._malformed_chunks = 0
        self._end: EngineEnd | None = None
        self._last_event: tuple[int, bytes] | None = None
        self._lines: list[bytes] = []
        self._views: list[ChunkView] = []
        self._line_bytes = 0

    @property
    def is_accepted(self) -> bool:
        return self._is_accepted

    @property
    def end(self) -> EngineEnd | None:
        return self._end

    @property
    def malformed_chunks(self) -> int:
        return self._malformed_chunks

    @property
    def is_saturated(self) -> bool:
        return self._is_saturated

    def read(self, most_bytes: int | None = None) -> Chunks | None:
        """Return what is due by now and was not read yet."""
        if self._is_over:
            return None
        self._is_saturated = False
        enough_bytes = READ_BYTES if most_bytes is None else most_bytes
        while self._is_due():
            if self._line_bytes >= enough_bytes:
                self._is_saturated = True
                break
            self._take()
        lines, views = self._lines, self._views
        self._lines, self._views, self._line_bytes = [], [], 0
        if self._end is not None:
            self._stop()
        else:
            self._wait()
        return Chunks(b"\n".join(lines), views) if lines else None

    def watch(self, on_ready: Callable[[], None] | None) -> None:
        self._on_ready = on_ready
        self._wait()

    def abort(self) -> None:
        if not self._is_over:
            self._stop()

    def _stop(self) -> None:
        self._is_over = True
        self._on_ready = self._next = None
        self._steps = iter(())
        self._on_over(self)

    def _now_ms(self) -> float:
        return (self._source.monotonic() - self._started_s) * 1000 + EPSILON_MS

    def _is_due(self) -> bool:
        return self._next is not None and self._next.due_ms <= self._now_ms()

    def _wait(self) -> None:
        if self._on_ready is not None and self._next is not None and not self._is_waiting:
            self._is_waiting = True
            self._timetable.at(self._started_s + self._next.due_ms / 1000, self._wake)

    def _wake(self) -> None:
        """Call who watches, unless all that is due is comments, which are no progress."""
        self._is_waiting = False
        was_accepted = self._is_accepted
        while isinstance(self._next, Head | Comment) and self._is_due():
            self._take()
        is_news = self._is_due() or self._is_accepted != was_accepted
        if is_news and self._on_ready is not None:
            self._on_ready()
        if not self._is_due():
            self._wait()

    def _take(self) -> None:
        """Take one step into what the next read returns."""
        match self._next:
            case Chunk(data=data, event_id=event_id):
                if event_id is None or (event_id, data) != self._last_event:
                    self._add(data)
                self._last_event = None if event_id is None else (event_id, data)
            case Burst(chunks=chunks):
                for data in chunks:
                    self._add(data)
            case Huge(before=before, fill_bytes=fill_bytes, after=after):
                self._add_huge(before, fill_bytes, after)
            case Head():
                self._is_accepted = True
            case Reply() as reply:
                self._end = _end_of(reply)
            case Close(cause=cause, message=message) if self._end is None:
                self._end = EngineEnd(cause=cause, message=message)
            case _:
                pass
        self._next = next(self._steps, None) if self._end is None else None

    def _add(self, data: bytes) -> None:
        if len(data) > self._max_event_bytes:
            self._end_too_large()
            return
        data = data.replace(SENT_AT, stamp(self._source.monotonic()))
        try:
            view = _VIEWS.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._malformed_chunks += 1
            return
        self._lines.append(data)
        self._views.append(view)
        self._line_bytes += len(data)

    def _add_huge(self, before: bytes, fill_bytes: int, after: bytes) -> None:
        if fill_bytes > self._max_event_bytes:
            self._end_too_large()
        else:
            self._add(before + b"x" * fill_bytes + after)

    def _end_too_large(self) -> None:
        message = f"the engine sent an event over {self._max_event_bytes} bytes"
        self._end = EngineEnd(cause=Cause.EVENT_TOO_LARGE, message=message)


def _end_of(reply: Reply) -> EngineEnd:
    """Return what a response that is no stream means."""
    if reply.status < 300:
        message = "the engine did not answer with a stream"
        return EngineEnd(cause=Cause.UPSTREAM_PROTOCOL, message=message, upstream_status=reply.status)
    if reply.status < 400:
        message = f"the engine answered with a redirect ({reply.status}), which is not followed"
        return EngineEnd(cause=Cause.UPSTREAM_REJECTED, message=message, status=502, upstream_status=reply.status)
    try:
        error = msgspec.json.decode(reply.body, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = _ErrorObject()
    return EngineEnd(
        cause=Cause.UPSTREAM_REJECTED,
        message=error.message or f"the engine answered with status {reply.status}",
        status=reply.status,
        upstream_status=reply.status,
        retry_after_s=_seconds(dict(reply.headers).get("retry-after")),
        error_type=error.type,
        error_code=error.code,
        error_param=error.param,
    )


def _seconds(retry_after: str | None) -> float | None:
    """Return ``Retry-After`` when it is a number; a date would need a wall clock."""
    try:
        return None if retry_after is None else float(retry_after)
    except ValueError:
        return None
