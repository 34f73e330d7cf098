"""The scripted engine: scripts played in process, for tests that want no socket."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from headrace.engines.scripted.generation import ScriptedGeneration
from headrace.engines.scripted.manual_time import ManualTime
from headrace.engines.scripted.plan import plan_of
from headrace.engines.scripted.records import DEFAULT_MAX_RECORDS, Asked
from headrace.engines.scripted.request import read_request
from headrace.engines.scripted.script import Script
from headrace.engines.scripted.sequence import ScriptLike, ScriptSequence
from headrace.engines.scripted.steps import steps_of
from headrace.engines.scripted.timetable import LoopTime, TimeSource, Timetable
from headrace.errors import ClientRequestError, Overloaded
from headrace.types.engine import Capabilities, EngineRequest

DEFAULT_MAX_EVENT_BYTES = 1 << 20


class ScriptedEngine:
    """Plays scripts as a good adapter in front of the simulator would show them.

    Comments are no progress, an event repeated with its id is dropped, what is not JSON is counted, and every other
    fault becomes the ``EngineEnd`` that it deserves. Chunks are those that the simulator sends.
    """

    def __init__(
        self,
        default: Script | None = None,
        *,
        scripts: Sequence[ScriptLike] = (),
        models: Sequence[str] = ("scripted",),
        name: str = "scripted",
        manual: bool = False,
        max_active: int | None = None,
        max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
        max_records: int = DEFAULT_MAX_RECORDS,
        capabilities: Capabilities | None = None,
    ) -> None:
        """Prepare; usable once entered.

        Args:
            default: The script of requests that do not say otherwise.
            scripts: For the first requests instead of ``default``, one each; ``scripts.set`` sets others.
            models: Names served.
            name: Name for records and metrics.
            manual: Time stands still but for ``advance``.
            max_active: Generations at once; one more raises ``Overloaded``. None for no limit.
            max_event_bytes: Longer events end a generation.
            max_records: How many requests ``requests`` remembers.
            capabilities: What policies are told; None is what ``default`` does.

        Raises:
            ClientRequestError: One of ``scripts`` is wrong.
        """
        default = default or Script()
        self.scripts = ScriptSequence(default)
        self.scripts.set(scripts)
        self._models = tuple(models)
        self._name = name
        self._manual = ManualTime() if manual else None
        self._max_active = max_active
        self._max_event_bytes = max_event_bytes
        self._capabilities = capabilities or _capabilities_of(default)
        self._asked: collections.deque[Asked] = collections.deque(maxlen=max_records)
        self._active: set[ScriptedGeneration] = set()
        self._serial = 0

    async def __aenter__(self) -> Self:
        self._source: TimeSource = self._manual or LoopTime(asyncio.get_running_loop())
        self._timetable = Timetable(self._source)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for generation in tuple(self._active):
            generation.abort()
        self._timetable.clear()

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def models(self) -> Sequence[str]:
        return self._models

    def active(self) -> int:
        return len(self._active)

    def requests(self) -> list[Asked]:
        """Return what the last requests asked for, newest last; those that a full engine refused are none."""
        return list(self._asked)

    def start(self, request: EngineRequest, on_ready: Callable[[], None]) -> ScriptedGeneration:
        """Begin a generation.

        Raises:
            Overloaded: ``max_active`` are running.
            ClientRequestError: It is no such request, its script is wrong, or the model is not served.
        """
        if self._max_active is not None and len(self._active) >= self._max_active:
            raise Overloaded("the scripted engine is full", retry_after_s=1.0)
        asked = Asked(endpoint=request.endpoint)
        self._asked.append(asked)
        asked.script, base = self.scripts.take()
        chat, script = read_request(request.body, base, request.endpoint)
        asked.note_request(chat, script)
        if chat.model not in self._models:
            message = f"the model `{chat.model}` does not exist"
            raise ClientRequestError(message, status=404, code="model_not_found", param="model")
        if not chat.stream:
            raise ClientRequestError("the scripted engine takes `stream: true` only", param="stream")
        self._serial += 1
        plan = plan_of(chat, script, serial=self._serial, created=int(time.time()))
        asked.note_plan(plan)
        generation = ScriptedGeneration(
            steps_of(plan),
            source=self._source,
            timetable=self._timetable,
            max_event_bytes=self._max_event_bytes,
            on_over=self._active.discard,
        )
        self._active.add(generation)
        generation.watch(on_ready)
        return generation

    def advance(self, seconds: float | None = None) -> None:
        """Let time pass by ``seconds``, calling who watches in order; None goes to the next moment somebody waits for.

        Only for ``manual=True``. Nothing waits on behalf of generations that are read on the tick (``watch(None)``).
        """
        if self._manual is None:
            raise RuntimeError("advance() needs ScriptedEngine(manual=True)")
        self._manual.advance(seconds)


def _capabilities_of(script: Script) -> Capabilities:
    return Capabilities(
        reports_usage=script.usage != "never", continuation=script.continues, context_tokens=script.context_tokens
    )
