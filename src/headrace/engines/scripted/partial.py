"""The beginning of an answer inside a request, and the rest that an engine adds to it.

Engines take the beginning of a chat's answer as a last message of the assistant, which they may want marked; which
form a simulated engine takes is ``Script.continues``. Of a plain completion, what stands after ``Script.prompt`` is the
beginning of the answer.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.engines.scripted.request import ChatRequest, CompletionRequest, Request
from headrace.engines.scripted.script import Script
from headrace.engines.scripted.text import inside_of
from headrace.types.engine import Continuation

_SHOWN_CHARS = 40
"""Of each text, where they differ."""


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of an answer, as a request has it."""

    text: str
    """As it was sent."""
    form: Continuation | None
    """How the request marks it; None in plain completions, which mark nothing."""
    is_taken: bool
    """Whether the script's engine goes on with it."""


class Rest(msgspec.Struct, frozen=True):
    """What follows a partial answer."""

    passed: int
    """Text deltas of the whole answer that the partial answer reaches into."""
    first: bytes = b""
    """What is left of the last of these, as the inside of a JSON string; sent as a delta unless it is empty."""


class Difference(msgspec.Struct, frozen=True):
    """Where a partial answer stops being the beginning of the answer."""

    at: int
    """Characters that are the same."""
    found: str
    """What the partial answer has there, shortened."""
    expected: str
    """What the answer has there, shortened; empty where it ends."""

    @property
    def message(self) -> str:
        found, expected = (msgspec.json.encode(text).decode() for text in (self.found, self.expected))
        has = f"the answer has {expected}" if self.expected else "the answer ends"
        return f"the partial answer is not how this answer begins: after {self.at} characters it has {found}, {has}"


def partial_of(request: Request, script: Script) -> Partial | None:
    """Return the beginning of an answer that ``request`` has, None when it has none."""
    if isinstance(request, ChatRequest):
        text = _assistant_text(request.messages[-1])
        if text is None:
            return None
        form = _form_of(request)
        return Partial(text=text, form=form, is_taken=_takes(script.continues, form))
    if isinstance(request, CompletionRequest) and script.prompt is not None:
        text = request.prompt.removeprefix(script.prompt)
        if text and text != request.prompt:
            return Partial(text=text, form=None, is_taken=True)
    return None


def opening_seed(request: Request, partial: Partial | None) -> int:
    """Return a number that depends on what the answer is to, and not on what the request has of the answer."""
    opening: Any = None
    if isinstance(request, ChatRequest):
        opening = request.messages if partial is None else request.messages[:-1]
    elif isinstance(request, CompletionRequest):
        opening = request.prompt if partial is None else request.prompt.removesuffix(partial.text)
    digest = hashlib.blake2b(msgspec.json.encode(opening, order="sorted"), digest_size=8)
    return int.from_bytes(digest.digest())


def rest_after(partial: str, pieces: Iterator[bytes]) -> Rest | Difference:
    """Return what follows ``partial``, or where it differs from the answer.

    Args:
        partial: The beginning of the answer.
        pieces: The text deltas of the whole answer, each as the inside of a JSON string. No more of them are taken
            than ``partial`` reaches, and a few to show.
    """
    at = passed = 0
    while at < len(partial):
        piece = next(pieces, None)
        if piece is None:
            return Difference(at, partial[at : at + _SHOWN_CHARS], "")
        text = _text_of(piece)
        passed += 1
        same = _same(partial, at, text)
        at += same
        if same < len(text):
            if at < len(partial):
                return Difference(at, partial[at : at + _SHOWN_CHARS], _some(text[same:], pieces))
            return Rest(passed, inside_of(text[same:]))
    return Rest(passed)


def _assistant_text(message: dict[str, Any]) -> str | None:
    """Return the text of an assistant's message; None for what is none, or holds more than text."""
    if message.get("role") != "assistant" or message.get("tool_calls"):
        return None
    content = message.get("content")
    if isinstance(content, list):
        texts = [_part_text(part) for part in content]
        return None if None in texts else "".join(filter(None, texts))
    return content if isinstance(content, str) else None


def _part_text(part: Any) -> str | None:
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else None


def _form_of(request: ChatRequest) -> Continuation:
    if request.continue_final_message:
        return Continuation.FLAG
    return Continuation.PREFIX if request.messages[-1].get("prefix") is True else Continuation.ASSISTANT


def _takes(continues: Continuation, form: Continuation) -> bool:
    """Tell whether an engine goes on with a message in ``form``; one that wants no mark ignores marks."""
    return form is continues or continues is Continuation.ASSISTANT


def _text_of(piece: bytes) -> str:
    return msgspec.json.decode(b'"' + piece + b'"', type=str)


def _same(partial: str, at: int, text: str) -> int:
    """Return how many characters of ``text`` are those of ``partial`` from ``at`` on."""
    if partial.startswith(text, at):
        return len(text)
    found = partial[at : at + len(text)]
    return next((number for number, (a, b) in enumerate(zip(found, text, strict=False)) if a != b), len(found))


def _some(text: str, pieces: Iterator[bytes]) -> str:
    """Return the first characters of ``text`` and what follows it."""
    for piece in itertools.islice(pieces, _SHOWN_CHARS):
        if len(text) >= _SHOWN_CHARS:
            break
        text += _text_of(piece)
    return text[:_SHOWN_CHARS]
