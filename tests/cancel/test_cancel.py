"""Who stops, stops the engine: in every phase, by every way to leave, and nothing is left behind.

The simulator notes when it sees its client's end; that clock is the same for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.processes import Relay, Simulator
from tests.waiting import until
from tests.wire_client import Wire, WireClient

pytestmark = pytest.mark.alone

STREAMS = 50
P99_S = 0.050
WORST_S = 0.200

BETWEEN_S = 0.005
"""Pause between two streams that stop, so that one stop is measured and not a queue of fifty."""

PHASES: dict[str, dict[str, Any]] = {
    "mid-stream": {"ttft_ms": 20, "itl_ms": 20, "tokens": 100_000},
    "in silence": {"itl_ms": 5, "tokens": 100, "fault": {"kind": "silence", "at": 5}},
    "before the first token": {"fault": {"kind": "silence_before"}},
    "behind the head alone": {"fault": {"kind": "silence_before", "head": True}},
}
SPOKEN = {"mid-stream": 5, "in silence": 5}
"""Tokens that a phase begins with."""

Stop = Callable[[Wire, "Live"], Any]


class Live:
    """One running stream: its client, and the ids by which the relay and the simulator know it."""

    def __init__(self, number: int, client: WireClient, stream_id: str, trace: str) -> None:
        self.number = number
        self.client = client
        self.stream_id = stream_id
        self.trace = trace
        self.stopped_at = 0.0


async def by_tcp_close(wire: Wire, live: Live) -> None:
    live.client.leave()
    assert live.client.left_at is not None
    live.stopped_at = live.client.left_at


async def by_cancel(wire: Wire, live: Live) -> None:
    connected = await wire.request("GET", "/healthz")
    await connected.until(lambda: connected.is_complete)
    live.stopped_at = time.monotonic()
    connected.expect_another()
    connected.send("POST", f"/v1/streams/{live.stream_id}/cancel", {}, b"")
    await connected.response()
    assert connected.status == 200
    view = connected.json()
    assert (view["state"], view["cause"]) == ("cancelled", "client_stop")


async def start(wire: Wire, simulator: Simulator, phase: str, *, stream: bool, tag: str) -> list[Live]:
    """Start the streams and wait until each is in its phase."""
    lives = []
    for number in range(STREAMS):
        stream_id = f"{tag}-{number}"
        trace = f"00-{time.monotonic_ns():032x}-{number + 1:016x}-01"
        headers = {"headrace-stream-id": stream_id, "traceparent": trace}
        client = await wire.chat(PHASES[phase], stream=stream, headers=headers)
        lives.append(Live(number, client, stream_id, trace))
    spoken = SPOKEN.get(phase, 0)
    if stream and spoken:
        for live in lives:
            await live.client.events_seen(spoken)
    await until(lambda: len(simulator.requests()) == STREAMS)
    await until(lambda: all(found["tokens_sent"] >= spoken for found in simulator.requests()))
    return lives


async def latencies(simulator: Simulator, lives: list[Live]) -> list[float]:
    """Return how long each stop took to reach the engine, sorted, in seconds."""
    await until(lambda: all(found["outcome"] for found in simulator.requests()))
    seen = {found["headers"]["traceparent"]: found for found in simulator.requests()}
    for live in lives:
        assert seen[live.trace]["outcome"] == "client_closed"
    return sorted(seen[live.trace]["client_closed_at"] - live.stopped_at for live in lives)


class Holdings:
    """What a relay and its engine hold, to be compared before and after."""

    def __init__(self, relay: Relay, simulator: Simulator) -> None:
        self.descriptors = relay.descriptors()
        self.threads = relay.threads()
        self.open_connections = simulator.summary()["open_connections"]
        self.active = simulator.summary()["active"]
        self.streams = relay.metric("headrace_streams_active")

    def is_within(self, other: Holdings) -> bool:
        return all(value <= getattr(other, name) for name, value in vars(self).items())

    def __repr__(self) -> str:
        return f"Holdings({vars(self)})"


async def warm_up(wire: Wire, relay: Relay) -> None:
    """Let a stream complete and look at it, so that what is made once and kept is there."""
    client = await (await wire.chat({"tokens": 3})).response()
    path = f"/v1/streams/{client.headers['headrace-stream-id']}"
    await until(lambda: relay.metric("headrace_streams_active") == 0)
    for suffix in ("", "/events"):
        assert (await wire.fetch(path + suffix)).status == 200


@pytest.mark.parametrize("phase", list(PHASES))
@pytest.mark.parametrize(
    ("way", "is_streaming", "stop", "cause"),
    [
        ("tcp close", True, by_tcp_close, "client_gone"),
        ("cancel", True, by_cancel, "client_stop"),
        ("blocking client leaves", False, by_tcp_close, "client_gone"),
        ("cancel of a blocking client", False, by_cancel, "client_stop"),
    ],
)
async def test_the_engine_sees_a_stop_at_once(
    *,
    relay: Relay,
    wire: Wire,
    simulator: Simulator,
    phase: str,
    way: str,
    is_streaming: bool,
    stop: Stop,
    cause: str,
    record_property: Callable[[str, object], None],
) -> None:
    await warm_up(wire, relay)
    before = Holdings(relay, simulator)
    simulator.forget()
    tag = f"{way}-{phase}".replace(" ", "_")
    lives = await start(wire, simulator, phase, stream=is_streaming, tag=tag)
    for live in lives:
        await stop(wire, live)
        await asyncio.sleep(BETWEEN_S)
    took_s = await latencies(simulator, lives)
    p50, p99, worst = (1000 * took_s[min(len(took_s) - 1, int(len(took_s) * share))] for share in (0.5, 0.99, 1.0))
    line = f"{phase}, {way}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms"
    print(line)  # noqa: T201 (a measurement, shown by -s and on failure)
    record_property("latency", line)
    for live in lives:
        live.client.leave()
    for live in lives:
        view = (await wire.fetch(f"/v1/streams/{live.stream_id}")).json()
        assert (view["state"], view["cause"]) == ("cancelled", cause)
    with contextlib.suppress(TimeoutError):
        await until(lambda: Holdings(relay, simulator).is_within(before), within_s=5)
    after = Holdings(relay, simulator)
    assert after.is_within(before), f"before {before}, after {after}"
    assert after.streams == 0
    assert took_s[int(len(took_s) * 0.99)] <= P99_S, line
    assert took_s[-1] <= WORST_S, line


async def test_fifty_that_leave_at_the_same_moment_are_all_seen(relay: Relay, wire: Wire, simulator: Simulator) -> None:
    simulator.forget()
    lives = await start(wire, simulator, "mid-stream", stream=True, tag="crowd")
    for live in lives:
        await by_tcp_close(wire, live)
    took_s = await latencies(simulator, lives)
    print(f"all at once: p50 {1000 * took_s[25]:.1f} ms, worst {1000 * took_s[-1]:.1f} ms")  # noqa: T201 (as above)
    assert took_s[-1] <= WORST_S


async def test_a_lingering_stream_goes_on_for_its_linger_time_and_no_longer(
    relay: Relay, wire: Wire, simulator: Simulator
) -> None:
    simulator.forget()
    headers = {"headrace-stream-id": "lingering", "headrace-linger": "0.5"}
    client = await wire.chat(PHASES["mid-stream"], headers=headers)
    await client.events_seen(3)
    client.leave()
    assert client.left_at is not None
    (found,) = simulator.requests()
    assert found["outcome"] is None
    await until(lambda: simulator.requests()[0]["outcome"] is not None)
    (found,) = simulator.requests()
    assert found["outcome"] == "client_closed"
    assert found["client_closed_at"] - client.left_at >= 0.5
    view = (await wire.fetch("/v1/streams/lingering")).json()
    assert (view["state"], view["cause"]) == ("cancelled", "client_gone")


async def test_a_stream_goes_on_while_anybody_follows_it(relay: Relay, wire: Wire, simulator: Simulator) -> None:
    simulator.forget()
    client = await wire.chat(PHASES["mid-stream"], headers={"headrace-stream-id": "shared"})
    await client.events_seen(3)
    follower = await wire.request("GET", "/v1/streams/shared/events")
    await follower.events_seen(3)
    client.leave()
    await follower.events_seen(len(follower.events) + 10)
    (found,) = simulator.requests()
    assert found["outcome"] is None
    follower.leave()
    await until(lambda: simulator.summary()["active"] == 0)
    assert simulator.requests()[0]["outcome"] == "client_closed"
