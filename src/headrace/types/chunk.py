"""One engine chunk: its bytes verbatim, and a typed view of the few fields that we act on.

Shape: OpenAI's ``chat.completion.chunk`` object
(https://platform.openai.com/docs/api-reference/chat/streaming), or its older ``text_completion``
(https://platform.openai.com/docs/api-reference/completions/object). Fields that are not named here survive in the bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec

PACKED_BYTES = 24
"""Engines send a token a delta, and hardly any token is longer; those that pack several send longer texts."""

BYTES_PER_TOKEN = 4
"""Rough size of a token, where nobody has counted."""


class Delta(msgspec.Struct, gc=False):
    """The change a chunk carries for one choice. Types are lenient: vendors send lists where OpenAI sends text."""

    role: str | None = None
    content: str | list[Any] | None = None
    reasoning_content: str | list[Any] | None = None
    reasoning: str | list[Any] | dict[str, Any] | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    function_call: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None

    @property
    def bears_content(self) -> bool:
        """True when this delta adds to the answer: text, reasoning, a refusal, a tool call; never the role alone."""
        return bool(
            self.content
            or self.reasoning_content
            or self.tool_calls
            or self.reasoning
            or self.refusal
            or self.function_call
            or self.audio
        )


class Choice(msgspec.Struct, gc=False):
    """One choice of a chunk; ``text`` instead of a delta in ``text_completion`` chunks."""

    index: int = 0
    delta: Delta = msgspec.field(default_factory=Delta)
    finish_reason: str | None = None
    text: str | None = None

    @property
    def bears_content(self) -> bool:
        """True when it adds to the answer."""
        return self.delta.bears_content or bool(self.text)

    @property
    def tokens(self) -> int:
        """How many tokens it adds, by our count: one, or as many as its text has room for when that is long."""
        delta = self.delta
        text = delta.content or self.text or delta.reasoning_content or delta.reasoning
        if isinstance(text, str) and text:
            return 1 if len(text) <= PACKED_BYTES else -(-len(text.encode()) // BYTES_PER_TOKEN)
        return 1 if self.bears_content else 0


class ChunkView(msgspec.Struct, gc=False):
    """What the core acts on. ``error`` is the mid-stream error object of OpenAI-compatible engines."""

    choices: list[Choice] = []
    usage: dict[str, Any] | None = None
    error: Any = None


class Chunks(msgspec.Struct, frozen=True, gc=False):
    """Some successive chunks of one stream.

    ``data`` holds one JSON object a line, lines joined by a single LF and none at the end, so line *k* belongs to
    ``views[k]``. The JSON is the engine's own, byte for byte; only a raw CR or LF between its tokens has become a
    space, so that lines stay lines.
    """

    data: bytes
    views: list[ChunkView]

    def lines(self) -> list[bytes]:
        """Return the JSON of each chunk."""
        return self.data.split(b"\n")
