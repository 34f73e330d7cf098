"""``python -m bench.doors``: what a token costs through each of the relay's protocols, beside SSE.

Every door gets the load of ``bench.speed``'s first row, from a relay that has done nothing before but warm up. Rounds are
interleaved, nginx and SSE first.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from bench.clients import Http1Client, Http2Client, Received, Request, SocketClient
from bench.cost import LATE_SHARE, WARM_UP, Cost, Costs, ratio
from bench.fetch import get
from bench.load import Load, quantile, run_uvloop
from bench.memory import MemoryWatch
from bench.prose import MARK, prose
from bench.report import Report
from bench.speed import DEGRADED, FIFTY, LOADS, MOST_RATIO
from bench.targets import Target, nginx, pin_self, relay, simulator
from bench.visits import Visit, follow, grouped, run_visits, visiting

LOAD = LOADS[FIFTY]

NGINX, SSE = "nginx, SSE", "SSE"

DONE = b"data: [DONE]\n\n"
COMPLETED = b'"state":"completed"'
USAGE = b'"usage":{'

PROMPT = "Tell me about the river."
CHAT = {"stream": True, "messages": [{"role": "user", "content": PROMPT}]}
LINES = {"Accept": "application/x-ndjson"}

COLUMNS = (
    "",
    "CPU-s / 1,000 tokens",
    "least - most",
    "x SSE",
    "least - most",
    "bytes a token",
    "reads a token",
    "gap p50 ms",
    "peak RSS MB",
    "complete streams",
)


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """One way to follow a stream."""

    name: str
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = {}
    fields: dict[str, Any] = msgspec.field(default_factory=CHAT.copy)
    """Of the request, beside model and script."""
    ending: bytes = DONE
    """Stands at the end of a whole answer."""
    coding: str = "identity"
    visit: Visit = visiting(Http1Client)
    streams_per_connection: int = 1
    server: str = "relay"
    options: tuple[str, ...] = ()
    """Of ``headrace serve``."""

    def request(self, port: int, load: Load) -> Request:
        """Return what one stream of ``load`` asks."""
        text = prose(load.tokens, mark=MARK)
        script = {"ttft_ms": load.ttft_ms, "itl_ms": load.itl_ms, "tokens": load.tokens, "text": text}
        return Request(
            authority=f"127.0.0.1:{port}",
            path=self.path,
            headers=self.headers,
            body=msgspec.json.encode({"model": "sim", **self.fields, "simulate": script}),
            ending=self.ending,
            coding=self.coding,
            tokens=load.tokens,
        )


def _compressed(coding: str) -> Door:
    headers = {"Accept-Encoding": coding}
    return Door(name=f"SSE, {coding}", headers=headers, coding=coding, options=("--compress",))


def _doors(kind: type[SocketClient | Http2Client], name: str, **fields: Any) -> list[Door]:
    """Return the doors of a protocol that carries many streams on a connection."""
    return [
        Door(
            name=f"{name}, {count} {'stream' if count == 1 else 'streams'} a connection",
            visit=visiting(kind),
            streams_per_connection=count,
            **fields,
        )
        for count in (1, 20)
    ]


DOORS = [
    Door(name=NGINX, server="nginx"),
    Door(name=SSE),
    Door(name="NDJSON", headers=LINES, ending=COMPLETED),
    Door(name="/api/v1/chat/stream", path="/api/v1/chat/stream", ending=COMPLETED),
    Door(name="completions, SSE", path="/v1/completions", fields={"stream": True, "prompt": PROMPT}),
    Door(name="EventSource", path="/v1/completions/stream", fields={"prompt": PROMPT}),
    Door(name="events, SSE", ending=COMPLETED, visit=follow),
    Door(name="events, NDJSON", headers=LINES, ending=COMPLETED, visit=follow),
    *_doors(SocketClient, "WebSocket", ending=COMPLETED),
    Door(name="blocking JSON", fields={**CHAT, "stream": False}, ending=USAGE),
    *map(_compressed, ("gzip", "zstd", "br")),
    Door(name="SSE, merge", headers={"Headrace-Merge": "true"}),
    Door(name="SSE, merge, coalesce_tokens=10", headers={"Headrace-Merge": "true", "Headrace-Coalesce-Tokens": "10"}),
    *_doors(Http2Client, "HTTP/2", options=("--http2",)),
]


class DoorCost(Cost, frozen=True, kw_only=True):
    """One load through one door."""

    reads_per_token: float
    """Arrivals of data at the clients."""
    completed: int
    """Streams that ended as they should."""
    degraded: int
    """Streams that went on without the store since the relay began, its warm-up included."""
    load_share: float
    """Part of one core that simulator and clients used."""


def main() -> int:
    options = _options()
    pin_self()
    report = Report("doors", "Cost of each door")
    doors = _measurable(report, options.only)
    taken: dict[str, list[DoorCost]] = {door.name: [] for door in doors}
    with simulator() as engine:
        for _ in range(options.rounds):
            for door in doors:
                taken[door.name].append(_measured(report, door, engine))
    _show(report, taken)
    return report.save(is_checked=options.check)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round: two or three minutes")
    parser.add_argument("--rounds", type=int, help="rounds of each door (3)")
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="doors with this in their names, beside SSE and nginx"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _measurable(report: Report, only: str) -> list[Door]:
    """Return the doors to measure, those first that all others are compared with."""
    wanted = [door for door in DOORS if door.name in (NGINX, SSE) or only.lower() in door.name.lower()]
    if importlib.util.find_spec("h2") is not None:
        return wanted
    report.note("HTTP/2 was not measured: it needs headrace[http2].")
    return [door for door in wanted if "--http2" not in door.options]


def _measured(report: Report, door: Door, engine: Target) -> DoorCost:
    with _served(door, engine) as target:
        for load in (WARM_UP, LOAD):
            cost, failures = measure(target, door, load, engine)
            if failures:
                reasons = "; ".join(failures[:3])
                report.failed(f"{door.name}: {cost.completed} of {load.streams} streams were complete: {reasons}")
    return cost


@contextmanager
def _served(door: Door, engine: Target) -> Iterator[Target]:
    with nginx(engine.port) if door.server == "nginx" else relay(engine.port, *door.options) as target:
        yield target


def measure(target: Target, door: Door, load: Load, engine: Target) -> tuple[DoorCost, list[str]]:
    """Run one load through one door; returns what it cost, and why streams failed.

    Figures of a load of which a stream failed mean nothing.
    """
    watch, result = MemoryWatch(target), Received()
    draw = random.Random(load.seed)
    groups = grouped((draw.uniform(0, load.ramp_s) for _ in range(load.streams)), door.streams_per_connection)
    request = door.request(target.port, load)

    async def run() -> None:
        async with watch:
            await run_visits(target.port, load, request, door.visit, groups=groups, result=result)

    before_s, load_before_s = target.cpu_s(), engine.cpu_s() + time.process_time()
    run_uvloop(run())
    cpu_s, load_s = target.cpu_s() - before_s, engine.cpu_s() + time.process_time() - load_before_s
    tokens = result.tokens or math.nan
    cost = DoorCost(
        target=door.name,
        tokens=result.tokens,
        elapsed_s=result.elapsed_s,
        cpu_s=cpu_s,
        rss_mb=watch.peak_bytes / 1e6,
        bytes_per_token=result.bytes / tokens,
        reads_per_token=result.reads / tokens,
        gap_p50_ms=quantile(result.gap_s, 0.5) * 1000,
        gap_p99_ms=quantile(result.gap_s, 0.99) * 1000,
        is_late=result.elapsed_s > load.planned_s * LATE_SHARE,
        ttft_ms=sorted(seconds * 1000 for seconds in result.ttft_s),
        completed=result.completed,
        degraded=_degraded(target) if door.server == "relay" else 0,
        load_share=load_s / result.elapsed_s,
    )
    return cost, result.failures


def _degraded(node: Target) -> int:
    """Return how many streams of a relay have gone on without its store."""
    metrics = run_uvloop(get(node.port, "/metrics")).decode()
    return sum(int(float(line.split()[1])) for line in metrics.splitlines() if line.startswith(f"{DEGRADED} "))


def _show(report: Report, taken: dict[str, list[DoorCost]]) -> None:
    report.data("doors", {name: msgspec.to_builtins(costs) for name, costs in taken.items()})
    # A load of which a stream broke gives no figure.
    whole = {name: Costs([*costs]) for name, costs in taken.items() if _completed(costs) == _asked(costs)}
    unknown = ["-"] * (len(COLUMNS) - 2)
    report.table(
        FIFTY,
        COLUMNS,
        [
            (*(_figures(name, whole) if name in whole else (name, *unknown)), f"{_completed(costs)} of {_asked(costs)}")
            for name, costs in taken.items()
        ],
    )
    every = [cost for costs in taken.values() for cost in costs]
    _note(report, every)
    report.bar("complete streams of all doors", _completed(every), least=_asked(every))
    if NGINX in whole and SSE in whole:
        times = ratio(whole[SSE], whole[NGINX])[0]
        report.bar("times nginx's CPU a token, SSE, median", times, most=MOST_RATIO[FIFTY])


def _completed(costs: Sequence[DoorCost]) -> int:
    return sum(cost.completed for cost in costs)


def _asked(costs: Sequence[DoorCost]) -> int:
    return len(costs) * LOAD.streams


def _figures(name: str, whole: dict[str, Costs]) -> tuple[str, ...]:
    costs = whole[name]
    least, most = costs.spread("cpu_per_1000")
    times, low, high = ratio(costs, whole[SSE]) if SSE in whole else (math.nan,) * 3
    gap_ms = costs.median("gap_p50_ms")
    return (
        name + (" (late)" if costs.is_late else ""),
        f"{costs.median('cpu_per_1000'):.4f}",
        f"{least:.4f} - {most:.4f}",
        f"{times:.2f}",
        f"{low:.2f} - {high:.2f}",
        f"{costs.median('bytes_per_token'):.0f}",
        f"{costs.median('reads_per_token'):.2f}",
        "-" if math.isnan(gap_ms) else f"{gap_ms:.0f}",
        f"{costs.median('rss_mb'):.0f}",
    )


def _note(report: Report, costs: Sequence[DoorCost]) -> None:
    busiest = max(costs, key=lambda cost: cost.load_share)
    report.note(f"Simulator and clients used at most {busiest.load_share:.0%} of their core ({busiest.target}).")
    degraded = Counter[str]()
    for cost in costs:
        degraded[cost.target] += cost.degraded
    for name, count in (+degraded).items():
        report.note(f"{name}: {count} streams went on without the store.")


if __name__ == "__main__":
    sys.exit(main())
