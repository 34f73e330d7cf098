"""What an engine is: the one interface between Headrace and whatever generates tokens.

An engine never blocks the event loop and is never awaited on the hot path. ``Engine.start`` returns at once; dialling,
queueing and prefill happen behind the ``Generation``, so that ``abort`` works the same way in every phase.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from headrace.types.chunk import Chunks
from headrace.types.outcome import Cause


class Endpoint(enum.StrEnum):
    """Which of OpenAI's contracts a request follows; the value is the path below an engine's base URL."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"


class EngineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request as an engine gets it."""

    body: bytes
    """JSON object in the endpoint's shape, with ``stream: true`` and ``stream_options.include_usage``."""
    endpoint: Endpoint = Endpoint.CHAT
    model: str = ""
    """Name of the model as the engine knows it, the same as in ``body``; empty when the engine decides."""
    headers: tuple[tuple[str, str], ...] = ()
    """Client headers on the allow-list, lower-case names."""


class EngineEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a generation's source ended, as the engine saw it; the pump turns it into a state.

    ``cause`` None means the source closed in an orderly way (``[DONE]``, or the end of a well-framed body).
    """

    cause: Cause | None = None
    message: str | None = None
    """For people; never a secret."""
    status: int | None = None
    """HTTP status that a client gets when no byte of the answer was sent yet."""
    upstream_status: int | None = None
    """HTTP status that the engine itself answered with; None when it answered with none."""
    retry_after_s: float | None = None
    error_type: str | None = None
    error_code: str | None = None
    error_param: str | None = None


class Generation(Protocol):
    """One running generation. All methods are synchronous, must run on the event loop's thread and never block."""

    @property
    def is_accepted(self) -> bool:
        """True once the engine works on it (a slot is taken, or a 200 head has come); False while queued or dialling."""

    @property
    def end(self) -> EngineEnd | None:
        """How the source ended; set once nothing more follows what ``read`` has returned so far."""

    @property
    def malformed_chunks(self) -> int:
        """Chunks skipped so far because they were not JSON objects."""

    @property
    def is_saturated(self) -> bool:
        """True when the last ``read`` took a full buffer: more is waiting, so reading on the tick alone is too slow."""

    def read(self, most_bytes: int | None = None) -> Chunks | None:
        """Return what has arrived since the last call, None for nothing. Sets ``end`` when the source has ended.

        Args:
            most_bytes: About how much is taken, 1 or more; what is left waits where the engine feels it. None: all.
        """

    def watch(self, on_ready: Callable[[], None] | None) -> None:
        """Choose who decides when to read.

        With a callable the generation calls it, on the event loop, whenever ``read`` may return something, ``end``
        may be set, or ``is_accepted`` changed. With None it stays silent while data arrive: the tick calls ``read``.
        A generation starts with the callable given to ``Engine.start``.
        """

    def abort(self) -> None:
        """Stop generating now and free what is held. Idempotent; ``on_ready`` is never called again."""


class Continuation(enum.StrEnum):
    """How an engine takes the beginning of an answer, so that it goes on where another one broke off.

    It concerns chats only: of a plain completion, the prompt with the text so far is just a longer prompt.
    """

    NONE = "none"
    """It does not: it would answer anew, or refuse."""
    ASSISTANT = "assistant"
    """As a last message with the role ``assistant`` (llama.cpp, Ollama, Groq, older models of Anthropic)."""
    PREFIX = "prefix"
    """As such a message with ``prefix: true`` (Mistral, and DeepSeek below ``/beta``)."""
    FLAG = "continue_final_message"
    """As such a message, beside ``continue_final_message: true`` and ``add_generation_prompt: false`` (vLLM, SGLang)."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about an engine that policies act on."""

    reports_usage: bool = True
    """Sends a usage chunk when asked."""
    max_choices: int = 128
    """Largest ``n`` it takes."""
    continuation: Continuation = Continuation.NONE
    context_tokens: int | None = None
    """Prompt and answer together; None when it is not known."""
    endpoints: tuple[Endpoint, ...] = (Endpoint.CHAT, Endpoint.COMPLETIONS)
    takes_tools: bool = True
    takes_logprobs: bool = True
    takes_schemas: bool = True
    """``response_format`` with a JSON schema."""
    takes_images: bool = True
    """Content that is not text: images, audio, files."""


class Engine(AbstractAsyncContextManager["Engine"], Protocol):
    """A source of generations. Entering it starts what it needs; leaving it aborts what runs and frees everything."""

    @property
    def name(self) -> str:
        """Short name for records and metrics: ``embedded``, ``openai``, ``scripted``."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def models(self) -> Sequence[str]:
        """Return the model names served.

        Raises:
            UpstreamError: The engine could not be asked.
        """

    def start(self, request: EngineRequest, on_ready: Callable[[], None]) -> Generation:
        """Begin a generation and return at once.

        Raises:
            Overloaded: Its queue is full; nothing was started.
            ClientRequestError: The request is one this engine can never serve; nothing was started.
        """

    def active(self) -> int:
        """Return how many generations hold a slot, connection or queue place (0 when idle)."""
