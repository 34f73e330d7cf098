"""A consumer: follows one log at its own offset, and notices silence and a peer that takes nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Protocol, Self

import msgspec

from headrace.delivery.pace import Pace
from headrace.delivery.uptake import Peer, Uptake
from headrace.errors import StreamGone, StreamNotFound
from headrace.policy.timeouts import Timeouts
from headrace.protocol.chunk_view import tokens_in
from headrace.stream.log import StreamLog
from headrace.stream.segment import Segment
from headrace.stream.store import Store
from headrace.stream.sweep import Sweep
from headrace.types.ids import Offset
from headrace.types.outcome import Cause, End


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """What a consumer has to write next. All of it empty means: show a sign of life."""

    segments: list[Segment]
    end: End | None
    """The end of the stream; nothing follows."""


HEARTBEAT = Delivery([], None)


class Party(Protocol):
    """The request for which a consumer follows a log, as far as the consumer knows it."""

    @property
    def end(self) -> End | None:
        """Set when the request has ended before the log did."""

    @property
    def ends_at(self) -> Offset:
        """Then, the offset of that end: entries from there on are not for it."""

    delivered_tokens: int
    """Those up to the last entry that its client was given."""

    def came(self) -> None: ...

    def left(self, cause: Cause) -> None: ...


COALESCE_WAIT_S = 1.0
"""How long entries wait at most for others to be written with them, give or take a sweep."""


class ConsumerClosed(Exception):
    """The consumer was closed: its peer is gone, or was too slow. ``cause`` says which."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


