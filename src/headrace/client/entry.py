"""One entry of a stream, as a client gets it."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.protocol.chunk_view import DELTA_TYPES, choices_of

_CONTENT = DELTA_TYPES.keys() - {"role"}


class Entry(msgspec.Struct, frozen=True):
    """One chunk and its position."""

    offset: int
    chunk: dict[str, Any]
    """The engine's own ``chat.completion.chunk``, or ``text_completion``."""
    text: str
    """What it adds to the text of choice 0; empty for a chunk without text. Half a character (engines cut emoji between
    two chunks) waits for its other half in the next entry, so that every text can be printed."""


def text_of(chunk: dict[str, Any]) -> str:
    """Return the text that a chunk adds to choice 0; of content in parts, that of its text parts."""
    for index, choice, delta in choices_of(chunk):
        if index == 0:
            return _plain(delta.get("content")) or _plain(choice.get("text"))
    return ""


def bears_content(chunk: dict[str, Any]) -> bool:
    """True when a chunk adds to any choice: text, reasoning, a refusal, a tool call; never the role alone."""
    return any(
        choice.get("text") or any(delta.get(field) for field in _CONTENT) for _, choice, delta in choices_of(chunk)
    )


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
