"""A phone's day: its line breaks, the relay restarts, the laptop sleeps. The answer comes whole, or its end is told; it never
comes twice; and the engine stops when nobody comes back.
"""

from __future__ import annotations

import asyncio
import collections
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from tests.dropping_proxy import DroppingProxy
from tests.processes import Relay, Simulator
from tests.system import phone
from tests.system.phone import HAPPENINGS, HOPELESS, WORDS, Day, live, name_of
from tests.system.wire import wait_for
from tests.waiting import until

from headrace.client import Patience

SCENARIOS = 200
AT_ONCE = 40
LINGER_S = 4.0
PATIENCE = Patience(connect_s=1, idle_s=0.5, start_for_s=5, resume_for_s=4)

pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]


@pytest.fixture
def proxies(relay: Relay) -> Iterator[list[DroppingProxy]]:
    """A line for each phone."""
    with ExitStack() as stack:
        yield [stack.enter_context(DroppingProxy(relay.port)) for _ in range(AT_ONCE)]


async def cut_for(seconds: float, silently: bool, proxy: DroppingProxy, _: random.Random) -> None:
    """Cut a line for that long."""
    if silently:
        await asyncio.to_thread(proxy.swallow)
    else:
        await asyncio.to_thread(proxy.refuse)
        await asyncio.to_thread(proxy.cut)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(proxy.flow if silently else proxy.accept)


async def long_cuts(relay: Relay) -> list[Day]:
    """Live four days whose lines are cut for as long as lines of phones are."""
    # As long as phones are patient: only the silence of a line is given up after 3 s instead of 45.
    patience = Patience(idle_s=3, resume_for_s=60)
    with ExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    live(
                        f"cut for {seconds} s",
                        stack.enter_context(DroppingProxy(relay.port)),
                        partial(cut_for, seconds, silently),
                        chance=random.Random(seconds),
                        patience=patience,
                        linger_s=60,
                        stream_id=f"long-{time.monotonic_ns()}",
                        itl_ms=20,
                    )
                )
                for seconds, silently in [(5.0, False), (5.0, True), (30.0, False), (30.0, True)]
            ]
    return [task.result() for task in tasks]


@pytest.fixture(scope="session")
def long_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[list[Day]]]:
    """Those days, lived beside all other tests here."""
    with (
        ThreadPoolExecutor(1) as pool,
        Simulator() as simulator,
        Relay(simulator.url, tmp_path_factory.mktemp("long") / "streams.db") as relay,
    ):
        yield pool.submit(asyncio.run, long_cuts(relay))


def test_long_cuts_are_under_way(long_days: Future[list[Day]]) -> None:
    assert not long_days.done()


async def some_days(relay: Relay, seed: int) -> list[Day]:
    """Live one batch of random days at the same time, each on a line of its own."""
    chance = random.Random(seed)
    with ExitStack() as stack:
        tasks = []
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                happening = chance.choice(HAPPENINGS)
                tasks.append(
                    group.create_task(
                        live(
                            name_of(happening),
                            stack.enter_context(DroppingProxy(relay.port)),
                            happening,
                            chance=random.Random(chance.random()),
                            patience=PATIENCE,
                            linger_s=LINGER_S,
                            stream_id=f"day-{seed}-{number}",
                        )
                    )
                )
        return [task.result() for task in tasks]


