"""Fakes for the producer's side: a generation that plays what it is given, a scheduler that notes what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec

from headrace.errors import RelayError
from headrace.policy.health import Health, HealthSettings
from headrace.policy.limits import Limits
from headrace.policy.retry import Retries, RetryPolicy
from headrace.policy.routing import Route, Target
from headrace.policy.timeouts import Timeouts
from headrace.pump.charge import Charge
from headrace.pump.clocks import Clocks
from headrace.pump.course import Course
from headrace.pump.engines import Engines
from headrace.pump.order import Order
from headrace.pump.pump import Pump
from headrace.stream.log import StreamLog
from headrace.stream.store import Lease
from headrace.types.chunk import Chunks, ChunkView
from headrace.types.engine import Capabilities, Continuation, Endpoint, EngineEnd, EngineRequest
from headrace.types.ids import RequestId, StreamId


def chunks(*objects: dict[str, Any]) -> Chunks:
    """Chunks as an engine would bring them."""
    data = b"\n".join(msgspec.json.encode(item) for item in objects)
    return Chunks(data, msgspec.json.Decoder(ChunkView).decode_lines(data))


def text(content: str | None = None, *, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    """One chunk with some text, or the finish_reason of a choice."""
    return {"choices": [{"index": index, "delta": {"content": content}, "finish_reason": finish}]}


class FakeGeneration:
    """Plays chunks in the order they are brought."""

    def __init__(self) -> None:
        self.is_accepted = False
        self.end: EngineEnd | None = None
        self.malformed_chunks = 0
        self.is_saturated = False
        self.aborted = 0
        self.reads = 0
        self.asked_bytes: int | None = None
        """How much the last read was to take."""
        self.watcher: Callable[[], None] | None = None
        self._waiting: list[Chunks] = []
        self._end_after: EngineEnd | None = None

    def bring(self, *objects: dict[str, Any], end: EngineEnd | None = None) -> None:
        """Let chunks arrive, and perhaps the end behind them; whoever watches is told."""
        self.is_accepted = True
        if objects:
            self._waiting.append(chunks(*objects))
        self._end_after = end or self._end_after
        if self.watcher is not None:
            self.watcher()

    def read(self, most_bytes: int | None = None) -> Chunks | None:
        self.reads += 1
        self.asked_bytes = most_bytes
        if len(self._waiting) <= 1:
            self.end = self._end_after
        return self._waiting.pop(0) if self._waiting else None

    def watch(self, on_ready: Callable[[], None] | None) -> None:
        self.watcher = on_ready

    def abort(self) -> None:
        self.aborted += 1


class FakeEngine:
    """Starts the generations that it was given, one after the other; in the place of an error it refuses."""

    def __init__(self, *generations: FakeGeneration | RelayError, name: str = "fake") -> None:
        self.name = name
        self.capabilities = Capabilities()
        self.requests: list[EngineRequest] = []
        self._generations = list(generations)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def models(self) -> list[str]:
        return []

    def start(self, request: EngineRequest, on_ready: Callable[[], None]) -> FakeGeneration:
        self.requests.append(request)
        generation = self._generations.pop(0)
        if isinstance(generation, RelayError):
            raise generation
        generation.watch(on_ready)
        return generation

    def active(self) -> int:
        return 0


class FakeScheduler:
    """Notes what pumps ask of the tick."""

    def __init__(self, clock: Callable[[], float], *, is_immediate: bool = False) -> None:
        self.clock = clock
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.is_immediate = is_immediate
        self.is_behind = False
        self.joined: set[Pump] = set()
        self.asked: list[str] = []

    def join(self, pump: Pump) -> None:
        self.joined.add(pump)

    def leave(self, pump: Pump) -> None:
        self.joined.discard(pump)

    def mark(self, pump: Pump) -> None:
        self.asked.append("mark")

    def rush(self, pump: Pump) -> None:
        self.asked.append("rush")

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.timers.append((self.clock() + delay_s, callback))

    def pass_time(self) -> None:
        """Call back whose time has come."""
        due = [timer for timer in self.timers if timer[0] <= self.clock()]
        self.timers = [timer for timer in self.timers if timer not in due]
        for _, callback in due:
            callback()


class ManualClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
CONTINUES = Capabilities(continuation=Continuation.ASSISTANT)


class Road:
    """A course through several engines, each of which is a target of the same name.

    Args:
        engines: By name, best first.
        capabilities: Of each of them, by name; of the others: they continue.
        fields: More of the request than a chat has anyhow.
        body: All of the request.
        policy: What is tried again.
        route: What the route allows.
        course: More arguments of ``Course``.
    """

    def __init__(
        self,
        engines: Mapping[str, FakeEngine],
        *,
        clock: ManualClock | None = None,
        capabilities: Mapping[str, Capabilities] | None = None,
        fields: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        endpoint: Endpoint = Endpoint.CHAT,
        policy: RetryPolicy | None = None,
        health: HealthSettings | None = None,
        route: Mapping[str, Any] | None = None,
        **course: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        policy = policy or RetryPolicy()
        self.targets = tuple(Target(name=name, engine=name, model=f"{name}-model") for name in engines)
        self.shared = Engines(
            engines,
            default=next(iter(engines)),
            capabilities=dict.fromkeys(engines, CONTINUES) | dict(capabilities or {}),
            health=Health(health or HealthSettings()),
            policy=policy,
        )
        asked = dict(body or {**CHAT, **(fields or {})})

        def request_for(target: Target) -> EngineRequest:
            data = msgspec.json.encode({**asked, "model": target.model})
            return EngineRequest(body=data, endpoint=endpoint, model=target.model)

        self.request_for = request_for
        self.course = Course(
            Route(name="m", targets=self.targets, **(route or {})),
            self.targets,
            shared=self.shared,
            retries=Retries(policy, until_s=self.clock() + 120, random=lambda: 0.5),
            request_for=request_for,
            quote_for=lambda _: None,
            budget_s=120.0,
            clock=self.clock,
            **course,
        )


class Bench:
    """One pump with everything around it faked."""

    def __init__(
        self,
        *,
        choices: int = 1,
        wants_usage: bool = False,
        linger_s: float | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        on_malformed: Any = "skip",
        is_memory_only: bool = False,
        is_immediate: bool = False,
        stream_id: str = "s",
        clock: ManualClock | None = None,
        charge: Charge | None = None,
        hides_running_usage: bool = False,
        course: Course | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.quote = None if charge is None else charge.quote
        self.scheduler = FakeScheduler(self.clock, is_immediate=is_immediate)
        self.generation = FakeGeneration()
        self.ended: list[Pump] = []
        limits = limits or Limits()
        order = Order(
            stream_id=StreamId(stream_id),
            request_id=RequestId(f"r-{stream_id}"),
            owner="",
            model="m",
            engine_request=EngineRequest(body=b"x" * 40),
            choices=choices,
            wants_usage=wants_usage,
            linger_s=linger_s,
            hides_running_usage=hides_running_usage,
        )
        self.log = StreamLog(Lease(order.stream_id, "node", 1), owner="", tail_bytes=limits.tail_bytes)
        self.pump = Pump(
            order,
            self.log,
            course=course or self.course_of(timeouts or Timeouts()),
            timeouts=timeouts or Timeouts(),
            limits=limits,
            on_malformed=on_malformed,
            is_memory_only=is_memory_only,
            scheduler=self.scheduler,
            clocks=Clocks(self.clock, lambda: 1.7e9 + self.clock()),
            on_end=self.ended.append,
            charge=charge,
        )
        self.pump.begin()

    def course_of(self, timeouts: Timeouts) -> Course:
        """Return a course that ends with the first attempt."""
        request = EngineRequest(body=b"x" * 40)
        policy = RetryPolicy(attempts=1, continuations=0)
        shared = Engines(
            {"fake": FakeEngine(self.generation)},
            default="fake",
            capabilities={"fake": Capabilities()},
            health=Health(HealthSettings()),
            policy=policy,
        )
        return Course(
            Route.implicit("m", "fake"),
            Route.implicit("m", "fake").targets,
            shared=shared,
            retries=Retries(policy, until_s=self.clock() + timeouts.first_token_s, random=lambda: 0.5),
            request_for=lambda _: request,
            quote_for=lambda _: self.quote,
            budget_s=timeouts.first_token_s,
            clock=self.clock,
        )

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps of the sweep."""
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            self.clock.now_s = min(until_s, self.clock.now_s + 0.1)
            self.scheduler.pass_time()
            self.pump.expire(self.clock.now_s)

    def publish(self) -> None:
        """Publish what was appended, as a commit would."""
        self.log.trim()
        self.log.publish(self.log.take())
