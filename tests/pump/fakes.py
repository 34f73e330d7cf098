"""Fakes for the producer's side: a generation that plays what it is given, a scheduler that notes what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace.policy.limits import Limits
from headrace.policy.timeouts import Timeouts
from headrace.pump.charge import Charge
from headrace.pump.order import Order
from headrace.pump.pump import Clocks, Pump
from headrace.stream.log import StreamLog
from headrace.stream.store import Lease
from headrace.types.chunk import Chunks, ChunkView
from headrace.types.engine import EngineEnd, EngineRequest
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


class FakeScheduler:
    """Notes what pumps ask of the tick."""

    def __init__(self, *, is_immediate: bool = False) -> None:
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


class ManualClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


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
    ) -> None:
        self.clock = clock or ManualClock()
        self.scheduler = FakeScheduler(is_immediate=is_immediate)
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
            engine_name="fake",
            timeouts=timeouts or Timeouts(),
            limits=limits,
            on_malformed=on_malformed,
            is_memory_only=is_memory_only,
            scheduler=self.scheduler,
            clocks=Clocks(self.clock, lambda: 1.7e9 + self.clock()),
            on_end=self.ended.append,
            charge=charge,
        )
        self.pump.begin(self._start)

    def _start(self, on_ready: Callable[[], None]) -> FakeGeneration:
        self.generation.watch(on_ready)
        return self.generation

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps of the sweep."""
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            self.clock.now_s = min(until_s, self.clock.now_s + 0.1)
            self.pump.expire(self.clock.now_s)

    def publish(self) -> None:
        """Publish what was appended, as a commit would."""
        self.log.trim()
        self.log.publish(self.log.take())
