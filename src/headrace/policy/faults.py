"""Faults: why an engine gave no answer, as the retry table tells them apart.

Engines agree on statuses, more or less, and on little else, so the words for a context that is too long and for a refused
prompt are gathered here. A message is looked at only in an answer that blames the request (400, 413, 422): elsewhere the
same words may be about anything.

Where the words come from: OpenAI, Azure OpenAI and Anthropic document their ``code`` and ``type``; vLLM, SGLang, llama.cpp and
Ollama have theirs in their sources; those of Mistral, DeepSeek, Groq, xAI, Bedrock and Gemini are as their users report them.
"""

from __future__ import annotations

import enum
import re

from headrace.types.engine import EngineEnd
from headrace.types.outcome import Cause

MAX_LOOKED_AT = 4096
"""Characters of a message that are looked at."""


class Fault(enum.StrEnum):
    """Why an attempt failed before its first token."""

    RATE_LIMITED = "rate_limited"
    """Too much at the moment (429)."""
    OUT_OF_QUOTA = "out_of_quota"
    """More than the account there may have, now or later: waiting is no use (402, a 429 for money, one request above
    the rate of a whole minute)."""
    SERVER_ERROR = "server_error"
    """The engine failed, or has no room (5xx)."""
    UNREACHABLE = "unreachable"
    """It could not be dialled."""
    CLOSED = "closed"
    """It closed the connection, or ended in good order without content."""
    SILENT = "silent"
    """Nothing came in time."""
    PROTOCOL = "protocol"
    """It sent what is no answer."""
    CONTEXT_TOO_LONG = "context_too_long"
    POLICY_REFUSAL = "policy_refusal"
    """Its provider does not want to answer this prompt."""
    REJECTED = "rejected"
    """It found something wrong with the request."""
    UNAUTHORIZED = "unauthorized"
    """It does not take our key, or not for this model."""


_OF_CAUSE = {
    Cause.UPSTREAM_UNREACHABLE: Fault.UNREACHABLE,
    Cause.UPSTREAM_CLOSED: Fault.CLOSED,
    Cause.UPSTREAM_STALLED: Fault.SILENT,
    Cause.FIRST_TOKEN_TIMEOUT: Fault.SILENT,
    Cause.UPSTREAM_PROTOCOL: Fault.PROTOCOL,
    Cause.EVENT_TOO_LARGE: Fault.PROTOCOL,
}

_OF_STATUS = {
    401: Fault.UNAUTHORIZED,
    402: Fault.OUT_OF_QUOTA,
    403: Fault.UNAUTHORIZED,
    # The engine gave up waiting for the request. OpenAI's SDKs ask again too.
    408: Fault.SERVER_ERROR,
    413: Fault.CONTEXT_TOO_LONG,
    429: Fault.RATE_LIMITED,
}

_OF_NAME = {
    "insufficient_quota": Fault.OUT_OF_QUOTA,
    "billing_hard_limit_reached": Fault.OUT_OF_QUOTA,
    "billing_not_active": Fault.OUT_OF_QUOTA,
    "billing_error": Fault.OUT_OF_QUOTA,
    "context_length_exceeded": Fault.CONTEXT_TOO_LONG,
    "context_window_exceeded": Fault.CONTEXT_TOO_LONG,
    "model_context_window_exceeded": Fault.CONTEXT_TOO_LONG,
    "exceed_context_size_error": Fault.CONTEXT_TOO_LONG,
    "content_policy_violation": Fault.POLICY_REFUSAL,
    "content_filter": Fault.POLICY_REFUSAL,
    "responsibleaipolicyviolation": Fault.POLICY_REFUSAL,
    "data_inspection_failed": Fault.POLICY_REFUSAL,
    "moderation_blocked": Fault.POLICY_REFUSAL,
}
"""Words of an error's ``code`` and ``type`` that say more than the status does; in lower case, as below."""

