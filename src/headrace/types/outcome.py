"""How a stream stands, and how it ended."""

from __future__ import annotations

import enum
from typing import Any

import msgspec


class State(enum.StrEnum):
    """Life of a stream. Every state but the first two is terminal."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    TRUNCATED = "truncated"

    @property
    def is_terminal(self) -> bool:
        return self not in _OPEN


_OPEN = frozenset({State.QUEUED, State.IN_PROGRESS})


class Cause(enum.StrEnum):
    """Why a stream ended; ``STATES_OF_CAUSE`` in ``headrace.stream.state`` says which states allow which."""

    # completed: OpenAI's finish_reason, or a filter's verdict
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    # cancelled: somebody wanted it to end
    CLIENT_STOP = "client_stop"
    CLIENT_GONE = "client_gone"
    SLOW_CLIENT = "slow_client"
    BUDGET = "budget"
    OPERATOR = "operator"
    # failed only: it ended before any entry bore content
    UPSTREAM_REJECTED = "upstream_rejected"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105 (no password: a cause)
    # truncated, or failed when no entry bore content
    UPSTREAM_CLOSED = "upstream_closed"
    UPSTREAM_STALLED = "upstream_stalled"
    UPSTREAM_PROTOCOL = "upstream_protocol"
    EVENT_TOO_LARGE = "event_too_large"
    DEADLINE = "deadline"
    FILTER_ERROR = "filter_error"
    # truncated always
    NODE_LOST = "node_lost"
    SHUTDOWN = "shutdown"


_FINISH = {
    "length": Cause.LENGTH,
    "tool_calls": Cause.TOOL_CALLS,
    "function_call": Cause.TOOL_CALLS,
    "content_filter": Cause.CONTENT_FILTER,
}


def cause_of_finish(finish_reason: str) -> Cause:
    """Return the cause of an engine's ``finish_reason``; words we do not know count as ``stop``."""
    return _FINISH.get(finish_reason, Cause.STOP)


class Durability(enum.StrEnum):
    """Whether what a client saw is also in the store."""

    DURABLE = "durable"
    DEGRADED = "degraded"


class TokenSource(enum.StrEnum):
    """Who counted the tokens."""

    ENGINE = "engine"
    COUNTED = "counted"


class End(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The terminal entry of a log: exactly one, always last.

    As JSON this is the value of ``end`` in the NDJSON end line and the data of the SSE ``end`` event.
    """

    state: State
    cause: Cause
    finish_reason: str | None = None
    """The engine's own word, of choice 0 when there are several."""
    usage: dict[str, Any] | None = None
    """OpenAI's usage object, the engine's own when it reported one."""
    tokens_source: TokenSource = TokenSource.ENGINE
    """Who counted ``usage``."""
    message: str | None = None
    """What went wrong, for people; None when nothing did. Never holds a secret or generated text."""
    status: int | None = None
    """HTTP status this end has when nothing was sent yet; None means the default of its state and cause."""
    malformed_chunks: int = 0
    """Engine chunks that were skipped because they were not valid JSON objects."""
    durability: Durability = Durability.DURABLE

    retry_after_s: float | None = None
    """How long the engine asked callers to wait (its ``Retry-After``), in seconds."""
    error_type: str | None = None
    """The engine's own error ``type``, when it sent one in OpenAI's shape."""
    error_code: str | None = None
    """The engine's own error ``code``, likewise."""
    error_param: str | None = None
    """The engine's own error ``param``, likewise."""

    @property
    def is_error(self) -> bool:
        """True unless the stream is a whole answer."""
        return self.state is not State.COMPLETED
