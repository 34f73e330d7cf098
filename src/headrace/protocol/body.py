"""Small JSON bodies, and values from elsewhere, as typed structs, with errors that name the field.

For what must be exactly as documented. What strangers write (chunks, chat requests) is read with more patience elsewhere.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from headrace.errors import ClientRequestError

T = TypeVar("T")

_NAME = re.compile(r"^Object (?:missing required|contains unknown) field `([^`]*)`")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
"""Where msgspec names a field: one that is missing or unknown, and what it is a part of, or whose value is wrong."""


def read_body(body: bytes, decoder: msgspec.json.Decoder[T], *, max_bytes: int) -> T:
    """Return what a body holds.

    Raises:
        ClientRequestError: It is too large (413), not JSON, or a field is wrong; ``param`` names the field.
    """
    if len(body) > max_bytes:
        raise ClientRequestError(f"the body of this request has at most {max_bytes} bytes", status=413)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _refused(error) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ClientRequestError(f"the body is not valid JSON: {error}", code="invalid_json") from error


def read_values(values: dict[str, Any], kind: type[T]) -> T:
    """Return nested values, as text or of the right type, as ``kind``.

    Raises:
        ClientRequestError: A field is wrong; ``param`` names the field.
    """
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _refused(error) from error


def _refused(error: msgspec.ValidationError) -> ClientRequestError:
    text = str(error)
    found = (_PLACE.search(text), _NAME.search(text))
    field = ".".join(part[1] for part in found if part is not None and part[1])[:100]
    what = _PLACE.sub("", text)[:300]
    return ClientRequestError(f"{field or 'the body'}: {what}", param=field or None)
