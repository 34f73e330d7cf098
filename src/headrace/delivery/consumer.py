"""A consumer: follows one log at its own offset, and notices silence and a peer that takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

import msgspec

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
    ) -> None:
        self.position = position
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
        self._log.follow(self)
        self._sweep.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._sweep.discard(self)
        self._log.unfollow(self, self._closed_by or Cause.CLIENT_GONE)

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
            await self._wait(until_s)

    async def ended(self, *, within_s: float) -> None:
        """Wait until the end is published, but at most ``within_s``.

        Raises:
            ConsumerClosed: The consumer was closed.
        """
        until_s = self._clock() + within_s
        while self._log.published_end is None and self._clock() < until_s:
            await self._wait(until_s)

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
            end = log.published_end if self.position >= log.published else None
            if segments or end is not None:
                return Delivery(segments, end)
            heartbeat_at_s = self._last_sent_s + self._timeouts.heartbeat_s
            if self._clock() >= heartbeat_at_s:
                return HEARTBEAT
            since_s = self._gathering_since_s
            await self._wait(heartbeat_at_s if since_s is None else min(heartbeat_at_s, since_s + COALESCE_WAIT_S))

    async def _take(self) -> list[Segment]:
        """Return the next entries, as many as may be handed out, and move behind them; empty when there are none."""
        segments = self._log.window(self.position, self._write_bytes)
        if segments is None:
            segments = await self._read_back(max_bytes=self._write_bytes)
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
        if not 0 < waiting < self._coalesce_tokens or is_first_content or log.published_end is not None:
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
        return segments

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
