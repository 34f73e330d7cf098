"""What one load cost a target: CPU time a token, and what its clients saw."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
from bench.load import Load, quantile, run_load
from bench.targets import Target

WARM_UP = Load(streams=20, tokens=20, itl_ms=5, ramp_s=0.2)
LATE_SHARE = 1.1
"""A paced load that takes this much longer than planned did not get its pace: something was saturated."""


class LoadFailed(Exception):
    """Streams broke, so that what was measured means nothing."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One load against one target."""

    target: str
    tokens: int
    elapsed_s: float
    cpu_s: float
    rss_mb: float
    bytes_per_token: float
    gap_p50_ms: float
    gap_p99_ms: float
    is_late: bool
    """The pace that was asked for was not kept."""
    ttft_ms: list[float]
    """One a stream, sorted."""

    @property
    def cpu_per_1000(self) -> float:
        """CPU-seconds for 1,000 tokens, setting up the streams included."""
        return self.cpu_s / self.tokens * 1000

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.elapsed_s

    @property
    def busy_share(self) -> float:
        """Part of one core that the target used."""
        return self.cpu_s / self.elapsed_s


def measure(target: Target, load: Load) -> Cost:
    """Run one load.

    Raises:
        LoadFailed: At least one stream did not end as it should.
    """
    before_s = target.cpu_s()
    result = run_load(target.port, load, headers=target.headers)
    cpu_s = target.cpu_s() - before_s
    if result.failed:
        reasons = "; ".join(result.failures[:3])
        raise LoadFailed(f"{target.name}: {result.failed} of {load.streams * load.repeats} streams failed: {reasons}")
    return Cost(
        target=target.name,
        tokens=result.tokens,
        elapsed_s=result.elapsed_s,
        cpu_s=cpu_s,
        rss_mb=target.rss_bytes() / 1e6,
        bytes_per_token=result.bytes / result.tokens,
        gap_p50_ms=quantile(result.gap_s, 0.5) * 1000,
        gap_p99_ms=quantile(result.gap_s, 0.99) * 1000,
        is_late=bool(load.itl_ms) and result.elapsed_s > load.planned_s * LATE_SHARE,
        ttft_ms=sorted(seconds * 1000 for seconds in result.ttft_s),
    )


class Costs(msgspec.Struct, frozen=True):
    """The rounds of one load against one target."""

    rounds: list[Cost]

    def median(self, attribute: str) -> float:
        return float(statistics.median(getattr(cost, attribute) for cost in self.rounds))

    def spread(self, attribute: str) -> tuple[float, float]:
        values = [getattr(cost, attribute) for cost in self.rounds]
        return min(values), max(values)

    def ttft_ms(self, share: float) -> float:
        """Return a quantile over the streams of all rounds."""
        return quantile([value for cost in self.rounds for value in cost.ttft_ms], share)

    @property
    def is_late(self) -> bool:
        return any(cost.is_late for cost in self.rounds)


def interleaved(targets: Sequence[Target], load: Load, *, rounds: int) -> dict[str, Costs]:
    """Measure targets in turn, round after round, so that what disturbs the machine disturbs all of them.

    Raises:
        LoadFailed: See ``measure``.
    """
    taken: dict[str, list[Cost]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            taken[target.name].append(measure(target, load))
    return {name: Costs(costs) for name, costs in taken.items()}


def warm_up(targets: Sequence[Target]) -> None:
    """Let each target do everything once before it counts.

    Raises:
        LoadFailed: See ``measure``.
    """
    for target in targets:
        measure(target, WARM_UP)


def ratio(costs: Costs, baseline: Costs) -> tuple[float, float, float]:
    """Return how many times the CPU of ``baseline`` a token costs: median, least and most over the rounds' pairs."""
    pairs = [mine.cpu_per_1000 / other.cpu_per_1000 for mine, other in zip(costs.rounds, baseline.rounds, strict=True)]
    return statistics.median(pairs), min(pairs), max(pairs)


def cost_cells(costs: Costs, baseline: Costs) -> tuple[str, ...]:
    """Return a table's first cells: name, CPU a token with its spread, and how many times ``baseline`` that is, with its own."""
    least, most = costs.spread("cpu_per_1000")
    times, low, high = ratio(costs, baseline)
    return (
        costs.rounds[0].target + (" (late)" if costs.is_late else ""),
        f"{costs.median('cpu_per_1000'):.5f}",
        f"{least:.5f} - {most:.5f}",
        f"{times:.2f}",
        f"{low:.2f} - {high:.2f}",
    )
