"""The script: what one request does. JSON field ``simulate`` of a request, laid over the server's default."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headrace.engines.scripted.faults import (
    FIXED_LENGTH,
    NEED_CHUNKED,
    CutCloseFramed,
    Fault,
    Ms,
)
from headrace.types.engine import Continuation

DEFAULT_TOKENS = 64
MAX_TOKENS = 1_000_000
"""Longest answer, in deltas of one choice."""
MAX_CHOICES = 128
MAX_PAD_BYTES = 1_000_000

Framing = Literal["chunked", "length", "close"]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tool call: a first frame with id and name, then the arguments in fragments."""

    name: str
    arguments: str = "{}"
    """JSON as text, sent as it is."""
    id: str | None = None
    """None makes one up."""
    fragment_chars: Annotated[int, msgspec.Meta(ge=1)] = 8


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one request does.

    The order of a stream is: head, role chunk, reasoning, text, tool calls, one chunk a choice with the finish reason,
    usage, ``[DONE]``. The head goes out at once; delta number *k* of every choice is due ``ttft_ms + k * itl_ms`` after
    the request was accepted, the role chunk with the first delta, all that follows the last delta with that.
    A blocking answer comes as a whole when its last delta would.
    """

    ttft_ms: Ms = 0
    itl_ms: Ms = 0
    """Gap between two deltas; 0 sends as fast as the client reads."""
    jitter_ms: Ms = 0
    """Each delta is late by a random time up to this; delays do not add up, and order is kept."""

    tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] | None = None
    """Text deltas of each choice; ``text`` and ``deltas`` are cut or repeated to fit. None means all of these, no text
    beside ``tool_calls``, and else 64. The request's ``max_completion_tokens`` or ``max_tokens`` cuts all deltas, and
    then the finish reason is ``length``."""
    text: str | None = None
    """Exact text. A delta is one word with the white space before it; white space at the very end is one more."""
    deltas: list[str] | None = None
    """Exact deltas, instead of ``text``."""
    seed: int | None = None
    """Fixes the words of the default text, and the jitter. None takes the request's ``seed``, or 0 if its
    ``temperature`` is 0; else every request has other words, or, with ``continues`` or ``prompt``, every question:
    the messages (the prompt) without the partial answer are then the seed."""
    reasoning: str | None = None
    """Text that comes before the answer, split like ``text``."""
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    tool_calls: list[ToolCall] = []
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHOICES)] | None = None
    """Choices, interleaved. None takes the request's ``n``."""
    role_chunk: bool = True
    """Begin with a chunk whose delta is the role. False sends no role at all."""
    finish_reason: str | msgspec.UnsetType | None = msgspec.UNSET
    """Unset: ``length``, ``tool_calls`` or ``stop``, whichever is true. None sends none."""
    logprobs: bool | None = None
    """None does what the request asks."""
    usage: Literal["auto", "always", "never"] = "auto"
    """``auto`` does what the request's ``stream_options.include_usage`` says; ``never`` is an engine without usage. Where
    there is usage, ``stream_options.continuous_usage_stats`` puts it into every chunk."""
    done: bool = True
    """Send ``data: [DONE]``."""
    pad_bytes: Annotated[int, msgspec.Meta(ge=0, le=MAX_PAD_BYTES)] = 0
    """Makes every chunk longer, with a field ``padding``."""
    timestamps: bool = False
    """Add ``sent_at`` to every chunk: seconds of CLOCK_MONOTONIC when it was written."""

    continues: Continuation = Continuation.NONE
    """How the engine takes the beginning of a chat's answer: a last message of the assistant with this mark. It is
    continued: of the whole answer, which ``text``, ``deltas`` or the seed fix, the rest is sent, without the reasoning. A
    partial answer that is not how the answer begins is 422; ``n`` over 1 is 400. ``max_tokens`` and a fault's ``at``
    count what is sent, the usage counts the partial answer as prompt. A last message in another form is ignored."""
    strips: bool = True
    """White space at the end of a chat's partial answer is lost, as chat templates do, and is sent again."""
    rejects_partial: bool = False
    """A last message of the assistant that is not in the form of ``continues`` is 400."""
    prompt: str | None = None
    """For plain completions: what a request's prompt has after this is the beginning of the answer, and the rest is sent.
    A prompt that does not begin with this is answered from the start."""
    context_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """A prompt of more words, a partial answer included, is 400 with the code ``context_length_exceeded``."""

    framing: Framing = "chunked"
    """How the end of a streamed body is told. HTTP/1.0 clients get ``close`` for ``chunked`` (RFC 9112 section 6.1)."""
    fault: Fault | None = None

    def __post_init__(self) -> None:
        if self.text is not None and self.deltas is not None:
            raise ValueError("`text` and `deltas` exclude each other")
        if isinstance(self.fault, NEED_CHUNKED) and self.framing != "chunked":
            raise ValueError(f"fault `{self.fault.kind}` needs chunked framing")
        if self.framing == "length" and self.fault is not None and not isinstance(self.fault, FIXED_LENGTH):
            raise ValueError(f"fault `{self.fault.kind}` has no length that is known before")

    @property
    def body_framing(self) -> Framing:
        """The framing asked for, or the one that the fault is about."""
        return "close" if isinstance(self.fault, CutCloseFramed) else self.framing
