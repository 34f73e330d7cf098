"""The life of a stream as a table.

Two rules:

1. What happens to a stream is an ``Event``; only ``LIFE`` says where it leads, and an unknown pair raises.
2. A terminal state has no way out. Which causes a terminal state may carry is ``CAUSES``.
"""

from __future__ import annotations

import enum

from headrace.types.outcome import Cause, State


class Event(enum.Enum):
    """What can happen to a stream."""

    ACCEPTED = "the engine works on it"
    FINISHED = "the engine said why it stopped"
    WANTED_OVER = "somebody wanted it to end"
    BROKE_EMPTY = "it broke before any entry bore content"
    BROKE_PARTIAL = "it broke after content"
    NODE_DOWN = "the relay died or was shut down"


LIFE: dict[State, dict[Event, State]] = {
    State.QUEUED: {
        Event.ACCEPTED: State.IN_PROGRESS,
        Event.WANTED_OVER: State.CANCELLED,
        Event.BROKE_EMPTY: State.FAILED,
        Event.NODE_DOWN: State.TRUNCATED,
    },
    State.IN_PROGRESS: {
        Event.FINISHED: State.COMPLETED,
        Event.WANTED_OVER: State.CANCELLED,
        Event.BROKE_EMPTY: State.FAILED,
        Event.BROKE_PARTIAL: State.TRUNCATED,
        Event.NODE_DOWN: State.TRUNCATED,
    },
    State.COMPLETED: {},
    State.CANCELLED: {},
    State.FAILED: {},
    State.TRUNCATED: {},
}

_BREAKS = frozenset(
    {
        Cause.UPSTREAM_CLOSED,
        Cause.UPSTREAM_STALLED,
        Cause.UPSTREAM_PROTOCOL,
        Cause.EVENT_TOO_LARGE,
        Cause.DEADLINE,
        Cause.FILTER_ERROR,
    }
)
_NODE = frozenset({Cause.NODE_LOST, Cause.SHUTDOWN})

CAUSES: dict[State, frozenset[Cause]] = {
    State.COMPLETED: frozenset({Cause.STOP, Cause.LENGTH, Cause.TOOL_CALLS, Cause.CONTENT_FILTER}),
    State.CANCELLED: frozenset({Cause.CLIENT_STOP, Cause.CLIENT_GONE, Cause.SLOW_CLIENT, Cause.BUDGET, Cause.OPERATOR}),
    State.FAILED: _BREAKS | {Cause.UPSTREAM_REJECTED, Cause.UPSTREAM_UNREACHABLE, Cause.FIRST_TOKEN_TIMEOUT},
    State.TRUNCATED: _BREAKS | _NODE,
}


class IllegalTransition(AssertionError):
    """The core tried a step that the table does not have: a bug here, never a peer's fault."""


def after(state: State, event: Event) -> State:
    """Return the state that ``event`` leads to from ``state``.

    Raises:
        IllegalTransition: The table has no such pair.
    """
    try:
        return LIFE[state][event]
    except KeyError:
        raise IllegalTransition(f"{event} in state {state}") from None


def event_of(cause: Cause, *, has_content: bool) -> Event:
    """Return what happened to a stream that ends for ``cause``.

    Args:
        cause: Why it ends.
        has_content: Whether any entry of its log bears content.
    """
    if cause in CAUSES[State.COMPLETED]:
        return Event.FINISHED
    if cause in CAUSES[State.CANCELLED]:
        return Event.WANTED_OVER
    if cause in _NODE:
        return Event.NODE_DOWN
    return Event.BROKE_PARTIAL if has_content else Event.BROKE_EMPTY
