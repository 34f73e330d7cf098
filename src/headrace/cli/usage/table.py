"""Usage as text."""

from __future__ import annotations

from headrace.cli.columns import aligned
from headrace.cli.untrusted import one_line
from headrace.protocol.usage import Usage, UsageTotal

HEADINGS = ("REQUESTS", "PROMPT", "CACHED", "COMPLETION", "COST USD", "ESTIMATED", "UNPRICED")
"""The last two count requests: whose bill rests on the relay's count, and whose model has no known price."""

MORE = "There are more groups, in the total only: ask for less time, or for one owner, key, model or tag."


def table(usage: Usage) -> list[str]:
    """Return a line of headings, one for each group, and one for all."""
    by = [one_line(name) for name in usage.by]
    groups = [[*(one_line(line.group.get(name, "")) for name in usage.by), *_numbers(line)] for line in usage.data]
    total = [*["total", *[""] * len(by)][: len(by)], *_numbers(usage.total)]
    rows = [[*(name.upper() for name in by), *HEADINGS], *(groups if by else []), total]
    lines = aligned(rows, right=range(len(by), len(by) + len(HEADINGS)))
    return [*lines, MORE] if usage.has_more else lines


def _numbers(line: UsageTotal) -> list[str]:
    return [
        str(line.requests),
        str(line.prompt_tokens),
        str(line.cached_tokens),
        str(line.completion_tokens),
        one_line(line.cost_usd),
        str(line.estimated.requests),
        str(line.unpriced_requests),
    ]
