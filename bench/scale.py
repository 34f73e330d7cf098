"""``python -m bench.scale``: many streams at once, many one after another, and many readers of one."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack

import msgspec
from bench.cost import LATE_SHARE, measure, warm_up
from bench.fetch import fetch, get_request
from bench.load import TOKEN, Generator, Load, Result, quantile, run_uvloop
from bench.memory import MemoryWatch
from bench.report import Report
from bench.targets import Target, pin_self, relay, simulator

CROWD = Load(streams=1000, tokens=400, itl_ms=20, ramp_s=2.0)
"""1,000 streams at 50 tokens a second each."""
SEQUENCE = Load(streams=50, tokens=20, itl_ms=0, repeats=100, ramp_s=0.1)
"""5,000 short streams, 50 at a time."""
SEQUENCES = 4
MOST_GROWTH_MB = 5.0
"""How much the last three quarters of the 20,000 streams may leave behind."""
SETTLE_S = 2.0

FOLLOWERS = 200
FOLLOWED = Load(streams=1, tokens=200, itl_ms=20, ramp_s=0.0)
JOIN_S = 3.0
"""Followers join at random times within this, so that most have something to catch up on."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    options = parser.parse_args()
    pin_self()
    report = Report("scale", "Many streams, many readers")
    with ExitStack() as stack:
        engine = stack.enter_context(simulator())
        _crowd(report, engine, stack.enter_context(relay(engine.port)))
    with ExitStack() as stack:
        engine = stack.enter_context(simulator())
        node = stack.enter_context(relay(engine.port))
        _sequence(report, node)
        _followers(report, node)
    return report.save(is_checked=options.check)


def _crowd(report: Report, engine: Target, node: Target) -> None:
    """1,000 streams at once on one core. Without the relay too: the simulator itself may not keep this pace."""
    warm_up([node])
    idle_bytes = node.rss_bytes()
    results = {target.name: _crowded(target, engine) for target in (engine, node)}
    report.table(
        f"{CROWD.streams} streams at 50 tokens a second; planned: {CROWD.planned_s:.1f} s",
        ("", "completed", "tokens", "s", "core busy", "simulator's core", "gap p99 ms", "peak RSS MB"),
        [(name, *crowd.cells()) for name, crowd in results.items()],
    )
    crowd = results["relay"]
    stream_kb = (crowd.peak_bytes - idle_bytes) / 1000 / CROWD.streams
    report.note(f"The relay took {stream_kb:.0f} KB a stream, over {idle_bytes / 1e6:.0f} MB before.")
    for failure in crowd.result.failures:
        report.note(f"failed: {failure}")
    report.data("crowd", {name: [*crowd.cells()] for name, crowd in results.items()} | {"stream_kb": stream_kb})
    report.bar("streams that completed", crowd.result.completed, least=CROWD.streams)
    reachable_s = max(CROWD.planned_s, results["direct"].result.elapsed_s)
    report.bar("time, of what it takes without the relay", crowd.result.elapsed_s / reachable_s, most=LATE_SHARE)


class _Crowd(msgspec.Struct):
    """One run of the crowd."""

    result: Result
    busy_share: float
    engine_share: float
    peak_bytes: int

    def cells(self) -> tuple[str, ...]:
        result = self.result
        return (
            f"{result.completed}",
            f"{result.tokens}",
            f"{result.elapsed_s:.1f}",
            f"{self.busy_share:.0%}",
            f"{self.engine_share:.0%}",
            f"{quantile(result.gap_s, 0.99) * 1000:.0f}",
            f"{self.peak_bytes / 1e6:.0f}",
        )


def _crowded(target: Target, engine: Target) -> _Crowd:
    watch = MemoryWatch(target)

    async def run() -> Result:
        async with watch:
            return await Generator(target.port, CROWD).run()

    target_s, engine_s, self_s = target.cpu_s(), engine.cpu_s(), time.process_time()
    result = run_uvloop(run())
    seconds = result.elapsed_s
    # The generator has the simulator's core.
    core_s = engine.cpu_s() - engine_s + time.process_time() - self_s
    return _Crowd(result, (target.cpu_s() - target_s) / seconds, core_s / seconds, watch.peak_bytes)


def _sequence(report: Report, node: Target) -> None:
    """20,000 streams one after another."""
    warm_up([node])
    rows, seen_mb = [], []
    for step in range(1, SEQUENCES + 1):
        cost = measure(node, SEQUENCE)
        time.sleep(SETTLE_S)
        seen_mb.append(node.rss_bytes() / 1e6)
        streams = SEQUENCE.streams * SEQUENCE.repeats
        rows.append(
            (
                f"{step * streams:,}",
                f"{seen_mb[-1]:.1f}",
                f"{streams / cost.elapsed_s:.0f}",
                f"{cost.cpu_s / streams * 1000:.2f}",
            )
        )
    report.table("Streams one after another, 50 at a time", ("streams", "RSS MB", "streams/s", "CPU-ms a stream"), rows)
    report.data("sequence_mb", seen_mb)
    report.bar("growth from the first to the last quarter, MB", seen_mb[-1] - seen_mb[0], most=MOST_GROWTH_MB)


def _followers(report: Report, node: Target) -> None:
    """200 followers of one stream."""
    before_s = node.cpu_s()
    digests, tokens, ends = run_uvloop(_follow(node.port))
    cpu_s = node.cpu_s() - before_s
    report.table(
        f"{FOLLOWERS} followers of one stream of {FOLLOWED.tokens} tokens",
        ("", "followers", "different bodies", "CPU-us a token and follower"),
        [("relay", f"{digests.total()}", f"{len(digests)}", f"{cpu_s / FOLLOWERS / FOLLOWED.tokens * 1e6:.1f}")],
    )
    report.data("followers", {"bodies": list(digests.values()), "cpu_s": cpu_s})
    report.bar("followers with the same bytes", max(digests.values()), least=FOLLOWERS)
    report.bar("followers with every token and an end", min(tokens, ends), least=FOLLOWERS)


async def _follow(port: int) -> tuple[Counter[str], int, int]:
    """Return how many followers got which body, how many had all tokens, and how many an end."""
    name = f"bench-{random.Random().randrange(1 << 40):x}"
    chat = FOLLOWED.request(f"127.0.0.1:{port}", "/v1/chat/completions", headers=f"Headrace-Stream-Id: {name}\r\n")
    request = get_request(port, f"/v1/streams/{name}/events")
    draw = random.Random(FOLLOWED.seed)
    bodies: list[bytes] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(fetch(port, chat, on_body=lambda _: None))
        await asyncio.sleep(0.1)
        for _ in range(FOLLOWERS):
            group.create_task(_follower(port, request, draw.uniform(0, JOIN_S), bodies))
    return (
        Counter(hashlib.sha256(body).hexdigest() for body in bodies),
        sum(body.count(TOKEN) == FOLLOWED.tokens for body in bodies),
        sum(b"event: end\n" in body for body in bodies),
    )


async def _follower(port: int, request: bytes, delay_s: float, bodies: list[bytes]) -> None:
    await asyncio.sleep(delay_s)
    parts: list[bytes] = []
    await fetch(port, request, on_body=parts.append)
    bodies.append(b"".join(parts))


if __name__ == "__main__":
    sys.exit(main())