class Consumer:
    """Reads one log for one peer. One task at a time may call its coroutines.

    Used as a context manager: inside it follows the log, at the end it lets go, which may stop the stream.

    Made on the event loop that runs it.

    Args:
        log: What to follow; may have ended.
        store: Where entries are read that memory no longer holds.
        position: Offset of the first entry wanted.
        peer: The connection.
        timeouts: When silence asks for a heartbeat, and how long the peer may take nothing.
        write_bytes: About how much to hand out at once.
        coalesce_tokens: How many entries to gather before any is handed out. The first content and the end do not wait.
        party: The request that this is for; None where nobody needs to know.
        pace: When which entries may go out; None: at once.
        sweep: What watches the time.
        clock: Monotonic seconds.
    """

    __slots__ = (
        "_clock",
        "_closed_by",
        "_coalesce_tokens",
        "_credit",
        "_gathering_since_s",
        "_has_content",
        "_last_sent_s",
        "_log",
        "_loop",
        "_pace",
        "_party",
        "_peer",
        "_store",
        "_sweep",
        "_timeouts",
        "_tokens",
        "_uptake",
        "_waiting",
        "_wake_at_s",
        "_write_bytes",
        "position",
    )

    def __init__(
        self,
        log: StreamLog,
        *,
        store: Store,
        position: Offset,
        peer: Peer,
        timeouts: Timeouts,
        write_bytes: int,
        sweep: Sweep,
        clock: Callable[[], float],
        coalesce_tokens: int = 1,
        party: Party | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.position = position
        self._pace = pace
        self._party = party
        self._log = log
        self._store = store
        self._peer = peer
        self._timeouts = timeouts
        self._write_bytes = write_bytes
        self._sweep = sweep
        self._clock = clock
        self._waiting: asyncio.Future[None] | None = None
        self._wake_at_s: float | None = None
        self._last_sent_s = clock()
        self._uptake = Uptake(peer, self._last_sent_s)
        self._coalesce_tokens = coalesce_tokens
        self._gathering_since_s: float | None = None
        self._has_content = False
        self._credit: int | None = None
        self._tokens = 0
        self._closed_by: Cause | None = None
        # Asking for it costs a system call on Python 3.11.
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        if self._party is not None:
            self._party.came()
        self._log.follow(self)
        self._sweep.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._sweep.discard(self)
        cause = self._closed_by or Cause.CLIENT_GONE
        party, self._party = self._party, None
        # First the request, so that the log knows who still wants it.
        if party is not None:
            party.left(cause)
        self._log.unfollow(self, cause)

    def wake(self) -> None:
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def grant(self, entries: int) -> None:
        """Let so many more entries be handed out; before the first call there is no bound. The end needs no grant."""
        self._credit = (self._credit or 0) + entries
        self.wake()

    def close(self, cause: Cause) -> None:
        """Let go of the log now. Whoever waits in this consumer gets ``ConsumerClosed``."""
        if self._closed_by is None:
            self._closed_by = cause
            self.__exit__()
            self.wake()

    async def content(self, *, within_s: float) -> None:
        """Wait until an entry that bears content, or the end, is published, but at most ``within_s``.

        Raises:
            ConsumerClosed: The consumer was closed.
        """
        until_s = self._clock() + within_s
        log = self._log
        while not log.has_published_content and log.published_end is None and self._clock() < until_s:
            if self._has_own_end:
                return
            await self._wait(until_s)

    async def ended(self, *, within_s: float) -> None:
        """Wait until the end is published, but at most ``within_s``.

        Raises:
            ConsumerClosed: The consumer was closed.
        """
        until_s = self._clock() + within_s
        while self._log.published_end is None and not self._has_own_end and self._clock() < until_s:
            await self._wait(until_s)

    @property
    def _is_ending(self) -> bool:
        return self._log.published_end is not None or self._has_own_end

    @property
    def _has_own_end(self) -> bool:
        return self._party is not None and self._party.end is not None

    async def probe(self) -> None:
        """Find out whether the entries wanted can be read, so that a response can still say so in its status.

        Raises:
            StreamGone: They are no longer kept.
            StoreError: The store could not be read.
        """
        if self._log.window(self.position, 1) is None:
            await self._read_back(max_bytes=1)

    async def next(self) -> Delivery:
        """Return what to write next, waiting for it; ``HEARTBEAT`` after ``heartbeat_s`` without anything.

        Cancelling the call loses nothing.

        Raises:
            ConsumerClosed: The consumer was closed.
            StreamGone: The entries wanted are no longer kept.
            StoreError: The store could not be read.
        """
        log = self._log
        while True:
            self._raise_if_closed()
            segments = [] if self._credit == 0 or self._is_gathering() else await self._take()
            party = self._party
            if party is not None and party.end is not None:
                end = party.end if self.position >= party.ends_at else None
            else:
                end = log.published_end if self.position >= log.published else None
            if segments or end is not None:
                return Delivery(segments, end)
            heartbeat_at_s = self._last_sent_s + self._timeouts.heartbeat_s
            if self._clock() >= heartbeat_at_s:
                return HEARTBEAT
            since_s = self._gathering_since_s
            until_s = heartbeat_at_s if since_s is None else min(heartbeat_at_s, since_s + COALESCE_WAIT_S)
            await self._wait(until_s if self._pace is None else min(until_s, self._pace_s()))

    def _pace_s(self) -> float:
        """Return when entries that are there may go out at the log's pace, in monotonic seconds; infinity when all may."""
        next_s = None if self._pace is None else self._pace.next_s(self._clock())
        return math.inf if next_s is None else next_s

    async def _take(self) -> list[Segment]:
        """Return the next entries, as many as may be handed out, and move behind them; empty when there are none."""
        segments = self._log.window(self.position, self._write_bytes)
        if segments is None:
            segments = await self._read_back(max_bytes=self._write_bytes)
        party = self._party
        if party is not None and party.end is not None:
            segments = _first_entries(segments, party.ends_at - self.position)
        if self._pace is not None:
            segments = _first_entries(segments, self._pace.reached(self._clock()) - self.position)
        if self._credit is not None:
            segments = _first_entries(segments, self._credit)
            self._credit -= sum(segment.count for segment in segments)
        if segments:
            self._tokens = _tokens_behind(segments, self._tokens)
            self.position = segments[-1].next
            self._has_content = self._log.has_published_content
        return segments

    def _is_gathering(self) -> bool:
        """Return whether what is there waits for more, to be written with it."""
        log = self._log
        waiting = log.published - self.position
        is_first_content = log.has_published_content and not self._has_content
        if not 0 < waiting < self._coalesce_tokens or is_first_content or self._is_ending:
            self._gathering_since_s = None
            return False
        now_s = self._clock()
        if self._gathering_since_s is None:
            self._gathering_since_s = now_s
        if now_s < self._gathering_since_s + COALESCE_WAIT_S:
            return True
        self._gathering_since_s = None
        return False

    def sent(self, written_bytes: int) -> None:
        """Note that all that was handed out was written to the peer, in so many bytes."""
        self._last_sent_s = self._clock()
        self._uptake.written_bytes += written_bytes
        self._log.delivered(self._tokens)
        party = self._party
        if party is not None and self._tokens > party.delivered_tokens:
            party.delivered_tokens = self._tokens

    def held(self) -> None:
        """Note that what was handed out waits for more before it is written: the peer's silence is no fault of its own."""
        self._last_sent_s = self._clock()

    def expire(self, now_s: float) -> None:
        """Wake whoever waits for a time, and drop a peer that takes nothing of what waits for it."""
        if self._wake_at_s is not None and now_s >= self._wake_at_s:
            self.wake()
        if self._uptake.stuck_s(now_s) >= self._timeouts.slow_client_s:
            self.close(Cause.SLOW_CLIENT)
            self._peer.abort()

    async def _wait(self, until_s: float) -> None:
        self._raise_if_closed()
        self._wake_at_s = until_s
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None
            self._wake_at_s = None
        self._raise_if_closed()

    async def _read_back(self, *, max_bytes: int) -> list[Segment]:
        """Read what memory no longer holds from the store."""
        after = Offset(self.position - 1)
        try:
            segments = await self._store.read(self._log.stream_id, after=after, max_bytes=max_bytes)
        except StreamNotFound:
            # The store was down when the stream began. There is a stream: what it said so far is gone.
            segments = []
        if not segments:
            raise StreamGone(f"entries from offset {self.position} on are no longer kept", param="after")
        # For a request that has ended alone the log is shorter than what the store has.
        return _first_entries(segments, self._log.published - self.position)

    def _raise_if_closed(self) -> None:
        if self._closed_by is not None:
            raise ConsumerClosed(self._closed_by)


def _tokens_behind(segments: list[Segment], before: int) -> int:
    """Return how many tokens the log has up to the end of some segments, ``before`` of them before the first."""
    for segment in segments:
        before = segment.tokens if segment.tokens is not None else before + tokens_in(segment.data)
    return before


def _first_entries(segments: list[Segment], count: int) -> list[Segment]:
    """Return the first ``count`` entries of some segments."""
    kept: list[Segment] = []
    for segment in segments:
        if count <= 0:
            break
        kept.append(segment.first_entries(count))
        count -= kept[-1].count
    return kept
