"""One generation: written by a thread that is blocked in llama.cpp, read by the event loop.

The two sides share a deque and a few attributes, each written by one side only; single operations on them are atomic
under the interpreter lock:

====================  ===============  ========================================================================
Shared                Written by       Meaning
====================  ===============  ========================================================================
``_arrived``          thread           chunks that nobody has read; at most what the context holds
``_has_begun``        thread           the first chunk has come, and the loop is told of it whoever reads
``_outcome``          thread           set when llama.cpp has returned: nothing arrives after it
``_is_stopped``       loop             the next callback cancels
``_on_ready``         loop             None: no wake-up wanted
``_is_woken``         thread, loop     a wake-up is on its way: set by the thread, cleared by the loop before it looks
====================  ===============  ========================================================================

A consumer that never reads costs memory for the rest of the answer, which the context bounds (2048 tokens of about
250 bytes of JSON by default).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import msgspec

from headrace.engines.embedded.native import NativeRequest, Server
from headrace.engines.embedded.overlap import Overlap
from headrace.engines.embedded.rejection import refusal, rejection_of
from headrace.types.chunk import Chunks, ChunkView
from headrace.types.engine import Endpoint, EngineEnd
from headrace.types.outcome import Cause

# Marks a report on the prefill. No text can hold these bytes: inside a JSON string the quotes would be escaped.
_PROGRESS = b'"prompt_progress":'

_decoder = msgspec.json.Decoder(ChunkView)
_log = logging.getLogger(__name__)


class EmbeddedGeneration:
    """A ``Generation`` in this process. See the interface for what each method promises.

    Args:
        request: What to generate.
        on_ready: See ``Generation.watch``; never called from in here.
        loop: Where ``on_ready`` is called.
        on_prefilled: Called on the loop when the first chunk is there; not when it ends without one.
        on_abort: Called once, when it is aborted; the engine then takes it out of its queue.
    """

    __slots__ = (
        "_arrived",
        "_end",
        "_fault",
        "_has_begun",
        "_is_accepted",
        "_is_stopped",
        "_is_woken",
        "_loop",
        "_malformed_chunks",
        "_on_abort",
        "_on_prefilled",
        "_on_ready",
        "_outcome",
        "_overlap",
        "_request",
    )

    def __init__(
        self,
        request: NativeRequest,
        on_ready: Callable[[], None],
        *,
        loop: asyncio.AbstractEventLoop,
        on_prefilled: Callable[[EmbeddedGeneration], None],
        on_abort: Callable[[EmbeddedGeneration], None],
    ) -> None:
        self._request = request
        self._on_ready: Callable[[], None] | None = on_ready
        self._loop = loop
        self._on_prefilled = on_prefilled
        self._on_abort = on_abort
        self._arrived: deque[bytes] = deque()
        self._outcome: EngineEnd | None = None
        self._fault: Exception | None = None
        self._end: EngineEnd | None = None
        self._overlap = Overlap(request.again) if request.again else None
        self._malformed_chunks = 0
        self._has_begun = False
        self._is_accepted = False
        self._is_stopped = False
        self._is_woken = False

    # The event loop's side.

    @property
    def is_accepted(self) -> bool:
        return self._is_accepted

    @property
    def end(self) -> EngineEnd | None:
        return self._end

    @property
    def malformed_chunks(self) -> int:
        return self._malformed_chunks

    @property
    def is_saturated(self) -> bool:
        """Never: ``read`` takes all there is."""
        return False

    def read(self, most_bytes: int | None = None) -> Chunks | None:
        # Looked at before the chunks, so that none which came before the end is left behind it.
        outcome = self._outcome
        lines: list[bytes] = []
        views: list[ChunkView] = []
        size = 0
        while self._arrived and self._end is None and (most_bytes is None or size < most_bytes):
            line = self._arrived.popleft()
            size += len(line)
            try:
                view = _decoder.decode(line)
            except msgspec.MsgspecError:
                self._malformed_chunks += 1
                continue
            if view.error is not None:
                self._end = rejection_of(view.error)
                break
            if self._overlap is not None:
                trimmed = self._overlap.trim(line, view)
                if trimmed is None:
                    continue
                line, view = trimmed
            lines.append(line)
            views.append(view)
        if self._end is None and outcome is not None and not self._arrived:
            self._end = outcome
        return Chunks(b"\n".join(lines), views) if lines else None

    def watch(self, on_ready: Callable[[], None] | None) -> None:
        self._on_ready = on_ready
        if on_ready is not None and (self._arrived or self._outcome is not None):
            self._loop.call_soon(self._wake)

    def abort(self) -> None:
        self._on_ready = None
        if not self._is_stopped:
            self._is_stopped = True
            self._on_abort(self)

    def accept(self) -> None:
        """Take note that a slot is this generation's."""
        self._is_accepted = True
        self._loop.call_soon(self._wake)

    def returned(self) -> None:
        """Take note that the thread has let go: ``read`` finds the end."""
        self._wake()

    def _begin(self) -> None:
        self._on_prefilled(self)
        self._wake()

    def _wake(self) -> None:
        self._is_woken = False
        if self._on_ready is not None:
            self._on_ready()

    # The thread's side.

    def run(self, server: Server) -> None:
        """Generate. Blocks until llama.cpp has let go of the request; called once."""
        if not self._is_stopped:
            self._outcome = self._generate(server)

    def _generate(self, server: Server) -> EngineEnd:
        is_chat = self._request.endpoint is Endpoint.CHAT
        generate = server.handle_chat_completions if is_chat else server.handle_completions
        try:
            generate(self._request.body, self._receive)
        except (ValueError, RuntimeError) as error:
            return refusal(error)
        except Exception:  # noqa: BLE001 (the thread's boundary: whatever it is, the stream must end and say so)
            _log.exception("the embedded engine failed")
            return EngineEnd(cause=Cause.UPSTREAM_CLOSED, message="the embedded engine failed")
        if self._fault is not None:
            _log.error("taking a chunk of the embedded engine failed", exc_info=self._fault)
            return EngineEnd(cause=Cause.UPSTREAM_PROTOCOL, message="a chunk of the embedded engine was not understood")
        return EngineEnd()

    def _receive(self, chunk: bytes) -> bool:
        """Take one chunk; True cancels. Everything that can wait is left to ``read``."""
        try:
            if self._is_stopped:
                return True
            if _PROGRESS not in chunk:
                self._arrived.append(chunk)
                if not self._has_begun:
                    self._has_begun = self._is_woken = True
                    self._loop.call_soon_threadsafe(self._begin)
                elif self._on_ready is not None and not self._is_woken:
                    self._is_woken = True
                    self._loop.call_soon_threadsafe(self._wake)
        except Exception as fault:  # noqa: BLE001 (xllamacpp would swallow it: then the answer would end short, as if whole)
            self._fault = fault
            return True
        return False
