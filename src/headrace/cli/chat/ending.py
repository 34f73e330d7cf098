"""How an answer ended, in words."""

from __future__ import annotations

from headrace.cli.untrusted import one_line
from headrace.client import Result
from headrace.errors import RelayError
from headrace.types.outcome import Cause, State

_WHOLE: dict[str | None, str] = {
    Cause.LENGTH: "cut at the limit of tokens",
    Cause.TOOL_CALLS: "the model calls a tool, which a chat cannot do",
    Cause.CONTENT_FILTER: "ended by a content filter",
}


def tokens_per_s(result: Result) -> float | None:
    """Return the speed behind the first token; None when there are too few tokens to tell."""
    return 1 / result.tpot_s if result.tpot_s else None


def summary(result: Result, *, was_stopped: bool) -> str:
    """Return one line on an answer: how it ended, unless it simply did, and how fast it came."""
    speed = tokens_per_s(result)
    tokens = (result.usage or {}).get("completion_tokens")
    parts = [
        "stopped" if was_stopped else _WHOLE.get(result.cause) if result.state is State.COMPLETED else None,
        None if result.ttft_s is None else f"first token after {result.ttft_s:.2f} s",
        None if not isinstance(tokens, int) else _counted(tokens, "token"),
        None if speed is None else f"{speed:.1f} tokens/s",
        _counted(result.reconnects, "reconnect") if result.reconnects else None,
    ]
    return " · ".join(part for part in parts if part)


def trouble(error: RelayError, result: Result | None) -> str:
    """Return one line on what went wrong."""
    message = one_line(error.message)
    if result is None or result.cause is None:
        return message
    return f"{message} ({ending_of(result)})"


def ending_of(result: Result) -> str:
    """Return state and cause as they stand in records and logs."""
    return one_line(f"{result.state}, {result.cause}" if result.cause else result.state)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
