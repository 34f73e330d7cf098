"""What has come of a stream, every entry once."""

from __future__ import annotations

from typing import Any

from headrace.client.entry import Entry, text_of
from headrace.errors import UpstreamProtocolError
from headrace.protocol.chunk_view import choices_of
from headrace.protocol.json_object import well_formed
from headrace.protocol.tool_calls import ToolCalls


class Transcript:
    """Collects entries in order. Memory is of the order of the text and the tool calls.

    Args:
        after: Offset behind which it begins; -1 for the start.
        is_merged: Entries may stand for several, so that offsets jump.
    """

    def __init__(self, *, after: int = -1, is_merged: bool = False) -> None:
        self.last_offset = after
        """Of the newest entry."""
        self.finish_reason: str | None = None
        """Of choice 0, as its chunk said."""
        self.usage: dict[str, Any] | None = None
        """As a chunk said."""
        self._is_merged = is_merged
        self._texts: list[str] = []
        self._half = ""
        self._tool_calls = ToolCalls()

    @property
    def text(self) -> str:
        """The text of all entries. Half a character at the very end is left out."""
        self._texts = ["".join(self._texts)]
        return self._texts[0]

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The tool calls of choice 0 so far."""
        return self._tool_calls.calls()

    def add(self, offset: int, chunk: dict[str, Any]) -> Entry | None:
        """Take a chunk; returns None when its entry is here already.

        Raises:
            UpstreamProtocolError: Entries before it are missing.
        """
        if offset <= self.last_offset:
            return None
        if not self._is_merged:
            self.check_next(offset)
        self.last_offset = offset
        self._note(chunk)
        return Entry(offset, chunk, self._next_text(text_of(chunk)))

    def check_next(self, offset: int) -> None:
        """Check that nothing is missing before an entry or end.

        Raises:
            UpstreamProtocolError: Something is.
        """
        if offset > self.last_offset + 1:
            raise UpstreamProtocolError(f"the relay sent offset {offset} behind {self.last_offset}")

    def _note(self, chunk: dict[str, Any]) -> None:
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        for index, choice, delta in choices_of(chunk):
            if index == 0:
                self._tool_calls.add(delta.get("tool_calls"))
                self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def _next_text(self, text: str) -> str:
        """Return the printable text so far: the first half of a surrogate pair waits for the second."""
        if text:
            text, self._half = self._half + text, ""
            if "\ud800" <= text[-1] <= "\udbff":
                text, self._half = text[:-1], text[-1]
            text = well_formed(text)
            self._texts.append(text)
        return text
