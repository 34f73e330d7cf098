"""The text of an answer, delta by delta: what its script says, or words drawn from a seed."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator

import msgspec

from headrace.engines.scripted.faults import SplitUtf8
from headrace.engines.scripted.script import DEFAULT_TOKENS, Script

_DRAWN_WORDS = 2048
"""Words drawn for one choice; a longer text repeats them."""
_WORD = re.compile(r"\s*\S+|\s+")

_WORDS = (
    b" a", b" and", b" answer", b" are", b" as", b" at", b" bank", b" below", b" bridge", b" by", b" channel", b" clear",
    b" current", b" down", b" drop", b" every", b" falls", b" field", b" flows", b" for", b" from", b" gate", b" height",
    b" in", b" is", b" it", b" keeps", b" lake", b" level", b" long", b" low", b" mill", b" more", b" never", b" not",
    b" of", b" on", b" over", b" path", b" pool", b" rain", b" river", b" runs", b" slow", b" so", b" spring", b" steady",
    b" stone", b" stream", b" that", b" the", b" then", b" through", b" to", b" turns", b" under", b" water", b" wheel",
    b" when", b" which", b" wide", b" with", b" without", b" work",
)  # fmt: skip
_WIDE_WORDS = tuple(
    word.encode()
    for word in (" Grüße", " água", " вода", " νερό", " 水車", " 川の", " 물레", " नदी", " 🌊", " 👩‍🔧 né")
)


def words_of(text: str) -> list[str]:
    """Return the deltas of a text: words with the white space before them. Joined they are the text."""
    return _WORD.findall(text)


def text_tokens(script: Script) -> int:
    """Return how many text deltas each choice of a whole answer has."""
    if script.tokens is not None:
        return 0 if script.deltas == [] or script.text == "" else script.tokens
    if script.deltas is not None:
        return len(script.deltas)
    if script.text is not None:
        return len(words_of(script.text))
    return 0 if script.tool_calls else DEFAULT_TOKENS


def pieces_of(script: Script, *, seed: int, index: int) -> Iterator[bytes]:
    """Yield the text deltas of a whole answer, each as the inside of a JSON string.

    Args:
        script: The script.
        seed: Draws the words of a script without a text.
        index: The choice.
    """
    tokens = text_tokens(script)
    exact = script.deltas if script.deltas is not None else None if script.text is None else words_of(script.text)
    if exact is None:
        return itertools.islice(_drawn(script, seed, index, tokens), tokens)
    return itertools.islice(itertools.cycle([inside_of(piece) for piece in exact]), tokens)


def inside_of(text: str) -> bytes:
    """Return ``text`` as the inside of a JSON string."""
    return msgspec.json.encode(text)[1:-1]


def _drawn(script: Script, seed: int, index: int, tokens: int) -> Iterator[bytes]:
    words = _WIDE_WORDS if isinstance(script.fault, SplitUtf8) else _WORDS
    draw = random.Random(f"{seed}:{index}")  # noqa: S311 (words, no secret)
    chosen = draw.choices(words, k=min(tokens, _DRAWN_WORDS))
    first = chosen[0].strip().capitalize() if chosen else b""
    return itertools.chain([first], itertools.islice(itertools.cycle(chosen), 1, None))
