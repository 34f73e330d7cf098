"""What an answer that is no stream means for the client.

====================  ======  =================================================================
The engine answers    Client  Because
====================  ======  =================================================================
400 404 413 422 429   same    the client's request is at fault, or its rate
401 403               502     the relay's key is at fault; the body may repeat it and is withheld
401 403 429           429     if no key is left to try and one will be back after its rest
other 4xx, 5xx        502     the engine is at fault
3xx                   502     a redirect would send the key somewhere else
====================  ======  =================================================================
"""

from __future__ import annotations

import email.utils
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.engines.openai.response import Response
from headrace.protocol.errors import parse_error_body
from headrace.types.engine import EngineEnd
from headrace.types.outcome import Cause

_PASSED_ON = frozenset({400, 404, 413, 422, 429})
_WITHHELD = frozenset({401, 403})
_BAD_GATEWAY = 502
_TOO_MANY_REQUESTS = 429
# Blank lines that a body of unknown type may begin with.
_SNIFFED_BYTES = 1024
# A later date than a caller would wait for says nothing; it is an engine's clock that is wrong.
_MAX_RETRY_AFTER_S = 24 * 3600.0
_REMOVED = "***"


def is_rejection(status: int) -> bool:
    """True for a status that says no; False for one that promises a stream or breaks the protocol."""
    return status >= 300


def rejection(response: Response, body: bytes, *, secrets: Sequence[str], wall_time: float) -> EngineEnd:
    """Return the end that an error response means.

    Args:
        response: Its head.
        body: Its body, possibly cut off.
        secrets: Removed wherever the engine repeats them; those that contain others come first.
        wall_time: Unix time now, in seconds, for a ``Retry-After`` that is a date.
    """
    status = response.status
    answered = f"The engine answered {status}"
    retry_after_s = parse_retry_after(response.header(b"retry-after"), wall_time=wall_time)
    if status in _WITHHELD or status < 400:
        hint = "; check the key that the relay uses" if status in _WITHHELD else ", a redirect, which is not followed"
        return EngineEnd(
            cause=Cause.UPSTREAM_REJECTED,
            status=_BAD_GATEWAY,
            upstream_status=status,
            message=answered + hint,
            retry_after_s=retry_after_s,
        )
    for secret in secrets:
        # Before parsing as well, which shortens: half a key would not be found afterwards.
        body = body.replace(secret.encode("ascii"), _REMOVED.encode("ascii"))
    said = parse_error_body(body)
    message = _without(secrets, said.message) or answered
    is_passed_on = status in _PASSED_ON
    if said.message and not is_passed_on:
        message = f"{answered}: {message}"
    return EngineEnd(
        cause=Cause.UPSTREAM_REJECTED,
        status=status if is_passed_on else _BAD_GATEWAY,
        upstream_status=status,
        message=message,
        retry_after_s=retry_after_s,
        error_type=_without(secrets, said.type),
        error_code=_without(secrets, said.code),
        error_param=_without(secrets, said.param),
    )


def no_key(rest_s: float | None) -> EngineEnd:
    """Return the end of a request for which there is no key.

    Args:
        rest_s: When the next key is back from its rest, in seconds; None when all have retired.
    """
    if rest_s is None:
        message = "The engine accepts none of the keys that the relay uses; check the keys"
        return EngineEnd(cause=Cause.UPSTREAM_REJECTED, status=_BAD_GATEWAY, message=message)
    return EngineEnd(
        cause=Cause.UPSTREAM_REJECTED,
        status=_TOO_MANY_REQUESTS,
        message=f"The engine's rate limit is reached; try again in {max(1, math.ceil(rest_s))} s",
        retry_after_s=rest_s,
        error_type="rate_limit_error",
        error_code="rate_limit_exceeded",
    )


def last_word(end: EngineEnd, limited: EngineEnd | None, rest_s: float | None) -> EngineEnd:
    """Return the end of a request that no key could help.

    Args:
        end: What the engine answered for the last key.
        limited: What it answered when it limited the rate of one of them, if it did.
        rest_s: When the next key is back from its rest, in seconds; None when none rests. Waiting may help then.
    """
    if rest_s is None:
        return limited or end
    return no_key(rest_s) if limited is None else msgspec.structs.replace(limited, retry_after_s=rest_s)


def cleaned(error: Any, secrets: Sequence[str]) -> Any:
    """Return an error object of an engine's stream without the secrets that it repeats."""
    text = msgspec.json.encode(error).decode()
    for secret in secrets:
        text = text.replace(msgspec.json.encode(secret)[1:-1].decode(), _REMOVED)
    return msgspec.json.decode(text)


def not_a_stream(response: Response, *, secrets: Sequence[str]) -> str | None:
    """Return why a 2xx response cannot be a stream of events; None when it can, as far as its head tells.

    Args:
        response: Its head.
        secrets: Removed where the head repeats them.
    """
    if response.status != 200:
        return f"The engine answered {response.status} without a stream"
    coding = response.header(b"content-encoding")
    if coding is not None and coding.lower() != "identity":
        return "The engine compressed the stream although identity was asked for"
    content_type = response.header(b"content-type")
    if content_type is not None and content_type.partition(";")[0].strip().lower() != "text/event-stream":
        shown = _without(secrets, content_type) or ""
        return f"The engine answered with {_shortened(shown)} instead of text/event-stream"
    return None


def looks_like_events(body: bytes) -> bool | None:
    """Tell whether a body of unknown type begins like server-sent events; None when it is too short to say.

    WHATWG HTML 9.2.5: a byte order mark and blank lines may come first; then a comment or one of four field names.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not text or b"\xef\xbb\xbf".startswith(text):
        return None if len(body) < _SNIFFED_BYTES else False
    return text[:1] in b":deir"


def parse_retry_after(value: str | None, *, wall_time: float) -> float | None:
    """Return how long to wait, in seconds, from a ``Retry-After`` header (RFC 9110 10.2.3); None when it says nothing.

    Fractions of a second are taken too: some engines send them.
    """
    if value is None:
        return None
    try:
        delay_s = float(value)
    except ValueError:
        try:
            delay_s = email.utils.parsedate_to_datetime(value).timestamp() - wall_time
        except (ValueError, OverflowError):
            return None
    if not math.isfinite(delay_s):
        return None
    return min(max(delay_s, 0.0), _MAX_RETRY_AFTER_S)


def _without(secrets: Sequence[str], text: str | None) -> str | None:
    for secret in secrets if text else ():
        text = text and text.replace(secret, _REMOVED)
    return text


def _shortened(text: str) -> str:
    return "".join(character for character in text[:100] if character.isprintable())
