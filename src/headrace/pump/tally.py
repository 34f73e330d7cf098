"""The tally: what the chunks of one stream have said so far about tokens, finish, usage and errors."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.policy.billing import Counts
from headrace.policy.faults import Fault, fault_of
from headrace.pump.part import Part, add_usage, token_count
from headrace.types.chunk import PACKED_BYTES, Choice, Chunks, ChunkView, Delta
from headrace.types.engine import EngineEnd
from headrace.types.outcome import Cause, TokenSource

PASSED_ON = frozenset({400, 404, 413, 422, 429})
"""An engine's error statuses that a client can act on."""

_STATUS_OF_FAULT = {
    Fault.CONTEXT_TOO_LONG: 400,
    Fault.POLICY_REFUSAL: 400,
    Fault.REJECTED: 400,
    Fault.RATE_LIMITED: 429,
    Fault.OUT_OF_QUOTA: 429,
}
"""What such an error has when it is a response of its own."""

MAX_MESSAGE = 2000
"""Characters of an engine's error message that are kept."""


class Tally:
    """Sums up one stream: the attempt that runs, and those before it that have brought a part of the answer.

    Args:
        choices: How many choices were asked for.
        prompt_bytes: Size of the request, for an estimate where the engine counts nothing.
        keeps_text: Whether the text is kept too, so that another engine can go on with it.
    """

    __slots__ = (
        "_choices",
        "_finished",
        "_keeps_text",
        "_prompt_bytes",
        "_roles",
        "_running",
        "_text",
        "_tokens_before",
        "engine_usage",
        "error",
        "is_plain",
        "parts",
        "tokens",
        "unlogged_tokens",
    )

    def __init__(self, *, choices: int, prompt_bytes: int, keeps_text: bool = False) -> None:
        self.tokens = 0
        """Our count of all that is in the log; see ``Choice.tokens``."""
        self.unlogged_tokens = 0
        """Our count of what the attempt that runs has sent, and is not in the log."""
        self.engine_usage: dict[str, Any] | None = None
        """Of the attempt that runs."""
        self.error: Any = None
        """The error object of a mid-stream error event."""
        self.parts: list[Part] = []
        """Of attempts before the one that runs; only of those that have answered."""
        self.is_plain = True
        """Whether the answer is nothing but text so far; not looked at unless text is kept."""
        self._roles: set[int] = set()
        self._tokens_before = 0
        self._choices = choices
        self._prompt_bytes = prompt_bytes
        self._keeps_text = keeps_text
        self._text = bytearray()
        self._finished: dict[int, str] = {}
        self._running: dict[int, int] = {}

    def count(self, chunks: Chunks) -> bool:
        """Take note of what the chunks say.

        Returns:
            True when all of them are ordinary; False when one has no choices or is an error event, so that
            ``without_ours`` must look at each.
        """
        is_ordinary = True
        texts: list[str] = []
        is_kept = self._keeps_text
        for view in chunks.views:
            if view.usage is not None:
                self._report(view)
            if not view.choices or view.error is not None:
                is_ordinary = False
            for choice in view.choices:
                text = choice.delta.content
                if text.__class__ is str and 0 < len(text) <= PACKED_BYTES:
                    self.tokens += 1  # nearly always; the property costs more than all of this
                    if is_kept:
                        texts.append(text)
                        # Beside text there may be more: some engines send a whole tool call with it.
                        if self.is_plain and _more_than_text(choice.delta):
                            self.is_plain = False
                else:
                    self.tokens += choice.tokens
                    self._note_odd(choice, texts)
                if choice.finish_reason is not None:
                    self._finished[choice.index] = choice.finish_reason
        if is_kept:
            self._text += "".join(texts).encode()
        return is_ordinary

    def _note_odd(self, choice: Choice, texts: list[str]) -> None:
        """Take note of a delta that is no short text: a long one, a plain completion's, or no text at all."""
        if choice.delta.role is not None:
            self._roles.add(choice.index)
        text = choice.delta.content or choice.text
        if isinstance(text, str):
            texts.append(text)
        if self.is_plain and choice.bears_content and not _is_plain(choice):
            self.is_plain = False

    @property
    def roles(self) -> frozenset[int]:
        """Choices whose role has come; that of one which has text is taken for granted."""
        return frozenset(self._roles | {0}) if self.tokens else frozenset(self._roles)

    @property
    def text(self) -> str:
        """The text so far, where it is kept; of one choice."""
        return self._text.decode()

    @property
    def part(self) -> Part:
        """What the attempt that runs has brought."""
        return Part(
            engine_usage=self.engine_usage,
            tokens=self.tokens - self._tokens_before,
            unlogged_tokens=self.unlogged_tokens,
            prompt_bytes=self._prompt_bytes,
        )

    def next_part(self, *, prompt_bytes: int) -> bool:
        """Begin to sum up another attempt.

        Returns:
            Whether the one before it has answered: then it stays a part of the sums. One that has not is forgotten.
        """
        part = self.part
        has_answered = part.tokens > 0
        if has_answered:
            self.parts.append(part)
        self._tokens_before = self.tokens
        self.unlogged_tokens = 0
        self.engine_usage = self.error = None
        self._prompt_bytes = prompt_bytes
        self._finished.clear()
        self._running.clear()
        return has_answered

    @property
    def generated_tokens(self) -> int:
        """Our count of what engines have sent for this answer, whatever became of it."""
        tokens = self.tokens + self.unlogged_tokens
        return tokens + sum([part.unlogged_tokens for part in self.parts]) if self.parts else tokens

    def count_unlogged(self, chunks: Chunks) -> None:
        """Take note of what an engine had sent when its stream was ended: it was generated, and nobody gets it."""
        for view in chunks.views:
            if view.usage is not None:
                self._report(view)
            self.unlogged_tokens += sum(choice.tokens for choice in view.choices)

    def _report(self, view: ChunkView) -> None:
        """Take an engine's usage over. While several choices run, each of their chunks counts its own choice only."""
        usage = view.usage
        if usage is not None and view.choices and self._choices > 1:
            self._running[view.choices[0].index] = token_count(usage.get("completion_tokens"))
            usage = {**usage, "completion_tokens": sum(self._running.values())}
        self.engine_usage = usage

    def counts(self, *, delivered_tokens: int) -> list[Counts]:
        """Return what a bill is made of, one part of the answer after the other; what was delivered fills the first ones."""
        counts = []
        for part in (*self.parts, self.part):
            delivered = min(delivered_tokens, part.tokens)
            delivered_tokens -= delivered
            counts.append(part.counts(delivered_tokens=delivered))
        return counts

    def without_ours(self, chunks: Chunks, *, wants_usage: bool) -> tuple[bytes, int]:
        """Leave out the usage chunk that only we asked for, and everything from an error event on.

        Returns:
            The remaining lines and their number.
        """
        kept: list[bytes] = []
        for line, view in zip(chunks.lines(), chunks.views, strict=True):
            if view.error is not None:
                self.error = view.error
                break
            if view.usage is None or view.choices or wants_usage:
                kept.append(line)
        return b"\n".join(kept), len(kept)

    @property
    def has_usage(self) -> bool:
        """Whether the engine that runs has reported its usage, all of it."""
        return self.engine_usage is not None and "completion_tokens" in self.engine_usage

    @property
    def is_whole(self) -> bool:
        """Whether every choice has said why it stopped."""
        return len(self._finished) >= self._choices

    @property
    def is_filtered(self) -> bool:
        """Whether a filter of the engine's has ended any choice."""
        return "content_filter" in self._finished.values()

    @property
    def finish_reason(self) -> str | None:
        """The engine's word for choice 0, or for the lowest choice that has one."""
        return self._finished[min(self._finished)] if self._finished else None

    def usage(self) -> tuple[dict[str, Any], TokenSource]:
        """Return the usage of the whole answer: the engines' own, if all of them have reported it; else our count."""
        if not self.parts:
            return self.part.usage
        parts = [*self.parts, self.part]
        if not parts[-1].tokens and not self.has_usage:
            parts.pop()  # it did not get as far as reading the prompt, for all we know
        usages = [part.usage for part in parts]
        total: dict[str, Any] = {}
        for usage, _ in usages:
            add_usage(total, usage)
        is_reported = all(source is TokenSource.ENGINE for _, source in usages)
        return total, TokenSource.ENGINE if is_reported else TokenSource.COUNTED


