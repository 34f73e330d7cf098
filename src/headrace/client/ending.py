"""How a stream ended, as its server told it."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.types.outcome import State, cause_of_finish


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The end object of the wire protocol, more lenient than the relay's own ``End``: a newer one may know more causes."""

    state: State
    cause: str | None
    """None for a request that was refused before there was a stream."""
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    message: str | None = None
    status: int | None = None
    retry_after_s: float | None = None
    error_code: str | None = None
    error_param: str | None = None


def ending_of(fields: Any) -> Ending | None:
    """Return the end that an end object tells; None when it is none."""
    try:
        ending = msgspec.convert(fields, Ending)
    except msgspec.ValidationError:
        return None
    return ending if ending.state.is_terminal and ending.cause else None


def ending_of_error(error: dict[str, Any]) -> Ending | None:
    """Return the end that an error object tells; None for an error of a request that had no stream."""
    return ending_of({name: error.get(name) for name in ("state", "cause", "message")})


def completed(finish_reason: str | None) -> Ending:
    """Return the end of a whole answer."""
    cause = cause_of_finish(finish_reason or "stop")
    return Ending(state=State.COMPLETED, cause=cause, finish_reason=finish_reason)
