"""What each failure means in each phase of following a stream: one table, ``NEXT``.

Two rules:

1. A request that may have reached the relay is asked about before it is sent again. Its stream id makes sending it again
   harmless all the same: the relay answers 409 when it has it.
2. Only what can pass is tried again.
"""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """How much is known of the stream."""

    ASKING = "the request goes out for the first time"
    UNSURE = "whether the request arrived is being asked"
    ASKING_AGAIN = "the request goes out again, though it may arrive twice"
    ATTACHING = "a stream that somebody else started is asked for"
    FOLLOWING = "the relay has the stream"
    PLAIN = "the server is no Headrace: nothing can be resumed"


class Failure(enum.Enum):
    """What can go wrong with a request or its answer."""

    UNREACHED = "no connection: nothing was sent"
    BROKEN = "the connection broke, or fell silent"
    STRANGER = "somebody between answered, mostly a proxy whose relay is away"
    ODD = "an answer, but no stream"
    NO_ROUTE = "a 404 that no relay wrote: a proxy without a route, or another kind of server"
    BUSY = "the relay takes nothing now; nothing was begun"
    FAULT = "the relay failed, or limits the rate"
    NOT_FOUND = "the relay has no such thing"
    TAKEN = "the relay has a stream with this id"
    REFUSED = "the relay refuses, and always will"


class Next(enum.Enum):
    """What to do about it, after a while."""

    START = "send the request"
    RESUME = "ask for the entries"
    GIVE_UP = "give up"


_START, _RESUME, _GIVE_UP = Next

NEXT: dict[Phase, dict[Failure, Next]] = {
    Phase.ASKING: {
        Failure.UNREACHED: _START,
        Failure.BROKEN: _RESUME,
        Failure.STRANGER: _RESUME,
        Failure.ODD: _GIVE_UP,
        Failure.NO_ROUTE: _GIVE_UP,
        Failure.BUSY: _START,
        Failure.FAULT: _GIVE_UP,
        Failure.NOT_FOUND: _GIVE_UP,
        Failure.TAKEN: _GIVE_UP,
        Failure.REFUSED: _GIVE_UP,
    },
    Phase.UNSURE: {
        Failure.UNREACHED: _RESUME,
        Failure.BROKEN: _RESUME,
        Failure.STRANGER: _RESUME,
        Failure.ODD: _RESUME,
        Failure.NO_ROUTE: _START,
        Failure.BUSY: _RESUME,
        Failure.FAULT: _RESUME,
        Failure.NOT_FOUND: _START,
        Failure.TAKEN: _GIVE_UP,
        Failure.REFUSED: _GIVE_UP,
    },
    Phase.ASKING_AGAIN: {
        Failure.UNREACHED: _START,
        Failure.BROKEN: _RESUME,
        Failure.STRANGER: _RESUME,
        Failure.ODD: _GIVE_UP,
        Failure.NO_ROUTE: _GIVE_UP,
        Failure.BUSY: _START,
        Failure.FAULT: _GIVE_UP,
        Failure.NOT_FOUND: _GIVE_UP,
        Failure.TAKEN: _RESUME,
        Failure.REFUSED: _GIVE_UP,
    },
    Phase.ATTACHING: {
        Failure.UNREACHED: _RESUME,
        Failure.BROKEN: _RESUME,
        Failure.STRANGER: _RESUME,
        Failure.ODD: _GIVE_UP,
        Failure.NO_ROUTE: _GIVE_UP,
        Failure.BUSY: _RESUME,
        Failure.FAULT: _RESUME,
        Failure.NOT_FOUND: _GIVE_UP,
        Failure.TAKEN: _GIVE_UP,
        Failure.REFUSED: _GIVE_UP,
    },
    Phase.FOLLOWING: {
        Failure.UNREACHED: _RESUME,
        Failure.BROKEN: _RESUME,
        Failure.STRANGER: _RESUME,
        Failure.ODD: _RESUME,
        Failure.NO_ROUTE: _RESUME,
        Failure.BUSY: _RESUME,
        Failure.FAULT: _RESUME,
        Failure.NOT_FOUND: _GIVE_UP,
        Failure.TAKEN: _GIVE_UP,
        Failure.REFUSED: _GIVE_UP,
    },
    Phase.PLAIN: dict.fromkeys(Failure, _GIVE_UP),
}


def failure_of_answer(status: int, *, has_error: bool, had_stream: bool) -> Failure:
    """Return what an answer other than a stream means.

    Args:
        status: Its HTTP status.
        has_error: Its body holds an error object: a relay, or another server of this API, wrote it.
        had_stream: The error is that of a stream that ended.
    """
    if had_stream:
        return Failure.REFUSED
    if status < 300:
        return Failure.ODD
    if not has_error:
        return _BY_STRANGER.get(status, Failure.STRANGER if status >= 500 else Failure.REFUSED)
    return _BY_RELAY.get(status, Failure.FAULT if status >= 500 else Failure.REFUSED)


_BY_STRANGER = {404: Failure.NO_ROUTE, 408: Failure.STRANGER, 429: Failure.STRANGER}
_BY_RELAY = {
    404: Failure.NOT_FOUND,
    408: Failure.BUSY,
    409: Failure.TAKEN,
    429: Failure.FAULT,
    503: Failure.BUSY,
}
