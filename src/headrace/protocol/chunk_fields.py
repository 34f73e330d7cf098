"""The fields of one chunk, to be changed here and there: whatever is not changed keeps its bytes."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import msgspec

from headrace.errors import UpstreamProtocolError
from headrace.protocol.json_object import encode_object

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class ChunkFields:
    """One chunk's JSON, taken apart.

    Numbers, vendors' fields and the order of fields survive a change. A chunk that msgspec refuses (half a surrogate pair
    is JSON) is decoded whole; one whose numbers would not survive that, or whose shape is not OpenAI's, is not editable.
    """

    __slots__ = ("_choices", "_fields", "_is_raw", "_line", "is_changed")

    def __init__(self, line: bytes) -> None:
        self._line = line
        self.is_changed = False
        self._is_raw = True
        self._choices: list[dict[str, Any]] = []
        self._fields: dict[str, Any] | None = None
        try:
            self._take_apart()
        except (ValueError, RecursionError):
            self._decode()

    @property
    def is_editable(self) -> bool:
        """Whether it can be changed."""
        return self._fields is not None

    def put(self, name: str, value: Any) -> None:
        """Set a field of the chunk itself, unless it has that value."""
        if self._fields is None:
            return
        encoded = self._value(value)
        if self._fields.get(name) != encoded:
            self._fields[name] = encoded
            self.is_changed = True

    def text(self) -> str | None:
        """Return the text of its only choice, half surrogate pairs as they came; None when it has none, or it is no text.

        Content in parts counts as text if all of them are text.
        """
        holder, name = self._place_of_text()
        value = holder.get(name)
        return text_in(_plain(value)) if value is not None else None

    def put_text(self, text: str) -> None:
        """Set the text of its only choice, which must have one."""
        holder, name = self._place_of_text()
        holder[name] = self._value(text)
        self.is_changed = True

    def drop_role(self, position: int) -> None:
        """Remove the role from one choice's delta."""
        delta = self._choices[position].get("delta") if position < len(self._choices) else None
        if isinstance(delta, dict) and delta.pop("role", None) is not None:
            self.is_changed = True

    def encoded(self) -> bytes:
        """Return the chunk's JSON: byte for byte as it came when nothing was changed.

        Raises:
            UpstreamProtocolError: It nests deeper than the interpreter's recursion limit.
        """
        if self._fields is None or not self.is_changed:
            return self._line
        try:
            return encode_object(self._fields)
        except RecursionError:
            raise UpstreamProtocolError("the engine's answer is nested too deeply") from None

    def _take_apart(self) -> None:
        fields: dict[str, Any] = dict(_OBJECT.decode(self._line))
        if bytes(fields.get("choices", b"")).startswith(b"["):
            self._choices = list(_OBJECTS.decode(fields["choices"]))
            for choice in self._choices:
                if bytes(choice.get("delta", b"")).startswith(b"{"):
                    choice["delta"] = dict(_OBJECT.decode(choice["delta"]))
            fields["choices"] = self._choices
        self._fields = fields

    def _decode(self) -> None:
        self._is_raw, self._choices = False, []
        try:
            fields = json.loads(self._line, parse_float=_finite, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return
        if isinstance(fields, dict):
            self._fields = fields
            choices = fields.get("choices")
            if isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
                self._choices = choices

    def _place_of_text(self) -> tuple[dict[str, Any], str]:
        if len(self._choices) != 1:
            return {}, ""
        choice = self._choices[0]
        delta = choice.get("delta")
        if isinstance(delta, dict) and _plain(delta.get("content")):
            return delta, "content"
        return choice, "text"

    def _value(self, value: Any) -> Any:
        if not self._is_raw:
            return value
        try:
            return msgspec.Raw(msgspec.json.encode(value))
        except UnicodeEncodeError:
            return msgspec.Raw(json.dumps(value).encode())


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


def text_in(content: Any) -> str | None:
    """Return what a chunk's ``content`` or ``text`` says; None when it is, or has among its parts, anything but text."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    parts = [
        part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None for part in content
    ]
    texts = [text for text in parts if isinstance(text, str)]
    return "".join(texts) if len(texts) == len(parts) else None


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number[:64]} is out of range")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
