"""What an answer begins with although its reader has it already: the last word of a partial answer, written again."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.types.chunk import ChunkView

_decoder = msgspec.json.Decoder(ChunkView)


class Overlap:
    """Takes the first characters out of the chunks of one choice.

    The tokens that wrote them are counted as prompt, where the text belongs, and no longer as answer. That includes the
    token that reaches beyond them.

    Args:
        characters: How many, 1 or more.
    """

    __slots__ = ("_left", "_tokens")

    def __init__(self, characters: int) -> None:
        self._left = characters
        self._tokens = 0

    def trim(self, line: bytes, view: ChunkView) -> tuple[bytes, ChunkView] | None:
        """Return a chunk without what is to go, None when nothing is left of it."""
        text = view.choices[0].delta.content if view.choices else None
        if self._left and isinstance(text, str) and text:
            dropped = text[: self._left]
            self._left -= len(dropped)
            self._tokens += 1
            if dropped == text and view.choices[0].finish_reason is None:
                return None
            chunk = msgspec.json.decode(line)
            chunk["choices"][0]["delta"]["content"] = text[len(dropped) :]
            return _encoded(chunk)
        if view.usage and self._tokens:
            chunk = msgspec.json.decode(line)
            chunk["usage"]["prompt_tokens"] += self._tokens
            chunk["usage"]["completion_tokens"] -= self._tokens
            return _encoded(chunk)
        return line, view


def _encoded(chunk: Any) -> tuple[bytes, ChunkView]:
    line = msgspec.json.encode(chunk)
    return line, _decoder.decode(line)
