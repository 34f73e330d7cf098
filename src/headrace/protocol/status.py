"""What each cause means to a client: HTTP status, error type, words. One table."""

from __future__ import annotations

from typing import NamedTuple

from headrace.types.outcome import Cause, End, State


class Failure(NamedTuple):
    """How a stream that is not a whole answer looks from outside."""

    status: int
    """HTTP status while nothing of the answer was sent. 499 (nginx: client closed request) is for logs: nobody reads it."""
    type: str
    """The ``type`` of the error object."""
    text: str
    """What happened, as the end of a sentence."""


_STOPPED = "stream_cancelled"
_ENGINE = "upstream_error"
_RELAY = "server_error"

FAILURES: dict[Cause, Failure] = {
    Cause.CLIENT_STOP: Failure(499, _STOPPED, "a client stopped it"),
    Cause.CLIENT_GONE: Failure(499, _STOPPED, "the client went away"),
    Cause.SLOW_CLIENT: Failure(499, _STOPPED, "the client read too slowly"),
    Cause.BUDGET: Failure(429, _STOPPED, "the budget is used up"),
    Cause.OPERATOR: Failure(503, _STOPPED, "an operator stopped it"),
    Cause.UPSTREAM_REJECTED: Failure(502, _ENGINE, "the engine rejected the request"),
    Cause.UPSTREAM_UNREACHABLE: Failure(502, _ENGINE, "the engine could not be reached"),
    Cause.FIRST_TOKEN_TIMEOUT: Failure(504, _ENGINE, "the engine sent no first token in time"),
    Cause.UPSTREAM_CLOSED: Failure(502, _ENGINE, "the engine closed the connection before the answer was complete"),
    Cause.UPSTREAM_STALLED: Failure(504, _ENGINE, "the engine stopped sending tokens"),
    Cause.UPSTREAM_PROTOCOL: Failure(502, _ENGINE, "the engine broke the protocol"),
    Cause.EVENT_TOO_LARGE: Failure(502, _ENGINE, "the engine sent an event over the size limit"),
    Cause.DEADLINE: Failure(504, _RELAY, "its deadline passed"),
    Cause.FILTER_ERROR: Failure(502, _RELAY, "a filter failed"),
    Cause.NODE_LOST: Failure(503, _RELAY, "the relay that ran it was lost"),
    Cause.SHUTDOWN: Failure(503, _RELAY, "the relay shut down"),
}
"""Every cause but those of ``completed``."""


def http_status_of(end: End) -> int:
    """Return the HTTP status for an end of which nothing was sent yet; 200 when completed.

    A truncated answer is 502 whatever cut it off: a blocking client gets part of an answer inside an error. Any other end
    has its own status, else its cause's.
    """
    if end.state is State.TRUNCATED:
        return 502
    if end.status is not None:
        return end.status
    return FAILURES[end.cause].status if end.is_error else 200
