"""Values in headers and query strings, read with errors that name them."""

from __future__ import annotations

import re

import msgspec

from headrace.delivery.options import MAX_COALESCE_TOKENS, DeliveryOptions
from headrace.errors import ClientRequestError
from headrace.http.node import Node
from headrace.policy.keys import check_tags
from headrace.types.access import Tags
from headrace.types.ids import StreamId

STREAM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

NDJSON_TYPES = (b"application/x-ndjson", b"application/ndjson")

MAX_TAGS_BYTES = 4096
"""Of the header ``Headrace-Tags``."""

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def whole_number(text: str, name: str, *, least: int, most: int) -> int:
    """Return a whole number.

    Raises:
        ClientRequestError: It is none, or out of its range.
    """
    number = int(text) if len(text) <= 20 and text.isascii() and text.removeprefix("-").isdecimal() else None
    if number is None or not least <= number <= most:
        raise ClientRequestError(f"{name} must be a whole number from {least} to {most}", param=name)
    return number


def truth(text: str, name: str) -> bool:
    """Return a truth value.

    Raises:
        ClientRequestError: It is none.
    """
    value = _TRUTHS.get(text.lower())
    if value is None:
        raise ClientRequestError(f"{name} must be true or false", param=name)
    return value


def tags_of(headers: dict[bytes, bytes]) -> Tags:
    """Return the tags in ``Headrace-Tags: team=search, feature=chat``; of a repeated name the last value.

    Raises:
        ClientRequestError: They are not of that form, or beyond their bounds.
    """
    value = headers.get(b"headrace-tags", b"")
    if not value.strip():
        return {}
    tags: Tags = {}
    for part in value[:MAX_TAGS_BYTES].decode("latin-1").split(","):
        name, equals, text = part.strip().partition("=")
        if not equals or len(value) > MAX_TAGS_BYTES:
            raise ClientRequestError(
                "Headrace-Tags must be names and values, such as team=search, feature=chat", param="Headrace-Tags"
            )
        tags[name.strip()] = text.strip()
    check_tags(tags, "Headrace-Tags")
    return tags


def accepts_lines(accept: bytes) -> bool:
    """Return whether an ``Accept`` header names NDJSON."""
    return any(name in accept for name in NDJSON_TYPES)


def stream_id_of(text: str, name: str) -> StreamId:
    """Return the id of a stream.

    Raises:
        ClientRequestError: It cannot be one.
    """
    if STREAM_ID.fullmatch(text) is None:
        raise ClientRequestError(f"{name} must be 1 to 64 letters, digits, '-' or '_'", param=name)
    return StreamId(text)


def linger_s_of(node: Node, text: str, name: str) -> float | None:
    """Return how long a stream is to linger; None for 0. ``true`` asks for as long as ``timeouts.linger`` says.

    Raises:
        ClientRequestError: It is no duration, or longer than ``limits.max_linger``.
    """
    if text == "true":
        return node.timeouts.linger_s or None
    most = node.limits.max_linger_s
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= most:
        raise ClientRequestError(f"{name} must be seconds between 0 and {most:g}, or true", param=name)
    return seconds or None


def asked(query: dict[str, str], parameter: str, headers: dict[bytes, bytes], header: str) -> tuple[str, str] | None:
    """Return what a client says of something that may stand in its query or in a header, and where; the query wins."""
    if parameter in query:
        return query[parameter], parameter
    value = headers.get(header.lower().encode())
    return None if value is None else (value.decode("latin-1"), header)


def options_of(node: Node, headers: dict[bytes, bytes], query: dict[str, str]) -> DeliveryOptions:
    """Return what a client asks of its delivery; the query wins over the headers, these over the settings.

    Raises:
        ClientRequestError: A value is out of its range.
    """
    options = node.options
    coalesce = asked(query, "coalesce_tokens", headers, "Headrace-Coalesce-Tokens")
    if coalesce is not None:
        tokens = whole_number(*coalesce, least=1, most=MAX_COALESCE_TOKENS)
        options = msgspec.structs.replace(options, coalesce_tokens=tokens)
    merge = asked(query, "merge", headers, "Headrace-Merge")
    if merge is not None:
        options = msgspec.structs.replace(options, merge=truth(*merge))
    return options