async def test_200_random_days(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    days: list[Day] = []
    for seed in range(SCENARIOS // AT_ONCE):
        days += await some_days(relay, seed)
    for day in days:
        day.check()
        if day.kind not in HOPELESS:
            assert day.is_whole, f"{day.kind}: {day.error!r}"
    # Nothing runs on for nobody, and nothing was asked of the engine twice.
    await until(lambda: relay.metric("headrace_streams_active") == 0, within_s=10)
    requests = simulator.requests()
    # Whose line was dead from the start asked nothing.
    unheard = [day for day in days if day.kind in HOPELESS and not day.pieces]
    assert SCENARIOS - len(unheard) <= len(requests) <= SCENARIOS
    assert {found["outcome"] for found in requests} <= {"completed", "client_closed"}
    tally = collections.Counter((day.kind, day.result.state.value, day.result.cause or "unknown") for day in days)
    lines = [f"  {count:3} {kind}: {state}, {cause}" for (kind, state, cause), count in sorted(tally.items())]
    reconnects = sum(day.result.reconnects for day in days)
    sys.stdout.write("\n".join([f"{SCENARIOS} days, {reconnects} reconnects:", *lines, ""]))


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_relay_that_restarts_tells_every_phone_how_its_answer_ended(
    simulator: Simulator, tmp_path: Path, how: str
) -> None:
    simulator.forget()
    with Relay(simulator.url, tmp_path / "s.db", environ={"HEADRACE_TIMEOUTS__DRAIN": "0.1"}) as relay:
        patience = Patience(connect_s=1, idle_s=5, start_for_s=5, resume_for_s=20)

        async def restart() -> None:
            await asyncio.sleep(0.7)
            await asyncio.to_thread(relay.kill if how == "killed" else relay.terminate)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(relay.start)

        with ExitStack() as stack:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        live(
                            "restart",
                            stack.enter_context(DroppingProxy(relay.port)),
                            phone.nothing,
                            chance=random.Random(number),
                            patience=patience,
                            linger_s=5,
                            stream_id=f"restart-{number}",
                            itl_ms=itl_ms,
                        )
                    )
                    # The first half has its answer before the relay goes.
                    for number, itl_ms in enumerate([2] * 5 + [40] * 5)
                ]
                group.create_task(restart())
        days = [task.result() for task in tasks]
        for day in days:
            day.check()
        cause = "node_lost" if how == "killed" else "shutdown"
        ends = [(day.result.state.value, day.result.cause) for day in days]
        assert ends == [("completed", "stop")] * 5 + [("truncated", cause)] * 5
        for number in range(5, 10):
            assert relay.stream(f"restart-{number}")["cause"] == cause
        assert len(simulator.requests()) == 10


async def test_a_cut_for_ever_ends_the_engine_when_linger_is_over_and_is_told(
    relay: Relay, simulator: Simulator, proxies: list[DroppingProxy]
) -> None:
    simulator.forget()
    stream_id = f"forever-{time.monotonic_ns()}"
    cut_between = []

    async def cut(proxy: DroppingProxy, _: random.Random) -> None:
        await asyncio.to_thread(proxy.refuse)
        cut_between.append(time.monotonic())
        await asyncio.to_thread(proxy.cut)
        cut_between.append(time.monotonic())
        await asyncio.sleep(60)

    day = await live(
        "cut for ever",
        proxies[0],
        cut,
        chance=random.Random(1),
        patience=Patience(resume_for_s=4),
        linger_s=2,
        stream_id=stream_id,
        itl_ms=200,
    )
    day.check()
    assert not day.is_whole
    assert day.result.text
    (request,) = simulator.requests()
    assert request["outcome"] == "client_closed"
    before, after = cut_between
    assert request["client_closed_at"] - before >= 2.0
    assert request["client_closed_at"] - after <= 3.0
    stream = relay.stream(stream_id)
    assert (stream["state"], stream["cause"]) == ("cancelled", "client_gone")


SLEEPER = f"""
import sys
from headrace import Client
from headrace.client import Patience
with Client(sys.argv[1], patience=Patience(idle_s=2)) as client:
    with client.chat("hi", model="sim", linger_s=60, stream_id=sys.argv[2], simulate={{"text": {WORDS!r}, "itl_ms": 20}}) as answer:
        for piece in answer:
            sys.stdout.write(piece)
            sys.stdout.flush()
sys.stderr.write(f"{{answer.result.state}} {{answer.result.reconnects}}")
"""


@pytest.mark.parametrize("line", ["holds", "is cut"])
def test_a_laptop_that_slept_has_its_answer_when_it_wakes(relay: Relay, simulator: Simulator, line: str) -> None:
    stream_id = f"laptop-{time.monotonic_ns()}"
    with (
        DroppingProxy(relay.port) as proxy,
        subprocess.Popen(
            [sys.executable, "-c", SLEEPER, proxy.origin, stream_id],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        ) as laptop,
    ):
        assert laptop.stdout is not None
        first = laptop.stdout.read(10)
        os.kill(laptop.pid, signal.SIGSTOP)
        if line == "is cut":
            proxy.cut()
        # Asleep until long after the engine is done.
        wait_for(lambda: relay.stream(stream_id)["state"] == "completed", what="the end of the answer")
        time.sleep(1)
        os.kill(laptop.pid, signal.SIGCONT)
        rest, told = laptop.communicate(timeout=30)
    assert (first + rest).decode() == WORDS
    assert told.startswith(b"completed")


@pytest.mark.begun_before
def test_cuts_of_5_and_of_30_seconds_are_slept_through(long_days: Future[list[Day]]) -> None:
    for day in long_days.result():
        day.check()
        assert day.is_whole, f"{day.kind}: {day.error!r}"
        assert day.result.reconnects >= 1
