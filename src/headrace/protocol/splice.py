"""The splice: the chunks of a later attempt, so that they go on where the log stands.

For the client it is one answer: it keeps the first attempt's ``id`` and ``created`` and has one role. ``model`` stays that
of the engine which truly answers.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Any

from headrace.errors import UpstreamProtocolError
from headrace.protocol.chunk_fields import ChunkFields, text_in
from headrace.protocol.chunk_view import view_of
from headrace.protocol.continuing import text_to_send
from headrace.protocol.joint import Joint
from headrace.types.chunk import Choice, Chunks, ChunkView


class Mode(enum.StrEnum):
    """What a later attempt's answer is to what was delivered."""

    FRESH = "fresh"
    """The answer from its beginning; nothing that bears content was delivered."""
    CONTINUE = "continue"
    """What follows the text that the engine was given (``continued_body``)."""
    REPLAY = "replay"
    """The answer from its beginning, which must be what was delivered before it goes on."""


class _Breach(Exception):
    """A chunk cannot follow what stands in the log."""


class Splice:
    """Rewrites the chunks of one later attempt; pure.

    Args:
        mode: What its answer is to what was delivered.
        delivered: The text in the log, of choice 0; of a character that was cut in half, the half that came.
        id: Of the first attempt's chunks; None while the log has none: then it is this attempt's own.
        created: Likewise.
        roles: Indices of the choices whose role is in the log.
        seam: Goes as field ``headrace`` into the first chunk behind the join that bears content; None: no such field.
        echoes: Whether a continuing engine first says again what it was given. This is never guessed: "ha" "ha" is a
            legal answer.
    """

    __slots__ = ("_created", "_id", "_is_anew", "_joint", "_mode", "_roles", "_seam", "breach", "is_joined")

    def __init__(
        self,
        *,
        mode: Mode,
        delivered: str = "",
        id: str | None = None,  # noqa: A002 (the field's own name)
        created: int | None = None,
        roles: Collection[int] = frozenset(),
        seam: dict[str, Any] | None = None,
        echoes: bool = False,
    ) -> None:
        self._mode = mode
        self._id = id
        self._created = created
        self._roles = frozenset(roles)
        self._seam = seam
        self._joint, self._is_anew = Joint(), mode is Mode.FRESH
        if mode is Mode.REPLAY:
            self._joint = Joint(prefix=delivered)
        elif mode is Mode.CONTINUE:
            sent = text_to_send(delivered)
            self._joint = Joint(prefix=sent if echoes else "", space=delivered[len(sent) :])
            # Nothing but white space was delivered, so the engine was not told: it answers anew, and may think first.
            self._is_anew = not sent
        self.breach: str | None = None
        """Why it ``is_broken``, for people."""
        self.is_joined = self._mode is Mode.REPLAY and self._joint.is_matched
        """All of what was delivered has come again (``REPLAY``), or the first content behind it has come (else)."""

    @property
    def is_broken(self) -> bool:
        """Whether the attempt does not go on where the log stands: nothing of it may follow any more."""
        return self.breach is not None

    def feed(self, chunks: Chunks) -> Chunks | None:
        """Return what goes into the log of the attempt's next chunks; None for nothing.

        Chunks with an error object pass as they are, usage without choices gets the identity only. What comes before the
        chunk that breaks it is returned; once ``is_broken``, nothing is.
        """
        lines: list[bytes] = []
        views: list[ChunkView] = []
        for line, view in zip(chunks.lines(), chunks.views, strict=True):
            spliced = None if self.is_broken else self._spliced(line, view)
            if spliced is not None:
                lines.append(spliced[0])
                views.append(spliced[1])
        return Chunks(data=b"\n".join(lines), views=views) if lines else None

    def _spliced(self, line: bytes, view: ChunkView) -> tuple[bytes, ChunkView] | None:
        if view.error is not None:
            return line, view
        fields = ChunkFields(line)
        try:
            kept = self._without_delivered(fields, view)
            return None if kept is None else (self._identified(fields, kept), kept)
        except (_Breach, UpstreamProtocolError) as breach:
            self.breach = str(breach)
            return None

    def _without_delivered(self, fields: ChunkFields, view: ChunkView) -> ChunkView | None:
        """Take from a chunk what the log has already. Returns its view afterwards; None when nothing is left of it.

        Raises:
            _Breach: It cannot follow what stands in the log.
            UpstreamProtocolError: It is nested too deeply.
        """
        for position, choice in enumerate(view.choices):
            if choice.delta.role is not None and choice.index in self._roles:
                fields.drop_role(position)
        self._cut_text(fields, view)
        if not self._joint.is_matched:
            return None if view.choices or view.usage is None else view
        if self._mode is Mode.REPLAY:
            self.is_joined = True
        if not fields.is_changed:
            return view
        left = view_of(fields.encoded()) or ChunkView()
        # Adapters may tell a view of usage that is not in the chunk.
        left.usage = left.usage or view.usage
        return None if _is_hollow(left) else left

    def _cut_text(self, fields: ChunkFields, view: ChunkView) -> None:
        if not self._is_anew and (self._mode is Mode.CONTINUE or not self._joint.is_matched):
            self._check(view)
        has_text = any(choice.delta.content or choice.text for choice in view.choices)
        if has_text and not self._joint.is_done:
            self._take_text(fields)
        if not self._joint.is_matched and any(choice.finish_reason is not None for choice in view.choices):
            raise _Breach("the answer ended before all of the text so far had come again")

    def _take_text(self, fields: ChunkFields) -> None:
        text = fields.text()
        if text is None:
            if self._is_anew:
                return
            raise _Breach("a chunk's text could not be read")
        new = self._joint.take(text)
        if self._joint.is_broken:
            raise _Breach("the answer differs from the text so far")
        if new != text:
            fields.put_text(new)

    def _check(self, view: ChunkView) -> None:
        for choice in view.choices:
            more = _beyond_text(choice)
            if more is not None:
                raise _Breach(f"the answer holds {more} where text was to follow")

    def _identified(self, fields: ChunkFields, view: ChunkView) -> bytes:
        """Return a chunk as one of the first attempt's, with the seam if it is the first behind it."""
        if any(choice.bears_content for choice in view.choices):
            self.is_joined = True
            if self._seam is not None:
                fields.put("headrace", self._seam)
                self._seam = None
        if self._id is not None:
            fields.put("id", self._id)
        if self._created is not None:
            fields.put("created", self._created)
        return fields.encoded()


def _is_hollow(view: ChunkView) -> bool:
    """Whether nothing is left in a chunk that anybody would miss."""
    return view.usage is None and not any(
        choice.bears_content or choice.finish_reason is not None or choice.delta.role is not None
        for choice in view.choices
    )


def _beyond_text(choice: Choice) -> str | None:
    """Return what a choice adds to an answer that is not text of the first choice; None when that is all."""
    delta = choice.delta
    if choice.index != 0 and choice.bears_content:
        return "a further choice"
    if delta.reasoning_content or delta.reasoning:
        return "reasoning"
    if delta.tool_calls or delta.function_call:
        return "a tool call"
    if delta.refusal:
        return "a refusal"
    return "content that is not text" if delta.audio or text_in(delta.content or "") is None else None
