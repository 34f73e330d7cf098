"""The log of one stream: entries in order, one end, and who follows it. Knows no socket, no store, no clock.

An entry passes three marks: *appended* by the producer, *taken* into a commit, *published* to followers. Followers see
published entries only, so what a client has seen is what the store has, unless the log is degraded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

import msgspec

from headrace.stream.segment import Flush, Segment
from headrace.stream.state import CAUSES, Event, IllegalTransition, after, event_of
from headrace.stream.store import Lease
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause, Durability, End, State


class Follower(Protocol):
    """Somebody who reads the log at an offset of their own."""

    @property
    def position(self) -> Offset:
        """Offset of the next entry it wants."""

    def wake(self) -> None:
        """Something was published, or the log ended. Must not block and must not raise."""


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What one commit takes from one log."""

    segment: Segment | None
    end: End | None
    has_content: bool
    """Whether the log bears content once this is published."""


class StreamLog:
    """One stream's entries between its producer, its store and its followers.

    Args:
        lease: The right to append, with the stream's id.
        owner: Whose stream it is.
        tail_bytes: Bound on published entries kept in memory.
    """

    __slots__ = (
        "_appended",
        "_appended_count",
        "_end_taken",
        "_tail",
        "_tail_limit",
        "appended",
        "bytes",
        "delivered_tokens",
        "durability",
        "end",
        "followers",
        "has_content",
        "has_published_content",
        "lease",
        "on_followers",
        "owner",
        "published",
        "published_bytes",
        "published_end",
        "state",
        "tail_bytes",
        "taken",
        "tokens",
    )

    def __init__(self, lease: Lease, *, owner: str, tail_bytes: int) -> None:
        self.lease = lease
        self.owner = owner
        self.state = State.QUEUED
        self.durability = Durability.DURABLE
        self.appended = Offset(0)
        """Offset of the next entry to append."""
        self.taken = Offset(0)
        """Offset of the next entry to take into a commit."""
        self.published = Offset(0)
        """Offset of the next entry to publish."""
        self.bytes = 0
        """Bytes of JSON appended, without what stands between entries."""
        self.published_bytes = 0
        """Likewise, published."""
        self.end: End | None = None
        """Set once, by ``seal``."""
        self.published_end: End | None = None
        """The end as followers see it: set when everything before it is published too."""
        self.tokens = 0
        """Tokens appended, by our count."""
        self.delivered_tokens = 0
        """Of those, how many were handed to the connection of some client."""
        self.has_content = False
        """Whether an appended entry bears content."""
        self.has_published_content = False
        """Whether a follower can see an entry that bears content."""
        self.followers: set[Follower] = set()
        self.on_followers: Callable[[Cause | None], None] | None = None
        """Called when a follower came (None) or went (why)."""
        self.tail_bytes = 0
        self._tail: deque[Segment] = deque()
        self._tail_limit = tail_bytes
        self._appended: list[bytes] = []
        self._appended_count = 0
        self._end_taken = False

    @classmethod
    def ended(cls, lease: Lease, *, owner: str, entries: Offset, end: End) -> StreamLog:
        """Return the log of a stream that has ended and lives in the store only."""
        log = cls(lease, owner=owner, tail_bytes=0)
        log.appended = log.taken = log.published = entries
        log.state = end.state
        log.has_content = log.has_published_content = entries > 0 and end.state is not State.FAILED
        log.end = log.published_end = end
        log._end_taken = True
        return log

    @property
    def stream_id(self) -> StreamId:
        return self.lease.stream_id

    @property
    def is_degraded(self) -> bool:
        return self.durability is Durability.DEGRADED

    # --- the producer's side

    def append(self, data: bytes, count: int, *, tokens: int) -> None:
        """Add ``count`` entries with so many tokens in them: one JSON object a line, joined by LF.

        Raises:
            IllegalTransition: The log has ended.
        """
        if self.end is not None:
            raise IllegalTransition(f"append after the end of {self.stream_id}")
        self._appended.append(data)
        self._appended_count += count
        self.appended = Offset(self.appended + count)
        self.bytes += len(data) - count + 1
        if tokens:
            self.tokens += tokens
            self.has_content = True

    def accept(self) -> None:
        """The engine works on it."""
        self.state = after(self.state, Event.ACCEPTED)

    def seal(self, end: End) -> None:
        """End the log. Nothing can be appended afterwards.

        Raises:
            IllegalTransition: It has ended already, or the table has no such end for its state.
        """
        if self.end is not None:
            raise IllegalTransition(f"second end of {self.stream_id}")
        state = after(self.state, event_of(end.cause, has_content=self.has_content))
        if state is not end.state or end.cause not in CAUSES[state]:
            raise IllegalTransition(f"{end.cause} ends {self.stream_id} as {state}, not {end.state}")
        self.state = state
        self.end = end

    # --- the committer's side

    @property
    def has_untaken(self) -> bool:
        """Whether ``take`` would return something."""
        return bool(self._appended) or (self.end is not None and not self._end_taken)

    def take(self, at: float | None = None) -> Taken:
        """Return what was appended since the last call, and the end once, when it is sealed.

        Args:
            at: The time now, in Unix seconds; the segment keeps it.
        """
        segment = None
        if self._appended:
            data = self._appended[0] if len(self._appended) == 1 else b"\n".join(self._appended)
            segment = Segment(self.taken, self._appended_count, data, at, self.tokens)
            self.taken = self.appended
            self._appended.clear()
            self._appended_count = 0
        if self.end is None or self._end_taken:
            return Taken(segment, None, self.has_content)
        self._end_taken = True
        return Taken(segment, self.end, self.has_content)

    def publish(self, taken: Taken) -> None:
        """Show taken entries, and the end, to the followers. What was published before is left out."""
        segment = taken.segment
        if segment is not None and segment.first >= self.published:
            self._tail.append(segment)
            self.tail_bytes += len(segment.data)
            self.published = segment.next
            self.published_bytes += segment.json_bytes
            self.has_published_content = taken.has_content
        if taken.end is not None and self.published_end is None:
            self.published_end = taken.end
        for follower in tuple(self.followers):
            follower.wake()

    def trim(self) -> None:
        """Let go of published entries that no follower needs from memory.

        A durable log drops what all followers have, and beyond ``tail_bytes`` the oldest: the store has them. A
        degraded log drops only what its foremost follower has, since nobody else keeps it.
        """
        tail = self._tail
        if not tail:
            return
        followers = self.followers
        if len(followers) == 1:
            (only,) = followers
            floor = ceiling = only.position
        else:
            positions = [follower.position for follower in followers]
            floor = min(positions, default=Offset(0) if self.is_degraded else self.published)
            ceiling = max(positions, default=Offset(0))
        if not self.is_degraded:
            ceiling = self.published
        while tail and (tail[0].next <= floor or (self.tail_bytes > self._tail_limit and tail[0].next <= ceiling)):
            self.tail_bytes -= len(tail.popleft().data)

    def degrade(self) -> None:
        """Go on without the store: from now on entries live in the tail only."""
        self.durability = Durability.DEGRADED

    # --- the followers' side

    def follow(self, follower: Follower) -> None:
        self.followers.add(follower)
        if self.on_followers is not None:
            self.on_followers(None)

    def unfollow(self, follower: Follower, cause: Cause) -> None:
        """Let a follower go; ``cause`` is why the stream would end if it was the last. Idempotent."""
        if follower not in self.followers:
            return
        self.followers.discard(follower)
        if self.on_followers is not None:
            self.on_followers(cause)

    def delivered(self, tokens: int) -> None:
        """Note that a client was given everything up to an entry, and so many tokens with it."""
        self.delivered_tokens = max(self.delivered_tokens, tokens)

    def lead(self) -> int:
        """Return how many published entries the foremost follower still lacks; all of them without followers."""
        return self.published - max((follower.position for follower in self.followers), default=Offset(0))

    @property
    def is_memory_full(self) -> bool:
        """Whether published entries fill the memory bound."""
        return self.tail_bytes > self._tail_limit

    def window(self, position: Offset, max_bytes: int) -> list[Segment] | None:
        """Return published entries from ``position`` on that memory still holds.

        Args:
            position: Offset of the first entry wanted.
            max_bytes: Stop once this much is gathered; at least one entry comes.

        Returns:
            Segments in order, the first beginning at ``position``; empty when nothing newer is published; None when
            the entries have left memory and must be read from the store.
        """
        if position >= self.published:
            return []
        tail = self._tail
        if not tail or tail[0].first > position:
            return None
        segments: list[Segment] = []
        gathered = 0
        for segment in tail:
            if segment.next <= position:
                continue
            part = segment.since(position).head(max_bytes)
            segments.append(part)
            gathered += len(part.data)
            if part.next < segment.next:
                break
            if gathered >= max_bytes:
                break
        return segments

    def flushes(self, *, after: Offset, limit: int) -> list[Flush]:
        """Return what is told of the published segments that memory still holds and that begin after ``after``."""
        return list(islice((segment.flush for segment in self._tail if segment.first > after), limit))
