"""The tally: what the chunks of one stream have said so far about tokens, finish, usage and errors."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.policy.billing import Counts
from headrace.types.chunk import BYTES_PER_TOKEN, PACKED_BYTES, Chunks, ChunkView
from headrace.types.engine import EngineEnd
from headrace.types.outcome import Cause, TokenSource

PASSED_ON = frozenset({400, 404, 413, 422, 429})
"""An engine's error statuses that a client can act on."""

MAX_MESSAGE = 2000
"""Characters of an engine's error message that are kept."""


class Tally:
    """Sums up one stream.

    Args:
        choices: How many choices were asked for.
        prompt_bytes: Size of the request, for an estimate where the engine counts nothing.
    """

    __slots__ = (
        "_choices",
        "_finished",
        "_prompt_bytes",
        "_running",
        "engine_usage",
        "error",
        "tokens",
        "unlogged_tokens",
    )

    def __init__(self, *, choices: int, prompt_bytes: int) -> None:
        self.tokens = 0
        """Our count; see ``Choice.tokens``."""
        self.unlogged_tokens = 0
        """Likewise, of what came too late to get into the log."""
        self.engine_usage: dict[str, Any] | None = None
        self.error: Any = None
        """The error object of a mid-stream error event."""
        self._choices = choices
        self._prompt_bytes = prompt_bytes
        self._finished: dict[int, str] = {}
        self._running: dict[int, int] = {}

    def count(self, chunks: Chunks) -> bool:
        """Take note of what the chunks say.

        Returns:
            True when all of them are ordinary; False when one has no choices or is an error event, so that
            ``without_ours`` must look at each.
        """
        is_plain = True
        for view in chunks.views:
            if view.usage is not None:
                self._report(view)
            if not view.choices or view.error is not None:
                is_plain = False
            for choice in view.choices:
                text = choice.delta.content
                if text.__class__ is str and 0 < len(text) <= PACKED_BYTES:
                    self.tokens += 1  # nearly always; the property costs more than all of this
                else:
                    self.tokens += choice.tokens
                if choice.finish_reason is not None:
                    self._finished[choice.index] = choice.finish_reason
        return is_plain

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

    def counts(self, *, delivered_tokens: int) -> Counts:
        """Return what a bill is made of."""
        usage, source = self.usage()
        details = usage.get("prompt_tokens_details")
        is_reported = source is TokenSource.ENGINE
        return Counts(
            # An engine that has accepted a prompt has read it, even if nobody waited for its first token.
            prompt_tokens=token_count(usage.get("prompt_tokens"))
            if is_reported
            else self._prompt_bytes // BYTES_PER_TOKEN,
            cached_tokens=token_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
            completion_tokens=token_count(usage.get("completion_tokens")),
            generated_tokens=self.tokens + self.unlogged_tokens,
            delivered_tokens=delivered_tokens,
            is_reported=is_reported,
        )

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
    def is_whole(self) -> bool:
        """Whether every choice has said why it stopped."""
        return len(self._finished) >= self._choices

    @property
    def finish_reason(self) -> str | None:
        """The engine's word for choice 0, or for the lowest choice that has one."""
        return self._finished[min(self._finished)] if self._finished else None

    def usage(self) -> tuple[dict[str, Any], TokenSource]:
        """Return the engine's usage; else our count, the prompt by its size."""
        if self.engine_usage is not None:
            return self.engine_usage, TokenSource.ENGINE
        prompt = self._prompt_bytes // BYTES_PER_TOKEN if self.tokens else 0
        total = prompt + self.tokens
        usage = {"prompt_tokens": prompt, "completion_tokens": self.tokens, "total_tokens": total}
        return usage, TokenSource.COUNTED


def token_count(value: object) -> int:
    """Return a token count from an engine's usage object; what is no count counts as 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


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
    return EngineEnd(
        cause=Cause.UPSTREAM_REJECTED,
        message=str(message)[:MAX_MESSAGE] if message else "the engine sent an error event",
        status=code if isinstance(code, int) and code in PASSED_ON else 502,
        error_type=_text(fields.get("type")),
        error_code=_text(code),
        error_param=_text(fields.get("param")),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:200]
