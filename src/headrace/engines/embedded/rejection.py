"""What llama.cpp's errors mean for the client.

They come in two ways: an ``error`` object in place of a chunk, or an exception before the first chunk. Statuses:

====================  ======  ==========================================
llama.cpp says        Client  Because
====================  ======  ==========================================
400 404 413 422 429   same    the client's request is at fault
501                   400     it asks for what this model cannot do
anything else         502     the engine is at fault
====================  ======  ==========================================

An exception is what llama.cpp's own HTTP server answers 400 to.
"""

from __future__ import annotations

from typing import Any

from headrace.types.engine import EngineEnd
from headrace.types.outcome import Cause

MAX_MESSAGE = 500
"""Characters of a message that are kept; some repeat the request."""

_STATUSES = {400: 400, 404: 404, 413: 413, 422: 422, 429: 429, 501: 400}
_BAD_REQUEST = 400
_BAD_GATEWAY = 502

# OpenAI's code for llama.cpp's type, where programs look for it.
_CODES = {"exceed_context_size_error": "context_length_exceeded"}


def rejection_of(error: Any) -> EngineEnd:
    """Return the end that an ``error`` object means."""
    fields = error if isinstance(error, dict) else {"message": error}
    kind = fields.get("type")
    code = fields.get("code")
    upstream_status = code if isinstance(code, int) and 100 <= code <= 599 else None
    status = _STATUSES.get(upstream_status, _BAD_GATEWAY) if upstream_status is not None else _BAD_GATEWAY
    return EngineEnd(
        cause=Cause.UPSTREAM_REJECTED,
        message=str(fields.get("message") or "the embedded engine refused the request")[:MAX_MESSAGE],
        status=status,
        upstream_status=upstream_status,
        error_type="invalid_request_error" if status < _BAD_GATEWAY else None,
        error_code=_CODES.get(kind) if isinstance(kind, str) else None,
    )


def refusal(error: Exception) -> EngineEnd:
    """Return the end that an exception before the first chunk means: llama.cpp could not make sense of the request."""
    return EngineEnd(
        cause=Cause.UPSTREAM_REJECTED,
        message=str(error)[:MAX_MESSAGE],
        status=_BAD_REQUEST,
        upstream_status=_BAD_REQUEST,
        error_type="invalid_request_error",
    )
