"""Whose fault it is: ends and error answers as errors of ``headrace.errors``. Two tables."""

from __future__ import annotations

from typing import Any

from headrace.client.ending import Ending
from headrace.errors import (
    BudgetExhausted,
    ClientRequestError,
    Forbidden,
    Overloaded,
    RateLimited,
    RelayError,
    StoreError,
    StreamCancelled,
    StreamExists,
    StreamGone,
    StreamNotFound,
    Unauthorized,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
)
from headrace.protocol.errors import parse_error_body
from headrace.protocol.json_object import decode_object
from headrace.protocol.status import FAILURES
from headrace.types.outcome import Cause, State

_BY_CAUSE: dict[str | None, type[RelayError]] = {
    Cause.CLIENT_STOP: StreamCancelled,
    Cause.CLIENT_GONE: StreamCancelled,
    Cause.SLOW_CLIENT: StreamCancelled,
    Cause.BUDGET: StreamCancelled,
    Cause.OPERATOR: StreamCancelled,
    Cause.UPSTREAM_REJECTED: UpstreamRejected,
    Cause.UPSTREAM_UNREACHABLE: UpstreamError,
    Cause.UPSTREAM_CLOSED: UpstreamError,
    Cause.FIRST_TOKEN_TIMEOUT: UpstreamTimeout,
    Cause.UPSTREAM_STALLED: UpstreamTimeout,
    Cause.UPSTREAM_PROTOCOL: UpstreamProtocolError,
    Cause.EVENT_TOO_LARGE: UpstreamProtocolError,
}
"""Causes that are not here (``node_lost``, ``shutdown``, ``deadline``, …) are the relay's own: ``RelayError``."""

_BY_CODE: dict[str | None, type[RelayError]] = {
    error.code: error
    for error in (
        Unauthorized,
        Forbidden,
        StreamNotFound,
        StreamExists,
        StreamGone,
        StoreError,
        Overloaded,
        RateLimited,
        BudgetExhausted,
    )
}


def error_of_end(ending: Ending) -> RelayError | None:
    """Return the error for a stream that ended; None for a whole answer."""
    if ending.state is State.COMPLETED:
        return None
    failure = FAILURES.get(Cause(ending.cause)) if ending.cause in set(Cause) else None
    how = "failed" if ending.state is State.FAILED else f"was {ending.state}"
    parts = [f"The stream {how}", ending.message or (failure.text if failure else ending.cause)]
    return _BY_CAUSE.get(ending.cause, RelayError)(
        ": ".join(part for part in parts if part),
        status=ending.status or (failure.status if failure else None),
        code=ending.error_code or ending.cause,
        param=ending.error_param,
        retry_after_s=ending.retry_after_s,
    )


def error_of_answer(body: bytes, *, status: int | None, retry_after_s: float | None = None) -> RelayError:
    """Return the error that an error answer tells, whatever its shape.

    Args:
        body: The answer, or a line or event of a stream, with ``error`` in it.
        status: HTTP status; None in the middle of a stream.
        retry_after_s: From its ``Retry-After``.
    """
    told = parse_error_body(body)
    cause = (error_object(body) or {}).get("cause")
    if isinstance(cause, str):
        kind = _BY_CAUSE.get(cause, RelayError)
    elif told.code in _BY_CODE:
        kind = _BY_CODE[told.code]
    else:
        kind = _of_status(status, told.type)
    message = told.message or (f"the server answered {status}" if status is not None else "the server sent an error")
    return kind(message, status=status, code=told.code, param=told.param, retry_after_s=retry_after_s)


def error_object(body: bytes) -> dict[str, Any] | None:
    """Return the ``error`` object of a JSON body; None when it has none: then no relay wrote it."""
    error = (decode_object(body) or {}).get("error")
    return error if isinstance(error, dict) else None


def _of_status(status: int | None, error_type: str | None) -> type[RelayError]:
    if status == Overloaded.status or error_type == Overloaded.type:
        return Overloaded
    if status is None:
        return UpstreamError
    return ClientRequestError if 400 <= status < 500 else RelayError
