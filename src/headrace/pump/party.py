"""A party: one request that wants a log. The one that began it is the first; others may join it while it runs.

Each has an end of its own. Whoever stops, or leaves and does not linger, ends alone as long as another party wants the log;
the last one takes the stream with it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headrace.types.ids import KeyId, Offset, RequestId, StreamId
from headrace.types.outcome import Cause, End, State
from headrace.types.record import Source


class Requester(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and how."""

    stream_id: StreamId
    """The id by which this client knows the stream."""
    request_id: RequestId
    owner: str
    key_id: KeyId = KeyId("")
    tags: dict[str, str] = {}
    linger_s: float | None = None
    """How long the stream goes on for it without a consumer, in seconds; None: not at all."""
    source: Source = Source.ENGINE


class Party:
    """One request on a log.

    Args:
        requester: Whose.
        accepted_at: Unix seconds.
    """

    __slots__ = (
        "accepted_at",
        "delivered_tokens",
        "end",
        "ended_at",
        "ends_at",
        "followers",
        "linger_until_s",
        "on_left",
        "requester",
    )

    def __init__(self, requester: Requester, *, accepted_at: float) -> None:
        self.requester = requester
        self.accepted_at = accepted_at
        self.followers = 0
        """Consumers that follow the log for it."""
        self.delivered_tokens = 0
        """Those up to the last entry that its client was given."""
        self.linger_until_s: float | None = None
        """Until when it waits for a consumer, in monotonic seconds; None while it has one."""
        self.end: End | None = None
        """Set when it has ended before the log did."""
        self.ends_at = Offset(0)
        """Then, the offset of that end."""
        self.ended_at: float | None = None
        self.on_left: Callable[[Party, Cause], None] | None = None
        """Called when its last consumer went, with why."""

    @property
    def is_open(self) -> bool:
        """Whether it still wants the log."""
        return self.end is None

    def came(self) -> None:
        """One more consumer follows the log for it."""
        self.followers += 1
        self.linger_until_s = None

    def left(self, cause: Cause) -> None:
        """A consumer let go."""
        self.followers -= 1
        if not self.followers and self.on_left is not None:
            self.on_left(self, cause)

    def waits_until_s(self, now_s: float) -> float | None:
        """Return until when it waits for a consumer, if it has none, in monotonic seconds; None: it does not wait."""
        linger_s = self.requester.linger_s
        if linger_s is None or self.linger_until_s is not None:
            return self.linger_until_s
        return now_s + linger_s

    def close(self, cause: Cause, message: str | None, *, at: float, offset: Offset) -> None:
        """End it alone, as cancelled: the answer is for it what stands in the log before ``offset``."""
        self.end = End(state=State.CANCELLED, cause=cause, message=message)
        self.ends_at = offset
        self.ended_at = at
        self.linger_until_s = None
