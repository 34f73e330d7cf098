"""The supervisor: starts pumps, knows which run, and ends them all when the node goes down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Literal, Protocol, Self

from headrace.errors import Overloaded, StreamExists
from headrace.policy.limits import Limits
from headrace.policy.timeouts import Timeouts
from headrace.pump.charge import Charge
from headrace.pump.clocks import Clocks
from headrace.pump.committer import Committer, Late
from headrace.pump.course import Course
from headrace.pump.order import Order
from headrace.pump.party import Party, Requester
from headrace.pump.pump import Pump
from headrace.pump.tick import Tick
from headrace.stream.log import StreamLog
from headrace.stream.store import Lease
from headrace.stream.sweep import SWEEP_S, Sweep
from headrace.types.ids import StreamId
from headrace.types.outcome import Cause, State

logger = logging.getLogger(__name__)


class StreamObserver(Protocol):
    """Who counts streams."""

    def started(self) -> None: ...

    def ended(self, state: State, cause: Cause, *, malformed_chunks: int, ttft_s: float | None) -> None: ...

    def billed(self, owner: str, *, generated_tokens: int, delivered_tokens: int, nano_usd: int) -> None: ...


class Supervisor:
    """Owner of every running stream of this node; an async context manager.

    Leaving it ends what still runs as ``truncated/shutdown`` and commits it. ``on_ended`` is called when a stream has ended,
    before its end is committed.
    """

    def __init__(
        self,
        *,
        committer: Committer,
        tick: Tick,
        sweep: Sweep,
        timeouts: Timeouts,
        limits: Limits,
        on_malformed: Literal["skip", "end"],
        is_memory_only: bool,
        node: str,
        clocks: Clocks,
        observer: StreamObserver,
        on_ended: Callable[[Pump], None] | None = None,
        vendor_wait_s: float = 60.0,
    ) -> None:
        self._committer = committer
        self._tick = tick
        self._sweep = sweep
        self._timeouts = timeouts
        self._limits = limits
        self._on_malformed: Literal["skip", "end"] = on_malformed
        self._is_memory_only = is_memory_only
        self._node = node
        self._clocks = clocks
        self._observer = observer
        self._on_ended = on_ended
        self._vendor_wait_s = vendor_wait_s
        self._pumps: dict[StreamId, Pump] = {}
        self._joined: dict[StreamId, Pump] = {}
        """By the ids of requests that share a stream which another one began."""
        self._heard: dict[Pump, float] = {}
        self._stack = AsyncExitStack()
        self.is_draining = False
        """True once no new streams are taken."""

    async def __aenter__(self) -> Self:
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        task = group.create_task(self._sweep_for_ever(), name="sweep")
        self._stack.callback(task.cancel)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end_all()
        self._tick.aclose()
        await self._committer.settle()
        for pump in self._heard:
            pump.reckoning.leave_vendor()
        self._settle([*self._heard, *self._pumps.values()])
        await self._stack.__aexit__(exc_type, exc, traceback)

    def adopt(self, timeouts: Timeouts, limits: Limits, *, vendor_wait_s: float) -> None:
        """Use these for streams that begin from now on."""
        self._timeouts = timeouts
        self._limits = limits
        self._vendor_wait_s = vendor_wait_s

    def start(self, order: Order, course: Course, charge: Charge | None = None) -> Pump:
        """Start a stream and return its pump at once; its log is empty and queued.

        The caller follows the log in the same round of the event loop: a stream that nobody follows and that does not
        linger would have no reason to run.

        Raises:
            Overloaded: This node or the engine's queue is full, or the node is shutting down. No stream exists.
            StreamExists: The id is taken by a running stream.
            ClientRequestError: The engine can never serve this request. No stream exists.
        """
        if self.is_draining:
            raise Overloaded("the relay is shutting down", status=503, code="shutting_down", retry_after_s=1.0)
        if len(self._pumps) >= self._limits.max_streams:
            raise Overloaded(
                f"{len(self._pumps)} streams run, which is limits.max_streams", status=503, retry_after_s=1.0
            )
        self._require_free(order.stream_id)
        lease = Lease(order.stream_id, self._node, 1)
        log = StreamLog(lease, owner=order.owner, tail_bytes=self._limits.tail_bytes)
        pump = Pump(
            order,
            log,
            course=course,
            timeouts=self._timeouts,
            limits=self._limits,
            on_malformed=self._on_malformed,
            is_memory_only=self._is_memory_only,
            scheduler=self._tick,
            clocks=self._clocks,
            on_end=self._ended,
            charge=charge,
        )
        pump.begin()
        self._pumps[order.stream_id] = pump
        self._sweep.add(pump)
        self._observer.started()
        return pump

    def join(self, pump: Pump, requester: Requester) -> Party:
        """Let one more request have a stream; the caller follows its log in the same round of the event loop.

        Raises:
            StreamExists: The id that its client shall know it by is taken.
            Overloaded: As many have it as may.
        """
        self._require_free(requester.stream_id)
        if len(pump.parties.joined) >= self._limits.max_followers:
            raise Overloaded(f"{self._limits.max_followers} requests share this stream, which is limits.max_followers")
        self._joined[requester.stream_id] = pump
        return pump.parties.join(requester)

    def _require_free(self, stream_id: StreamId) -> None:
        if self.find(stream_id) is not None:
            raise StreamExists(f"the stream id {stream_id} is taken", param="Headrace-Stream-Id")

    def find(self, stream_id: StreamId) -> Pump | None:
        """Return the pump of a stream that runs, or ended a moment ago, here, by the id that any of its clients knows."""
        return self._pumps.get(stream_id) or self._joined.get(stream_id)

    def late(self, stream_id: StreamId) -> Late | None:
        """Return the end of a degraded stream as long as the store does not have it."""
        return self._committer.late(stream_id)

    def forget(self, stream_id: StreamId) -> None:
        """Know a stream no longer that has ended; its followers still get what they have not read."""
        pump = self._pumps.pop(stream_id, None)
        if pump is not None:
            for party in pump.parties.joined:
                self._joined.pop(party.requester.stream_id, None)
            self._sweep.discard(pump)

    def erase(self, stream_id: StreamId) -> None:
        """Know it no longer, and see to it that the store does not get an end of it that it missed.

        Of a request that shares a stream nothing more is saved; the stream goes on.
        """
        shared = self._joined.pop(stream_id, None)
        if shared is not None:
            shared.parties.drop(stream_id)
        pump = self._pumps.get(stream_id)
        if pump is not None:
            pump.reckoning.leave_vendor()
        self.forget(stream_id)
        self._committer.forget(stream_id)

    def running(self) -> Iterator[Pump]:
        """Iterate over the pumps whose streams have not ended."""
        return (pump for pump in tuple(self._pumps.values()) if pump.log.end is None)

    def __len__(self) -> int:
        return len(self._pumps)

    async def drain(self, *, timeout_s: float) -> None:
        """Take no new streams, and wait until those that run have ended, at most ``timeout_s``."""
        self.is_draining = True
        deadline_s = self._clocks.monotonic_s() + timeout_s
        while self._pumps and self._clocks.monotonic_s() < deadline_s:  # noqa: ASYNC110 (a set that the sweep empties)
            await asyncio.sleep(SWEEP_S)

    def _ended(self, pump: Pump) -> None:
        end = pump.log.end
        if end is not None:
            self._observer.ended(end.state, end.cause, malformed_chunks=end.malformed_chunks, ttft_s=pump.ttft_s)
        if self._on_ended is not None:
            self._on_ended(pump)

    def end_all(self) -> None:
        """End what still runs as ``truncated/shutdown``; followers are told after the commit."""
        self.is_draining = True
        for pump in tuple(self._pumps.values()):
            pump.stop(Cause.SHUTDOWN, "the relay was shut down")

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = self._clocks.monotonic_s()
            self._sweep.run(now_s)
            self._committer.check()
            self._hear_vendors(now_s)
            left = [
                pump
                for pump in tuple(self._pumps.values())
                if pump.log.published_end is not None and not pump.log.followers
            ]
            # A stream is known until its settlement had a round to get into the store, so that what is told of it does
            # not go back.
            settled = self._settle(left)
            for pump in left:
                if pump not in settled:
                    self._forget_settled(pump, now_s)

    def _forget_settled(self, pump: Pump, now_s: float) -> None:
        self.forget(pump.order.stream_id)
        if pump.reckoning.vendor is not None:
            self._heard[pump] = now_s + self._vendor_wait_s
        else:
            self._tell_bill(pump)

    def _hear_vendors(self, now_s: float) -> None:
        """Read what engines of ended streams still send, until they have told their usage or their time is over."""
        for pump, until_s in tuple(self._heard.items()):
            if pump.reckoning.hear_vendor() or now_s >= until_s:
                pump.reckoning.leave_vendor()
                del self._heard[pump]
                self._settle([pump])
                self._tell_bill(pump)

    def _tell_bill(self, pump: Pump) -> None:
        record = pump.record()
        if record.bill is not None:
            self._observer.billed(
                record.owner,
                generated_tokens=record.generated_tokens,
                delivered_tokens=record.delivered_tokens,
                nano_usd=record.bill.nano_usd or 0,
            )

    def _settle(self, pumps: list[Pump]) -> set[Pump]:
        """Save the last word on the bills of streams that nobody follows any more; returns those that had one."""
        now_s = self._clocks.monotonic_s()
        settlements = {
            pump: settlement for pump in pumps if (settlement := pump.reckoning.settlement(now_s)) is not None
        }
        if settlements:
            self._committer.correct(list(settlements.values()))
        return set(settlements)
