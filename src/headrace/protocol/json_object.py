r"""JSON objects as strangers write them.

msgspec is fast and strict: it refuses half a surrogate pair (``"\ud83d"``: engines written in languages with UTF-16
strings cut emoji between two chunks) and numbers out of range. Both are JSON by RFC 8259 (sections 8.2 and 6), so what
msgspec refuses gets a second, slower look.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from headrace.errors import UpstreamProtocolError

_DECODER = msgspec.json.Decoder(dict[str, Any])


def decode_object(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object that ``data`` is; None when it is anything else.

    Strings may hold half surrogate pairs (see ``well_formed``), numbers may be infinite. ``NaN`` and ``Infinity`` are not
    JSON. Nesting deeper than the interpreter's recursion limit counts as not an object.
    """
    try:
        return _DECODER.decode(data)
    except (ValueError, RecursionError):
        return _decode_slowly(data)


def encode_object(value: dict[str, Any]) -> bytes:
    """Return ``value`` as compact JSON, half surrogate pairs as escapes, so that two halves side by side become whole.

    Raises:
        UpstreamProtocolError: It nests deeper than the interpreter's recursion limit.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError:
        raise UpstreamProtocolError("the engine's answer is nested too deeply") from None


def well_formed(text: str) -> str:
    """Return ``text`` with neighbouring surrogate halves joined and single ones replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _decode_slowly(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