def _is_plain(choice: Choice) -> bool:
    """Return whether all that a choice adds is text."""
    return isinstance(choice.delta.content or choice.text, str) and not _more_than_text(choice.delta)


def _more_than_text(delta: Delta) -> bool:
    return bool(
        delta.tool_calls
        or delta.reasoning_content
        or delta.reasoning
        or delta.refusal
        or delta.function_call
        or delta.audio
    )


def usage_chunk(first_line: bytes, usage: dict[str, Any]) -> bytes:
    """Return the usage chunk of OpenAI's contract, for an engine that sent none.

    Args:
        first_line: Any chunk of the stream: its id, created and model are taken over.
        usage: The usage object.
    """
    head = msgspec.json.decode(first_line)
    named = {key: head[key] for key in ("id", "created", "model") if key in head}
    return msgspec.json.encode({"object": "chat.completion.chunk", **named, "choices": [], "usage": usage})


def end_of_error_event(error: Any) -> EngineEnd:
    """Return the end that an engine's mid-stream ``error`` object means.

    Before content it is a rejection, with the engine's own status when clients can act on that; after content the pump
    makes it ``upstream_closed``.
    """
    fields = error if isinstance(error, dict) else {"message": error}
    code = fields.get("code")
    message = fields.get("message")
    end = EngineEnd(
        cause=Cause.UPSTREAM_REJECTED,
        message=str(message)[:MAX_MESSAGE] if message else "the engine sent an error event",
        upstream_status=code if isinstance(code, int) and 400 <= code <= 599 else None,
        error_type=_text(fields.get("type")),
        error_code=_text(code),
        error_param=_text(fields.get("param")),
    )
    return msgspec.structs.replace(end, status=_status_of(end))


def _status_of(end: EngineEnd) -> int:
    """Return the status that a client gets: the engine's own, or the one that goes with what the error is called."""
    if end.upstream_status in PASSED_ON:
        return end.upstream_status
    return 502 if end.upstream_status is not None else _STATUS_OF_FAULT.get(fault_of(end), 502)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:200]
