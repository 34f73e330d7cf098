"""Successive chunks that differ in nothing but their text, as one chunk with all of it: fewer bytes for slow lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_DECODER = msgspec.json.Decoder(dict[str, Any])


class _Piece:
    """A chunk, taken apart into its text and all the rest."""

    __slots__ = ("_chunk", "_field", "_holder", "_line", "texts")

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._chunk = _decoded(line)
        self._holder, self._field = _place_of_text(self._chunk)
        self.texts: list[str] = []
        if self._holder is not None:
            # What is left is what must be equal.
            self.texts.append(self._holder[self._field])
            self._holder[self._field] = None

    def continues(self, other: _Piece) -> bool:
        """Return whether this chunk adds nothing but text to ``other``."""
        return self._holder is not None and other._holder is not None and self._chunk == other._chunk

    def encoded(self) -> bytes:
        """Return it with all its text: byte for byte as it came when nothing was added."""
        if self._holder is None or len(self.texts) == 1:
            return self._line
        self._holder[self._field] = "".join(self.texts)
        return msgspec.json.encode(self._chunk)


def merged(first: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the JSON of each chunk that remains.

    What stands for several chunks has the offset of the last one, so that whoever goes on behind that offset misses
    nothing and gets nothing twice. Everything else stays byte for byte as it is.

    Args:
        first: Offset of the first chunk.
        data: Chunks as JSON, joined by LF.
    """
    held: _Piece | None = None
    for offset, line in enumerate(data.split(b"\n"), first):
        piece = _Piece(line)
        if held is not None and piece.continues(held):
            held.texts += piece.texts
            continue
        if held is not None:
            yield offset - 1, held.encoded()
        held = piece
    if held is not None:
        yield first + data.count(b"\n"), held.encoded()


def _decoded(line: bytes) -> dict[str, Any]:
    """Return a chunk; an empty one, which nothing continues, when encoding it anew could change it."""
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError):
        return {}


def _place_of_text(chunk: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the object and the field that hold the text of a chunk's only choice.

    No object when there is none, or when anything beside it adds up from chunk to chunk (reasoning, tool calls,
    logprobs): two equal ones are not one.
    """
    choices = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None, ""
    choice = choices[0]
    delta = choice.get("delta")
    holder, field = (delta, "content") if isinstance(delta, dict) else (choice, "text")
    has_text = isinstance(holder.get(field), str) and bool(holder[field])
    others = [value for key, value in choice.items() if key not in ("delta", "text", "index", "finish_reason")]
    if isinstance(delta, dict):
        others += [value for key, value in delta.items() if key != "content"]
    return (holder, field) if has_text and not any(others) else (None, "")
