"""Answers of before that come again at their natural pace: their clients may stop them as they may a stream that runs."""

from __future__ import annotations

from collections.abc import Callable

from headrace.http.followed import Followed
from headrace.pump.party import Party
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause


class Replays:
    """The replays under way, by the ids that their clients know.

    Args:
        wall_time: Unix seconds.
    """

    def __init__(self, wall_time: Callable[[], float]) -> None:
        self._wall_time = wall_time
        self._running: dict[StreamId, tuple[Followed, Party]] = {}

    def add(self, followed: Followed, party: Party) -> None:
        """One begins; it is known until its client has left."""
        self._running[followed.stream_id] = followed, party
        before = party.on_left

        def left(party: Party, cause: Cause) -> None:
            self._running.pop(followed.stream_id, None)
            if before is not None:
                before(party, cause)

        party.on_left = left

    def find(self, stream_id: StreamId) -> Party | None:
        """Return the request of one; None when there is none."""
        found = self._running.get(stream_id)
        return None if found is None else found[1]

    def stop(self, stream_id: StreamId, message: str) -> None:
        """End one now."""
        followed, party = self._running[stream_id]
        if party.is_open:
            party.close(Cause.CLIENT_STOP, message, at=self._wall_time(), offset=Offset(0))
            for follower in tuple(followed.log.followers):
                follower.wake()