_STATUS_OF_NAME = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "rate_limited": 429,
    "too_many_requests": 429,
    "tokens": 429,
    "requests": 429,
    "overloaded_error": 529,
    "overloaded": 529,
    "engine_overloaded": 529,
    "server_error": 500,
    "api_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "internalservererror": 500,
    "service_unavailable": 503,
    "unavailable_error": 503,
    "timeout_error": 504,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "model_not_found": 404,
    "invalid_request_error": 400,
    "invalid_request": 400,
    "badrequesterror": 400,
    "request_too_large": 413,
}
"""The status that an error event has which comes within a stream, after its 200."""

_LIMITS = frozenset(name for name, status in _STATUS_OF_NAME.items() if status == 429)

_BLAMES_REQUEST = frozenset({400, 413, 422})

_MESSAGES = (
    (Fault.OUT_OF_QUOTA, re.compile(r"credit balance is too low|insufficient balance")),
    (
        Fault.CONTEXT_TOO_LONG,
        re.compile(
            r"maximum context length|context[ _]length exceeded|exceeds? the (available )?context (size|window|length)"
            r"|exceeds? the (model'?s )?(maximum )?context|(prompt|input|request) is too long|prompt too long"
            r"|maximum prompt length|longer than the (model'?s )?context length|greater than the context length"
            r"|reduce the length of the (messages|prompt|input)|input token count .{0,40}exceeds|context window exceeds"
            r"|exceed context limit|exceeds? (the )?(model'?s )?maximum (model|sequence|context) length"
            r"|exceeded model token limit|larger than the maximum context|range of input length should be"
        ),
    ),
    (
        Fault.POLICY_REFUSAL,
        re.compile(
            r"content management policy|content exists risk|content (filter|policy)|usage polic(y|ies)|safety system"
            r"|inappropriate content|violat\w+ .{0,40}polic(y|ies)|blocked by .{0,40}(safety|moderation|guardrail)"
        ),
    ),
)
"""First match wins; on lower-case text. Every repetition is bounded or one word long."""


def fault_of(end: EngineEnd) -> Fault:
    """Return why an engine that gave no content ended.

    Args:
        end: How it ended. Without a cause, or closed: ``CLOSED``. Rejected without a status of the engine's own: it is an
            error event within a stream, or the engine was never asked, and what the error is called decides.

    Raises:
        ValueError: Its cause is none of an engine's: somebody stopped the stream, or its whole time was over.
    """
    if end.cause is None:
        return Fault.CLOSED
    if end.cause is Cause.UPSTREAM_REJECTED:
        return _rejection(end)
    try:
        return _OF_CAUSE[end.cause]
    except KeyError:
        raise ValueError(f"{end.cause} is no fault of an engine") from None


def _rejection(end: EngineEnd) -> Fault:
    names = [name.lower() for name in (end.error_code, end.error_type) if name]
    status = end.upstream_status or _status_of_event(end, names)
    said = next((_OF_NAME[name] for name in names if name in _OF_NAME), None)
    if said is not None:
        return said
    if status == 413 and not _LIMITS.isdisjoint(names):
        # Groq: this one request has more tokens than a whole minute may have.
        return Fault.OUT_OF_QUOTA
    if status in _BLAMES_REQUEST:
        said = _fault_of_message(end.message)
    return said or _fault_of_status(status)


def _status_of_event(end: EngineEnd, names: list[str]) -> int:
    """Return the status that an error has which came without one."""
    for name in names:
        if name in _STATUS_OF_NAME:
            return _STATUS_OF_NAME[name]
        if len(name) == 3 and name.isascii() and name.isdigit() and "400" <= name <= "599":
            return int(name)
    # What it is called is unknown. Asking once more does no harm, while a wrong refusal would.
    return end.status or 502


def _fault_of_message(message: str | None) -> Fault | None:
    text = (message or "")[:MAX_LOOKED_AT].lower()
    return next((fault for fault, pattern in _MESSAGES if pattern.search(text)), None)


def _fault_of_status(status: int) -> Fault:
    found = _OF_STATUS.get(status)
    if found is not None:
        return found
    if status >= 500:
        return Fault.SERVER_ERROR
    # A redirect, which is not followed, is nothing that the request could be blamed for.
    return Fault.REJECTED if status >= 400 else Fault.PROTOCOL
