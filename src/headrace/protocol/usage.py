"""``GET /v1/usage``: what requests used and cost, as JSON and as CSV. The relay writes it, and the client reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from headrace.protocol.csv_table import csv_table

SUM_FIELDS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_usd")


class UsageSum(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the bills of one basis."""

    requests: int
    prompt_tokens: int
    cached_tokens: int
    """Those of the prompts that engines took from a cache; part of ``prompt_tokens``."""
    completion_tokens: int
    cost_usd: str
    """US dollars as decimal text; ``decimal.Decimal`` takes it without losing a digit."""


class UsageTotal(UsageSum, frozen=True, kw_only=True):
    """Sums over bills of either basis; their tokens and costs are those that were billed."""

    generated_tokens: int
    """What engines sent, by the relay's own count."""
    delivered_tokens: int
    """What clients were given, by the same count."""
    reported: UsageSum
    """Of the bills whose tokens the engine reported."""
    estimated: UsageSum
    """Of those that rest on the relay's own count, in full or in part."""
    unpriced_requests: int
    """Requests to models without a known price; they are in the sums as costing nothing."""


class UsageGroup(UsageTotal, frozen=True, kw_only=True):
    """Usage of requests that have ended, and that have all of this in common."""

    group: dict[str, str]
    """What they have in common, by what was grouped by; empty text for requests without a key or that tag."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Usage between two moments (Unix seconds), by when requests were accepted."""

    object: Literal["usage"] = "usage"
    since: float
    until: float
    """Exclusive."""
    by: list[str]
    data: list[UsageGroup]
    """Ordered by group."""
    total: UsageTotal
    """Of all groups, whether they are in ``data`` or not."""
    has_more: bool
    """More groups than ``data`` holds."""


COLUMNS = (
    *SUM_FIELDS[:-1],
    "generated_tokens",
    "delivered_tokens",
    "cost_usd",
    *(f"{basis}_{field}" for basis in ("reported", "estimated") for field in SUM_FIELDS),
    "unpriced_requests",
)
"""Of the CSV, behind one column for each thing grouped by."""


def usage_csv(usage: Usage) -> bytes:
    """Return the groups as CSV, without the total."""
    return csv_table((*usage.by, *COLUMNS), (_row(usage.by, group) for group in usage.data))


def _row(by: Sequence[str], line: UsageGroup) -> list[str | int]:
    return [
        *(line.group.get(name, "") for name in by),
        line.requests,
        line.prompt_tokens,
        line.cached_tokens,
        line.completion_tokens,
        line.generated_tokens,
        line.delivered_tokens,
        line.cost_usd,
        *(getattr(part, field) for part in (line.reported, line.estimated) for field in SUM_FIELDS),
        line.unpriced_requests,
    ]
