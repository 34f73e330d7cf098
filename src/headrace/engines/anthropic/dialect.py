"""The Messages API, as data: https://platform.claude.com/docs/en/api/overview and .../errors."""

from __future__ import annotations

import re

import msgspec

from headrace.engines.openai.dialect import Dialect
from headrace.types.engine import Capabilities, Endpoint, EngineEnd

API_VERSION = "2023-06-01"
"""https://platform.claude.com/docs/en/api/versioning"""

CAPABILITIES = Capabilities(max_choices=1, endpoints=(Endpoint.CHAT,), takes_logprobs=False)
"""What policies may expect. Newer models refuse to go on with a partial answer; where older ones run, say so with
``Continuation.ASSISTANT``."""

STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Types of errors and the HTTP status that each comes with: all that an error inside a stream says about its kind."""

CONTEXT_CODE = "context_length_exceeded"
"""OpenAI's word, which clients act on."""
_CONTEXT = re.compile(r"prompt is too long|exceeds? (?:the )?(?:context|model's context)", re.IGNORECASE)


def is_about_context(message: str | None) -> bool:
    """True for the message of an error that says that prompt, or prompt and answer, are too long for the model.

    The API has no code for it: https://platform.claude.com/docs/en/build-with-claude/context-windows
    """
    return message is not None and _CONTEXT.search(message) is not None


def clarified(end: EngineEnd) -> EngineEnd:
    """Return a rejection with OpenAI's code where a prompt is too long."""
    if end.upstream_status == 400 and end.error_code is None and is_about_context(end.message):
        return msgspec.structs.replace(end, error_code=CONTEXT_CODE)
    return end


MESSAGES = Dialect(
    paths={Endpoint.CHAT: "messages"},
    # As many as a page can hold: https://platform.claude.com/docs/en/api/models/list
    models="models?limit=1000",
    pages_models=True,
    key_header="x-api-key: ",
    headers=(("anthropic-version", API_VERSION),),
    clarified=clarified,
)
