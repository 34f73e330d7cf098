"""A relay that does more, beside the same relay without it, in the same run: what both ``bench.metering`` and ``bench.routing`` do.

The loads are those of ``bench.speed``, and one that is nearly all setting up and settling, which has no bar.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import msgspec
from bench.cost import Costs, LoadFailed, cost_cells, interleaved, ratio
from bench.load import Load
from bench.report import Report
from bench.speed import FIFTY, FIVE_HUNDRED, LOADS
from bench.targets import Target

SHORT = "200 streams x 5 answers of 5 tokens at 10 ms"
ALL_LOADS = {
    FIFTY: LOADS[FIFTY],
    FIVE_HUNDRED: LOADS[FIVE_HUNDRED],
    SHORT: Load(streams=200, tokens=5, itl_ms=10, repeats=5, pause_s=0.2),
}
COLUMNS = ("", "CPU-s / 1,000 tokens", "least - most", "x plain", "least - most", "x nginx")


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Return the options that such benchmarks have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds: about a minute")
    parser.add_argument("--rounds", type=int, help="rounds of each load (7)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    return parser


def rounds_of(options: argparse.Namespace) -> int:
    """Return how many rounds were asked for."""
    return options.rounds or (2 if options.quick else 7)


def compare(
    report: Report, targets: list[Target], *, rounds: int, mine: str, others: Sequence[str] = ("plain",), most: float
) -> None:
    """Measure all loads.

    Args:
        report: Gets the tables and the bars.
        targets: ``nginx`` and ``plain`` among them.
        rounds: Of each load.
        mine: The target that must not cost more,
        others: than any of these,
        most: by more than this factor.
    """
    for name, load in ALL_LOADS.items():
        try:
            costs = interleaved(targets, load, rounds=rounds)
        except LoadFailed as error:
            report.failed(f"{name}: {error}")
            continue
        report.data(name, {target: msgspec.to_builtins(taken) for target, taken in costs.items()})
        report.table(name, COLUMNS, [_row(target, costs) for target in costs])
        for other in others if name != SHORT else ():
            report.bar(f"times the CPU a token of {other}, median", ratio(costs[mine], costs[other])[0], most=most)


def _row(target: str, costs: dict[str, Costs]) -> tuple[str, ...]:
    taken = costs[target]
    return *cost_cells(taken, costs["plain"]), f"{ratio(taken, costs['nginx'])[0]:.2f}"
