"""Error objects in OpenAI's shape, ours and other people's.

Shape: ``{"error": {"message", "type", "param", "code"}}``
(https://platform.openai.com/docs/guides/error-codes; the SDKs raise on it, in a body and in a stream).
"""

from __future__ import annotations

import html
import re
from typing import Any, NamedTuple

import msgspec

from headrace.protocol.status import FAILURES
from headrace.types.outcome import End, State

MAX_MESSAGE_CHARACTERS = 2_000
MAX_WORD_CHARACTERS = 200
"""Limit of an engine's ``type``, ``code`` and ``param``."""
MAX_BODY_BYTES = 65_536
"""How much of an error body is looked at."""

_NOT_SHOWN = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[!/a-zA-Z][^<>]*>")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class ErrorBody(NamedTuple):
    """What an engine's error body says; ``message`` is empty when it says nothing."""

    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None


def error_object(
    *,
    message: str,
    type: str = "upstream_error",  # noqa: A002 (the field's own name)
    code: str | None = None,
    param: str | None = None,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the value of ``error``: OpenAI's four fields, always present, and ``extra`` behind them."""
    return {"message": message, "type": type, "param": param, "code": code, **(extra or {})}


def error_body(
    *,
    message: str,
    type: str,  # noqa: A002 (the field's own name)
    code: str | None,
    param: str | None,
    extra: dict[str, Any] | None = None,
) -> bytes:
    """Return a whole error body as JSON."""
    return msgspec.json.encode({"error": error_object(message=message, type=type, code=code, param=param, extra=extra)})


def end_error(end: End, *, stream_id: str, partial_text: str | None) -> dict[str, Any]:
    """Return the error object for a stream that is not a whole answer.

    ``type``, ``code`` and ``param`` are the engine's own where it sent some, so that clients which switch on them work;
    ``state`` and ``cause`` always say what the relay saw.

    Args:
        end: How it ended; ``end.is_error`` holds.
        stream_id: Its stream.
        partial_text: What had been generated, for a blocking client that has seen nothing; None leaves the field out.
    """
    failure = FAILURES[end.cause]
    how = "failed" if end.state is State.FAILED else f"was {end.state}"
    message = f"The stream {how}: {failure.text}"
    extra: dict[str, Any] = {"state": end.state, "cause": end.cause, "stream_id": stream_id}
    if partial_text is not None:
        extra["partial_text"] = partial_text
    return error_object(
        message=f"{message}: {end.message}" if end.message else message,
        type=end.error_type or failure.type,
        code=end.error_code or end.cause,
        param=end.error_param,
        extra=extra,
    )


def parse_error_body(data: bytes) -> ErrorBody:
    """Return what an engine's error body says, whatever its shape.

    Known shapes: OpenAI's (vLLM, SGLang, llama.cpp and most hosts), the same in a list (Gemini), without the envelope
    (older vLLM), ``{"error": "text", "error_type": …}`` (TGI), ``{"detail": …}`` (FastAPI), ``{"message": …}``, HTML, text.
    Never raises; at most ``MAX_BODY_BYTES`` are looked at, control characters become spaces.
    """
    text = data[:MAX_BODY_BYTES].decode(errors="replace")
    try:
        body = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return ErrorBody(_shown(_without_markup(text)))
    while isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return ErrorBody(_shown(body))
    error = body.get("error")
    fields = error if isinstance(error, dict) else body
    return ErrorBody(
        _shown(_message_of(fields) or _message_of(body)),
        _word(fields.get("type") or fields.get("error_type")),
        _word(fields.get("code")),
        _word(fields.get("param")),
    )


def _message_of(fields: dict[str, Any]) -> Any:
    for name in ("message", "detail", "error", "msg"):
        value = fields.get(name)
        if isinstance(value, list):
            # FastAPI's validation errors: [{"loc": […], "msg": "…", "type": "…"}]
            return "; ".join(
                _shown(item["msg"] if isinstance(item, dict) and "msg" in item else item) for item in value
            )
        if value:
            return value
    return None


def _without_markup(text: str) -> str:
    return html.unescape(_TAG.sub(" ", _NOT_SHOWN.sub(" ", text))) if text.lstrip().startswith("<") else text


def _shown(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = " ".join(_CONTROL.sub(" ", text[:MAX_BODY_BYTES]).split())
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else text[: MAX_MESSAGE_CHARACTERS - 1] + "…"


def _word(value: Any) -> str | None:
    return _shown(value)[:MAX_WORD_CHARACTERS] or None
