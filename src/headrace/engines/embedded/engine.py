"""The engine: a queue, a thread for each running generation, and llama.cpp behind them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from headrace.engines.embedded.generation import EmbeddedGeneration
from headrace.engines.embedded.model import MODEL_NAME, find_model
from headrace.engines.embedded.native import Server, open_server
from headrace.engines.embedded.queue import RETRY_AFTER_S, AdmissionQueue, Need
from headrace.engines.embedded.request import native_request
from headrace.errors import Overloaded, SettingsError
from headrace.types.engine import Capabilities, Continuation, EngineRequest

MAX_SLOTS = 64
"""Each slot is a thread and its share of memory: about 45 MB with 2048 tokens of context."""

MIN_CONTEXT_TOKENS = 256


class EmbeddedEngine:
    """An ``Engine`` in this process. Enter it once at a time; entering it again later works.

    A request with ``n`` choices takes ``n`` slots, and long prompts are worked on one at a time. Who cannot run yet waits in
    a bounded queue, from which it can be aborted at once. An aborted generation frees its slots with its next token, or
    within one batch of its prefill.

    Args:
        slots: Choices generated at the same time.
        context_tokens: Prompt and answer of one choice together.
        threads: Threads that compute; None for one a processor.
        max_queue: Generations that may wait for a slot.

    Raises:
        SettingsError: A number is out of its range.
    """

    def __init__(
        self,
        *,
        slots: int = 4,
        context_tokens: int = 2048,
        threads: int | None = None,
        max_queue: int = 64,
    ) -> None:
        if not 1 <= slots <= MAX_SLOTS:
            raise SettingsError(f"slots: must be from 1 to {MAX_SLOTS}")
        if context_tokens < MIN_CONTEXT_TOKENS:
            raise SettingsError(f"context_tokens: must be at least {MIN_CONTEXT_TOKENS}")
        if threads is not None and threads < 1:
            raise SettingsError("threads: must be at least 1")
        if max_queue < 0:
            raise SettingsError("max_queue: must be at least 0")
        self._slots = slots
        self._context_tokens = context_tokens
        self._threads = threads or os.cpu_count() or 1
        self._queue: AdmissionQueue[EmbeddedGeneration] = AdmissionQueue(slots=slots, max_waiting=max_queue)
        self._is_open = False

    async def __aenter__(self) -> Self:
        """Load the model, without blocking the event loop.

        Raises:
            SettingsError: ``xllamacpp`` or the model is missing or cannot be loaded.
        """
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.to_thread(self._open)
        self._pool = ThreadPoolExecutor(self._slots, "headrace-embedded")
        self._is_open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Abort all generations, wait until their threads have returned, and free the model."""
        self._is_open = False
        # Last come, first gone: so nobody who waits gets the slots of those before him.
        for generation in reversed(self._queue.items()):
            generation.abort()
        try:
            await asyncio.to_thread(self._pool.shutdown)
        finally:
            # Threads that still run, if this was cancelled, hold it too: llama.cpp ends with the last reference.
            del self._server

    @property
    def name(self) -> str:
        return "embedded"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            max_choices=self._slots,
            continuation=Continuation.ASSISTANT,
            context_tokens=self._context_tokens,
            takes_tools=False,
            takes_images=False,
        )

    async def models(self) -> Sequence[str]:
        """Return the one model's name."""
        return (MODEL_NAME,)

    def active(self) -> int:
        """Return how many generations run or wait. An aborted one counts until its slots are really free."""
        return len(self._queue)

    def start(self, request: EngineRequest, on_ready: Callable[[], None]) -> EmbeddedGeneration:
        """Begin a generation, or let it wait; returns at once. See ``Engine.start``.

        Raises:
            Overloaded: Slots and queue are full, or the engine is not running.
            ClientRequestError: The request can never be served; ``param`` names the field.
        """
        if not self._is_open:
            raise Overloaded("The embedded engine is not running.", status=503, retry_after_s=RETRY_AFTER_S)
        native = native_request(request, slots=self._slots, context_tokens=self._context_tokens)
        generation = EmbeddedGeneration(
            native, on_ready, loop=self._loop, on_prefilled=self._prefilled, on_abort=self._aborted
        )
        self._launch(self._queue.enter(generation, Need(native.choices, native.is_short)))
        return generation

    def _open(self) -> Server:
        return open_server(find_model(), slots=self._slots, context_tokens=self._context_tokens, threads=self._threads)

    def _launch(self, admitted: list[EmbeddedGeneration]) -> None:
        for generation in admitted:
            generation.accept()
            self._pool.submit(self._work, self._server, generation)

    def _work(self, server: Server, generation: EmbeddedGeneration) -> None:
        """Run in a thread of the pool."""
        try:
            generation.run(server)
        finally:
            self._loop.call_soon_threadsafe(self._returned, generation)

    def _prefilled(self, generation: EmbeddedGeneration) -> None:
        self._launch(self._queue.prefilled(generation))

    def _returned(self, generation: EmbeddedGeneration) -> None:
        """Give its slots to those who wait."""
        self._launch(self._queue.release(generation))
        generation.returned()

    def _aborted(self, generation: EmbeddedGeneration) -> None:
        self._launch(self._queue.withdraw(generation))
