"""``python -m bench.slow_client``: a client that stops reading, and what it does to the others.

Twenty streams at 50 tokens a second run twice a round: alone (the control), and beside one client of a stream of
2,000 tokens a second that reads for a second and then no more.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import statistics
import sys
import time
from array import array
from contextlib import ExitStack
from pathlib import Path

import msgspec
from bench.fetch import get
from bench.load import Generator, Load, Result, quantile, run_uvloop
from bench.memory import MemoryWatch
from bench.report import Report
from bench.targets import Target, pin_self, relay, simulator

OTHERS = Load(streams=20, tokens=500, itl_ms=20)
FAST = Load(streams=1, tokens=60_000, itl_ms=0.5)
WARM_UP = Load(streams=1, tokens=4_000, itl_ms=0.5)
READS_S = 1.0
STARTS_S = 1.5
TIMEOUT_S = 3.0
"""``--slow-client-timeout`` of the relay that is measured."""
LATEST_S = 3.0
"""How much later than that it may be closed: first, buffers fill up; then, the relay looks now and then."""
POLL_S = 0.05

MOST_GROWTH_MB = 5.0
MOST_GAP_RATIO = 1.5


class Slow(msgspec.Struct):
    """What became of the client that stopped reading."""

    closed_after_s: float | None = None
    """From its last read until the relay closed the connection; None if it did not."""
    state: str = ""
    cause: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    options = parser.parse_args()
    pin_self()
    report = Report("slow_client", "A client that stops reading")
    with ExitStack() as stack:
        engine = stack.enter_context(simulator())
        node = stack.enter_context(relay(engine.port, "--slow-client-timeout", f"{TIMEOUT_S:g}"))
        # A client as fast, that reads: what remains of a stream of this pace in any case is there before it counts.
        _checked(run_uvloop(Generator(node.port, WARM_UP).run()))
        rounds = [(_control(node), _beside(node)) for _ in range(options.rounds)]
    _show(report, rounds)
    return report.save(is_checked=options.check)


Control = tuple[Result, float]
Beside = tuple[Result, float, Slow]


def _control(node: Target) -> Control:
    watch = MemoryWatch(node)

    async def run() -> Result:
        async with watch:
            return await Generator(node.port, OTHERS).run()

    return _checked(run_uvloop(run())), watch.growth_mb


def _beside(node: Target) -> Beside:
    watch, slow, others = MemoryWatch(node), Slow(), Generator(node.port, OTHERS)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(others.run())
            await asyncio.sleep(STARTS_S)
            async with watch:
                await _stop_reading(node.port, slow)

    run_uvloop(run())
    return _checked(others.result), watch.growth_mb, slow


async def _stop_reading(port: int, slow: Slow) -> None:
    """Read a fast stream for a while, then no more; wait until the relay closes the connection."""
    name = f"bench-{random.Random().randrange(1 << 40):x}"
    request = FAST.request(f"127.0.0.1:{port}", "/v1/chat/completions", headers=f"Headrace-Stream-Id: {name}\r\n")
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, request)
        stops_s = time.perf_counter() + READS_S
        while time.perf_counter() < stops_s:
            await loop.sock_recv(client, 64 * 1024)
        slow.closed_after_s = await _closed(client)
    view = msgspec.json.decode(await get(port, f"/v1/streams/{name}"))
    slow.state, slow.cause = view["state"], view["cause"] or ""


async def _closed(client: socket.socket) -> float | None:
    """Wait for the relay to let go of the connection; returns how long it took.

    The client cannot tell without reading: what the relay's kernel could not send stands before the FIN. So the table
    of connections is asked for the relay's end.
    """
    started_s = time.perf_counter()
    while (waited_s := time.perf_counter() - started_s) < TIMEOUT_S + 2 * LATEST_S:
        if not _is_held(client.getpeername()[1], client.getsockname()[1]):
            return waited_s
        await asyncio.sleep(POLL_S)
    return None


def _is_held(local_port: int, remote_port: int) -> bool:
    """Tell whether a process holds the IPv4 connection from ``local_port`` (proc(5), /proc/net/tcp; inode 0: nobody)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = tuple(int(address.rpartition(":")[2], 16) for address in fields[1:3])
        if ports == (local_port, remote_port):
            return fields[9] != "0"
    return False


def _checked(result: Result) -> Result:
    if result.failed:
        raise SystemExit(f"{result.failed} of the other streams failed: {'; '.join(result.failures[:3])}")
    return result


def _show(report: Report, rounds: list[tuple[Control, Beside]]) -> None:
    rows = []
    for number, ((alone, alone_mb), (others, others_mb, slow)) in enumerate(rounds, 1):
        closed = "never" if slow.closed_after_s is None else f"{slow.closed_after_s:.1f}"
        rows += [
            (f"{number} control", _gap(alone.gap_s), f"{alone_mb:.1f}", "", ""),
            (f"{number} beside it", _gap(others.gap_s), f"{others_mb:.1f}", closed, f"{slow.state}/{slow.cause}"),
        ]
    report.table(
        f"20 streams at 20 ms; --slow-client-timeout {TIMEOUT_S:g}",
        ("", "p99 gap of the others, ms", "RSS growth, MB", "closed after, s", "its end"),
        rows,
    )
    alone_s, others_s = array("d"), array("d")
    for (alone, _), (others, _, _) in rounds:
        alone_s.extend(alone.gap_s)
        others_s.extend(others.gap_s)
    slows = [slow for _, (_, _, slow) in rounds]
    report.data(
        "rounds", [[alone_mb, others_mb, msgspec.to_builtins(slow)] for (_, alone_mb), (_, others_mb, slow) in rounds]
    )
    report.bar("RSS growth, most of all rounds, MB", max(beside[1] for _, beside in rounds), most=MOST_GROWTH_MB)
    times = quantile(others_s, 0.99) / quantile(alone_s, 0.99)
    report.bar("p99 gap of the others, times that of the control runs", times, most=MOST_GAP_RATIO)
    waits_s = [slow.closed_after_s or float("inf") for slow in slows]
    report.bar("closed after, median, s", statistics.median(waits_s), most=TIMEOUT_S + LATEST_S)
    ended = sum((slow.state, slow.cause) == ("cancelled", "slow_client") for slow in slows)
    report.bar("rounds that ended as cancelled/slow_client", ended, least=len(rounds))


def _gap(gap_s: array[float]) -> str:
    return f"{quantile(gap_s, 0.99) * 1000:.1f}"


if __name__ == "__main__":
    sys.exit(main())
