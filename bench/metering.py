"""``python -m bench.metering``: what keys, limits, budgets and bills cost, beside the same relay without them, in the same run.

The loads are those of ``bench.speed``. One relay lets anybody in and knows no price; the other one looks up a key for each
request, holds it to limits of its key, its owner, its model and the engine, charges every tick to four budgets, and
enters a tagged bill into the usage. Rounds are interleaved, and ratios are taken between neighbours.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

import msgspec
from bench.cost import Costs, LoadFailed, cost_cells, interleaved, ratio, warm_up
from bench.load import Load
from bench.report import Report
from bench.speed import FIFTY, FIVE_HUNDRED, LOADS
from bench.targets import Target, metered_relay, nginx, pin_self, relay, simulator

SHORT = "200 streams x 5 answers of 5 tokens at 10 ms"
METERED_LOADS = {
    FIFTY: LOADS[FIFTY],
    FIVE_HUNDRED: LOADS[FIVE_HUNDRED],
    SHORT: Load(streams=200, tokens=5, itl_ms=10, repeats=5, pause_s=0.2),
}
"""The last one is nearly all setting up and settling; it has no bar."""

MOST_RATIO = 1.15
COLUMNS = ("", "CPU-s / 1,000 tokens", "least - most", "x plain", "least - most", "x nginx")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds: about a minute")
    parser.add_argument("--rounds", type=int, help="rounds of each load (7)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    options = parser.parse_args()
    pin_self()
    report = Report("metering", "Cost of keys, limits and money")
    with ExitStack() as stack:
        engine = stack.enter_context(simulator())
        proxy = stack.enter_context(nginx(engine.port))
        plain = stack.enter_context(relay(engine.port, name="plain"))
        metered = stack.enter_context(metered_relay(engine.port))
        targets = [proxy, plain, metered]
        warm_up([engine, *targets])
        for name, load in METERED_LOADS.items():
            _compare(report, name, load, targets, rounds=options.rounds or (2 if options.quick else 7))
    return report.save(is_checked=options.check)


def _compare(report: Report, name: str, load: Load, targets: list[Target], *, rounds: int) -> None:
    try:
        costs = interleaved(targets, load, rounds=rounds)
    except LoadFailed as error:
        report.failed(f"{name}: {error}")
        return
    report.data(name, {target: msgspec.to_builtins(taken) for target, taken in costs.items()})
    report.table(name, COLUMNS, [_row(target, costs) for target in costs])
    if name != SHORT:
        report.bar(
            "times the plain relay's CPU a token, median", ratio(costs["metered"], costs["plain"])[0], most=MOST_RATIO
        )


def _row(target: str, costs: dict[str, Costs]) -> tuple[str, ...]:
    taken = costs[target]
    return (
        *cost_cells(taken, costs["plain"]),
        f"{ratio(taken, costs['nginx'])[0]:.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
