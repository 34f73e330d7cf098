"""The parties of one log: the request that began it, and those that joined it.

As long as another party wants the log, one that stops, or leaves and does not linger, ends alone; the last one takes the
stream with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headrace.pump.party import Party, Requester
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause


class Parties:
    """All requests on one log.

    Args:
        first: The one that began it.
        monotonic_s: The clock.
        wall_time: Unix seconds.
        published: Returns the offset behind the last entry that consumers have.
        stop: Ends the stream, for a reason and with a message.
        changed: Called when one has come, or has ended alone.
    """

    __slots__ = (
        "_changed",
        "_joined",
        "_monotonic_s",
        "_published",
        "_stop",
        "_wall_time",
        "first",
        "is_over",
        "stale",
    )

    def __init__(
        self,
        first: Party,
        *,
        monotonic_s: Callable[[], float],
        wall_time: Callable[[], float],
        published: Callable[[], Offset],
        stop: Callable[[Cause, str | None], None],
        changed: Callable[[Party], None],
    ) -> None:
        self.first = first
        first.on_left = self._left
        self.is_over = False
        """Whether the log has ended, and with it all that had not."""
        self._monotonic_s = monotonic_s
        self._wall_time = wall_time
        self._published = published
        self._stop = stop
        self._changed = changed
        self._joined: dict[StreamId, Party] = {}
        self.stale: dict[Party, None] = {}
        """Those whose records have changed since they were last taken."""

    def __iter__(self) -> Iterator[Party]:
        yield self.first
        yield from self._joined.values()

    @property
    def has_joined(self) -> bool:
        return bool(self._joined)

    @property
    def joined(self) -> tuple[Party, ...]:
        """Those that came later."""
        return tuple(self._joined.values())

    def find(self, stream_id: StreamId) -> Party | None:
        """Return the one whose client knows the stream by this id."""
        if stream_id == self.first.requester.stream_id:
            return self.first
        return self._joined.get(stream_id)

    def linger_until_s(self) -> float | None:
        """Return until when the log goes on without a consumer, in monotonic seconds; None: not at all.

        That is until the last of those who still want it waits no longer; each waits from when its own consumer left.
        """
        now_s = self._monotonic_s()
        times = (party.waits_until_s(now_s) for party in self if party.is_open)
        return max((time for time in times if time is not None), default=None)

    @property
    def are_followed(self) -> bool:
        """Whether a consumer follows the log for one that still wants it; one that was stopped may still have its own."""
        return not self._joined or any(party.is_open and party.followers for party in self)

    def join(self, requester: Requester) -> Party:
        """Let one more request have the log."""
        party = Party(requester, accepted_at=self._wall_time())
        party.on_left = self._left
        self._joined[requester.stream_id] = party
        self.stale[party] = None
        self._changed(party)
        return party

    def detach(self, party: Party, cause: Cause, message: str | None = None) -> None:
        """End one request now, and the stream with it unless another request wants it. Again: nothing happens."""
        if self.is_over or not party.is_open:
            return
        if not self._others_want(party):
            self._stop(cause, message)
            return
        party.close(cause, message, at=self._wall_time(), offset=self._published())
        self.stale[party] = None
        self._changed(party)

    def expire(self, now_s: float) -> None:
        """End those that nobody came back to within their linger time.

        The last of them takes the stream with it, also while a client still takes the rest of what was stopped for it.
        """
        for party in tuple(self):
            if party.linger_until_s is not None and now_s >= party.linger_until_s:
                self.detach(party, Cause.CLIENT_GONE, "nobody came back within the linger time")

    def end(self) -> None:
        """The log has ended."""
        self.is_over = True
        self.stale.update(dict.fromkeys(self._joined.values()))

    def drop(self, stream_id: StreamId) -> None:
        """Know one no more that joined, and has ended: its record is erased."""
        party = self._joined.pop(stream_id, None)
        if party is not None:
            self.stale.pop(party, None)

    def take_stale(self) -> list[Party]:
        """Return those that joined and have changed since the last call."""
        stale = [party for party in self.stale if party is not self.first]
        self.stale.clear()
        return stale

    def _others_want(self, party: Party) -> bool:
        return any(other.is_open for other in self if other is not party)

    def _left(self, party: Party, cause: Cause) -> None:
        if self.is_over or not party.is_open:
            return
        linger_s = party.requester.linger_s
        if linger_s is not None:
            party.linger_until_s = self._monotonic_s() + linger_s
        elif self._others_want(party):
            self.detach(party, cause)
