"""Fingerprints: which requests are the same.

Two requests are the same when their bodies are the same JSON, whatever the order of fields, the white space and the form of
numbers: 1.0 is 1, as JSON has one kind of number (RFC 8259 6). What only says how the answer is delivered, or whom it is for, does not make another request (``_NOT_ASKED``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.types.engine import Endpoint

_NOT_ASKED = frozenset(
    {"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "stream", "stream_options", "user"}
)

MAX_DEPTH = 100
"""Bodies that are nested deeper are the same when their bytes are."""

_VERSION = "1"
"""Another one makes all digests others: when the rules change, nothing of before is found any more."""

_EXACT = 2**53
"""Below it every whole number is one that a float can be (IEEE 754 binary64)."""

_decoder = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder(order="sorted")


def body_digest(body: bytes, endpoint: Endpoint, *, shows_usage: bool) -> str:
    """Return what tells a request from all others: every field counts.

    Only ``stream`` does not: who has lost a stream may ask for the whole answer at once instead.

    Args:
        body: A JSON object in the endpoint's shape.
        endpoint: Which contract it follows.
        shows_usage: Whether the usage is among the chunks, which is more than ``stream_options`` says of a blocking request.
    """
    fields = _fields_of(body)
    asked = None if fields is None else {name: value for name, value in fields.items() if name != "stream"}
    return _digest(endpoint, b"usage" if shows_usage else b"", _canonical(asked, body))


def answer_digest(
    body: bytes, endpoint: Endpoint, *, route: str, owner: str | None, filters: str, shape: tuple[Any, ...]
) -> str:
    """Return what requests have in common that may be given the same answer.

    Args:
        body: A JSON object in the endpoint's shape.
        endpoint: Which contract it follows.
        route: The model name that it is served under.
        owner: Whose it is; None: owners may share.
        filters: Fingerprint of what is filtered out of answers; empty for nothing.
        shape: What else makes a difference to the answer, as JSON values: who may be asked, how long it may become, whether
            usage is among the chunks, and such.
    """
    fields = _fields_of(body)
    whose = "" if owner is None else f"owner:{owner}"
    asked = None if fields is None else _asked(fields)
    return _digest(endpoint, _encoder.encode([route, whose, filters, shape]), _canonical(asked, body))


def _asked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of a request that its answer depends on."""
    asked = {name: value for name, value in fields.items() if name not in _NOT_ASKED}
    options = fields.get("stream_options")
    if isinstance(options, dict):
        # Whether usage is shown stands in the shape; any other option changes the chunks.
        asked["stream_options"] = {name: value for name, value in options.items() if name != "include_usage"} or None
    else:
        asked["stream_options"] = None
    return asked


def is_deterministic(body: bytes) -> bool:
    """Return whether chance has no part in the answer, as far as the request says: temperature 0, or a seed."""
    fields = _fields_of(body) or {}
    temperature = fields.get("temperature")
    is_zero = isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
    return is_zero or fields.get("seed") is not None


def is_ambiguous(body: bytes) -> bool:
    """Return whether a name stands twice in one of its objects: what we read of it need not be what the engine reads.

    Parsers differ in which of the two counts (RFC 8259 4), so that an answer could be filed under another question.
    """
    repeated = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated = repeated or len({name for name, _ in pairs}) < len(pairs)

    try:
        json.loads(body, object_pairs_hook=look, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return True  # what one parser takes and another does not
    return repeated


def offers_tools(body: bytes) -> bool:
    """Return whether the answer may be a call of a tool, which is an act and no text."""
    fields = _fields_of(body)
    return fields is None or bool(fields.get("tools") or fields.get("functions"))


def _fields_of(body: bytes) -> dict[str, Any] | None:
    """Return the fields of a request; None when one that we have no use for holds a number or a depth beyond all bounds."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _canonical(asked: dict[str, Any] | None, body: bytes) -> bytes:
    """Return the one form of what is asked; its own bytes where it has none."""
    try:
        return body if asked is None else _encoder.encode(_with_one_form(asked, MAX_DEPTH))
    except _TooDeep:
        return body


class _TooDeep(Exception):
    pass


def _with_one_form(value: Any, depth: int) -> Any:
    """Return JSON in which equal numbers look the same."""
    if not depth:
        # Not when the stack ends: that would be here now, and elsewhere the next time.
        raise _TooDeep
    if isinstance(value, dict):
        return {name: _with_one_form(each, depth - 1) for name, each in value.items()}
    if isinstance(value, list):
        # Prompts may be long lists of tokens.
        return [each if type(each) is int else _with_one_form(each, depth - 1) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256(_VERSION.encode())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()
