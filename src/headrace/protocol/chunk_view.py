"""Typed views of chunks, as far as possible also of odd ones.

A chunk whose types differ from OpenAI's is still a chunk: dropping it would lose text, or the finish reason that tells a
whole answer from a cut one. So values of an unexpected type are wrapped into an expected one, never thrown away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.protocol.json_object import decode_object, well_formed
from headrace.types.chunk import Choice, ChunkView, Delta

_HAS_NO_CHOICES = re.compile(rb'"choices":\s*\[\]')

_DECODER = msgspec.json.Decoder(ChunkView)

DELTA_TYPES: dict[str, tuple[type, ...]] = {
    "role": (str,),
    "content": (str, list),
    "reasoning_content": (str, list),
    "reasoning": (str, list, dict),
    "refusal": (str,),
    "tool_calls": (list,),
    "function_call": (dict,),
    "audio": (dict,),
}
"""What each field of ``Delta`` may hold."""


def view_of(data: bytes) -> ChunkView | None:
    """Return the view of one chunk's JSON (UTF-8); None when it is not a JSON object."""
    try:
        return _DECODER.decode(data)
    except (ValueError, RecursionError):
        chunk = decode_object(data)
    try:
        return None if chunk is None else _odd_view(chunk)
    except RecursionError:
        return None


def views_of(lines: bytes) -> list[ChunkView] | None:
    """Return the views of JSON texts joined by LF, decoded in one go; None when one of them is not a plain chunk.

    The texts may share lines or span them: the caller checks that there are as many views as lines.
    """
    try:
        # msgspec skips over fields that it does not know without looking at their UTF-8.
        if not lines.isascii():
            lines.decode()
        return _DECODER.decode_lines(lines)
    except (ValueError, RecursionError):
        return None


def tokens_in(lines: bytes) -> int:
    """Return how many tokens some chunks add, by our count; they are JSON texts joined by LF."""
    views = views_of(lines)
    if views is None:
        views = [view for line in lines.split(b"\n") if (view := view_of(line)) is not None]
    return sum(choice.tokens for view in views for choice in view.choices)


# A string cannot hold a quotation mark that no backslash precedes, and a line ends with the brace of the chunk itself, so
# this is the chunk's own field. Usage objects nest once, for details; one with odd strings stays where it is.
_PLAIN = rb'(?:[^{}"]|"[^"\\{}]*")'
_RUNNING_USAGE = re.compile(rb',"usage":\s*\{(?:%s|\{%s*\})*\}(?=\}$)' % (_PLAIN, _PLAIN), re.MULTILINE)


def without_running_usage(lines: bytes) -> bytes:
    """Return chunks without the usage that stands last in those that have choices; others stay as they are.

    Engines that are asked for it send one with every chunk (vLLM's ``stream_options.continuous_usage_stats``).
    """
    if b'"choices":[]' in lines or b'"choices": []' in lines:
        kept = [line if _HAS_NO_CHOICES.search(line) else _RUNNING_USAGE.sub(b"", line) for line in lines.split(b"\n")]
        return b"\n".join(kept)
    return _RUNNING_USAGE.sub(b"", lines)


def text_of(data: bytes) -> str:
    """Return the text that one chunk adds to choice 0; of content in parts, that of its text parts."""
    view = view_of(data)
    for choice in view.choices if view is not None else ():
        if choice.index == 0:
            content = choice.text or choice.delta.content or ""
            if isinstance(content, str):
                return content
            return "".join(
                part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
    return ""


def choices_of(chunk: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Yield index, choice and delta of each choice of a decoded chunk; a choice without an index has its position."""
    choices = chunk.get("choices")
    for position, choice in enumerate(choices if isinstance(choices, list) else [choices]):
        if isinstance(choice, dict):
            index = choice.get("index")
            yield index if type(index) is int else position, choice, _delta_of(choice)


def _delta_of(choice: dict[str, Any]) -> dict[str, Any]:
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return delta
    return {"content": delta} if delta else {}


def _odd_view(chunk: dict[str, Any]) -> ChunkView:
    # The view's text goes to filters, counters and encoders, which cannot take half a surrogate pair.
    chunk = json.loads(well_formed(json.dumps(chunk, ensure_ascii=False)))
    return ChunkView(
        choices=[
            Choice(
                index=index,
                delta=Delta(**{name: _fitted(delta.get(name), types) for name, types in DELTA_TYPES.items()}),
                finish_reason=_fitted(choice.get("finish_reason"), (str,)),
                text=_fitted(choice.get("text"), (str,)),
            )
            for index, choice, delta in choices_of(chunk)
        ],
        usage=_fitted(chunk.get("usage"), (dict,)),
        error=chunk.get("error"),
    )


def _fitted(value: Any, types: tuple[type, ...]) -> Any:
    """Return ``value`` or a wrapping of it that is of one of ``types``; None for null, empty, zero and false."""
    if not value:
        return None
    text = json.dumps(value, ensure_ascii=False)
    listed, named = [value], {"value": value}
    is_nested = isinstance(value, dict | list)
    shapes = (value, listed, named, text) if is_nested else (value, text, listed, named)
    return next(shape for shape in shapes if isinstance(shape, types))
