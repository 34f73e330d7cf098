"""English for the simulator to say, so that what is compressed is as regular as real answers are."""

from __future__ import annotations

import itertools
from pathlib import Path

MARK = b"|"
"""May stand before each word, to count it by. No JSON, framing or id of the relay or the simulator has it."""

SOURCE = Path(__file__).parents[1] / "LICENSE"


def prose(words: int, *, mark: bytes = b"") -> str:
    """Return so many words of text, each of which the simulator takes for a token, with ``mark`` before each."""
    spoken = itertools.islice(itertools.cycle(SOURCE.read_text().split()), words)
    return " ".join(mark.decode() + word for word in spoken)
