"""A log as one client follows it: under the id that the client knows, for the request that it made."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.delivery.consumer import Party
from headrace.delivery.pace import Pace
from headrace.http.asgi import Headers
from headrace.stream.log import StreamLog
from headrace.types.ids import StreamId
from headrace.types.outcome import Durability


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What a client follows."""

    stream_id: StreamId
    """As the client knows it."""
    log: StreamLog
    party: Party | None = None
    """The request that it follows it for; None for a look at a stream that has ended."""
    pace: Pace | None = None
    """When which entries may go out; None: at once."""
    lingers: bool = False
    """Whether the client has said that it may leave and come back: then the head of an answer waits for nothing."""

    def headers(self) -> Headers:
        """Return the headers of every answer that has a stream behind it."""
        headers: Headers = [(b"headrace-stream-id", self.stream_id.encode())]
        if self.log.durability is Durability.DEGRADED:
            headers.append((b"headrace-durability", b"degraded"))
        return headers
