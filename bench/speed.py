"""``python -m bench.speed``: what a token costs the relay, beside nginx in the same run.

Rounds are interleaved (nginx, relay, nginx, relay, …), and ratios are taken between neighbours: the machine's mood
changes both. The relay keeps its streams in SQLite; nginx keeps nothing, so its figure is a floor, not a rival.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

import msgspec
from bench.cost import Costs, LoadFailed, cost_cells, interleaved, ratio, warm_up
from bench.fetch import get
from bench.load import Load, run_uvloop
from bench.report import Report
from bench.targets import Target, nginx, pin_self, relay, simulator

FIFTY = "50 streams x 256 tokens at 20 ms"
FIVE_HUNDRED = "500 streams x 100 tokens at 50 ms"
NO_DELAY = "64 streams x 2,000 tokens without delay"
LOADS = {
    FIFTY: Load(streams=50, tokens=256, itl_ms=20),
    FIVE_HUNDRED: Load(streams=500, tokens=100, itl_ms=50),
    NO_DELAY: Load(streams=64, tokens=2000, itl_ms=0, repeats=4, ramp_s=0.05),
}
TTFT_LOAD = Load(streams=50, tokens=50, itl_ms=20, repeats=5, pause_s=0.2)
MOST_RATIO = {FIFTY: 2.1, FIVE_HUNDRED: 2.5}
LEAST_TOKENS_PER_S = 100_000
MOST_TTFT_P50_MS, MOST_TTFT_P99_MS = 2.0, 10.0

DEGRADED = "headrace_streams_degraded_total"

SWEEP_S = 5.0
"""How long one answer of a sweep takes."""
SWEEP_STREAMS = (10, 50, 200, 500, 1000)
SWEEP_ITL_MS = (5, 20, 50, 200)
SWEEP_TICKS_MS = (0, 20, 50, 100)

COLUMNS = ("", "CPU-s / 1,000 tokens", "least - most", "x nginx", "least - most", "gap p50 ms", "gap p99 ms", "RSS MB")


def main() -> int:
    options = _options()
    pin_self()
    report = Report("speed", "Cost of a token, beside nginx")
    with ExitStack() as stack:
        engine = stack.enter_context(simulator())
        proxy = stack.enter_context(nginx(engine.port))
        node = stack.enter_context(relay(engine.port))
        warm_up([engine, proxy, node])
        for name, load in LOADS.items():
            _compare(report, name, load, [proxy, node], rounds=options.rounds)
        _first_token(report, [engine, proxy, node], rounds=options.ttft_rounds)
        if options.sweep:
            _sweep(report, [proxy, node])
    if options.sweep:
        _sweep_ticks(report)
    return report.save(is_checked=options.check)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds and no sweeps: one or two minutes")
    parser.add_argument("--rounds", type=int, help="rounds of each load (5)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.ttft_rounds = 1 if options.quick else 3
    options.sweep = not options.quick
    return options


def _measured(report: Report, name: str, targets: list[Target], load: Load, *, rounds: int) -> dict[str, Costs] | None:
    """Measure targets in turn, and keep the figures; None, and a word in the report, when streams broke."""
    try:
        costs = interleaved(targets, load, rounds=rounds)
    except LoadFailed as error:
        report.failed(f"{name}: {error}")
        return None
    report.data(name, {target: msgspec.to_builtins(taken) for target, taken in costs.items()})
    return costs


def _degraded(node: Target) -> int:
    """Return how many streams of the relay have gone on without its store so far."""
    metrics = run_uvloop(get(node.port, "/metrics")).decode()
    return sum(int(float(line.split()[1])) for line in metrics.splitlines() if line.startswith(f"{DEGRADED} "))


def _compare(report: Report, name: str, load: Load, targets: list[Target], *, rounds: int) -> None:
    degraded = _degraded(targets[-1])
    costs = _measured(report, name, targets, load, rounds=rounds)
    degraded = _degraded(targets[-1]) - degraded
    if degraded:
        report.note(f"{name}: {degraded} of {rounds * load.streams * load.repeats} streams went on without the store.")
    if costs is None:
        return
    report.table(name, COLUMNS, [_row(target, costs) for target in costs])
    node = costs["relay"]
    if name in MOST_RATIO:
        report.bar("times nginx's CPU a token, median", ratio(node, costs["nginx"])[0], most=MOST_RATIO[name])
    else:
        rate, busy = node.median("tokens_per_s"), node.median("busy_share")
        report.bar("tokens a second on one core", rate, least=LEAST_TOKENS_PER_S)
        report.note(
            f"nginx {costs['nginx'].median('tokens_per_s'):,.0f} tokens/s; the relay's core was {busy:.0%} busy, nginx's "
            f"{costs['nginx'].median('busy_share'):.0%}: where that is well below 100 %, simulator and generator, which "
            "share the other core, were the limit."
        )


def _row(target: str, costs: dict[str, Costs]) -> tuple[str, ...]:
    taken = costs[target]
    return (
        *cost_cells(taken, costs["nginx"]),
        f"{taken.median('gap_p50_ms'):.1f}",
        f"{taken.median('gap_p99_ms'):.1f}",
        f"{taken.median('rss_mb'):.0f}",
    )


def _first_token(report: Report, targets: list[Target], *, rounds: int) -> None:
    """Show what stands between the engine's first token and the client."""
    costs = _measured(report, "ttft", targets, TTFT_LOAD, rounds=rounds)
    if costs is None:
        return
    direct = costs["direct"]
    added = {
        target: (taken.ttft_ms(0.5) - direct.ttft_ms(0.5), taken.ttft_ms(0.99) - direct.ttft_ms(0.99))
        for target, taken in costs.items()
    }
    streams = sum(len(cost.ttft_ms) for cost in direct.rounds)
    report.table(
        f"Time to the first token, 50 streams at 20 ms, {streams} each",
        ("", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms"),
        [
            (target, *(f"{value:.2f}" for value in (taken.ttft_ms(0.5), taken.ttft_ms(0.99), *added[target])))
            for target, taken in costs.items()
        ],
    )
    report.bar("added to the time to the first token, p50, ms", added["relay"][0], most=MOST_TTFT_P50_MS)
    report.bar("added to the time to the first token, p99, ms", added["relay"][1], most=MOST_TTFT_P99_MS)


def _sweep_load(*, streams: int, itl_ms: float) -> Load:
    return Load(streams=streams, tokens=int(SWEEP_S * 1000 / itl_ms), itl_ms=itl_ms)


def _sweep(report: Report, targets: list[Target]) -> None:
    """Show how cost moves with the number of streams and with their pace."""
    loads = {f"{streams} streams at 50 ms": _sweep_load(streams=streams, itl_ms=50) for streams in SWEEP_STREAMS}
    _sweep_table(report, "Streams", targets, loads)
    loads = {f"100 streams at {itl_ms} ms": _sweep_load(streams=100, itl_ms=itl_ms) for itl_ms in SWEEP_ITL_MS}
    _sweep_table(report, "Pace", targets, loads)


def _sweep_table(report: Report, title: str, targets: list[Target], loads: dict[str, Load]) -> None:
    rows = []
    for name, load in loads.items():
        costs = _measured(report, f"{title}: {name}", targets, load, rounds=1)
        if costs is None:
            continue
        rows += [(f"{name}: {row[0]}", row[1], row[3], *row[5:]) for row in (_row(target, costs) for target in costs)]
    report.table(title, (COLUMNS[0], COLUMNS[1], COLUMNS[3], *COLUMNS[5:]), rows)


def _sweep_ticks(report: Report) -> None:
    """Show how cost moves with the tick. Each has a relay of its own, and a round of nginx beside it."""
    load = _sweep_load(streams=200, itl_ms=20)
    rows = []
    for tick_ms in SWEEP_TICKS_MS:
        with ExitStack() as stack:
            engine = stack.enter_context(simulator())
            targets = [
                stack.enter_context(nginx(engine.port)),
                stack.enter_context(relay(engine.port, "--flush-interval", str(tick_ms))),
            ]
            warm_up(targets)
            costs = _measured(report, f"Tick: {tick_ms}", targets, load, rounds=1)
        if costs is not None:
            row = _row("relay", costs)
            rows.append((f"--flush-interval {tick_ms}: {row[0]}", row[1], row[3], *row[5:]))
    report.table(
        "Tick, 200 streams at 20 ms (from 100 streams on it has stretched to twice)",
        (COLUMNS[0], COLUMNS[1], COLUMNS[3], *COLUMNS[5:]),
        rows,
    )


if __name__ == "__main__":
    sys.exit(main())
