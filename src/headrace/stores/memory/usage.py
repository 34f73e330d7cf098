"""Usage in memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from operator import add, attrgetter

import msgspec

from headrace.stores.usage import GROUPINGS, TAG_GROUPING, Amounts, UsageRow, line_of
from headrace.stream.store import Spent, UsageFilter, UsageLine
from headrace.types.ids import KeyId, RequestId

ROWS_AT_ONCE = 250
"""How many rows are summed up before other tasks have their turn: about a millisecond."""


class UsageRows:
    """Keeps the newest ``max_rows`` rows of usage."""

    def __init__(self, *, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rows: OrderedDict[RequestId, UsageRow] = OrderedDict()

    def enter(self, row: UsageRow) -> UsageRow:
        """Enter a row, unless a settled one of its request is there; return the one that is there now."""
        kept = self._rows.get(row.request_id)
        if kept is not None and kept.is_settled:
            return kept
        self._rows[row.request_id] = row
        while len(self._rows) > self._max_rows:
            self._rows.popitem(last=False)
        return row

    def settle(self, request_id: RequestId, amounts: Amounts) -> None:
        """Correct the row of a request, if there is one."""
        row = self._rows.get(request_id)
        if row is not None:
            self._rows[request_id] = msgspec.structs.replace(row, amounts=amounts, is_settled=True)

    async def lines(self, query: UsageFilter, by: Sequence[str], limit: int) -> list[UsageLine]:
        """Sum up the rows as they are now, while other tasks go on."""
        sums: dict[tuple[str, ...], list[int]] = {}
        group_of = _grouped(by)
        for number, row in enumerate(tuple(self._rows.values()), 1):
            if _takes(query, row):
                group = group_of(row)
                sums[group] = list(map(add, sums.get(group) or _NOTHING, _numbers(row.amounts)))
            if number % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return [line_of(group, sums[group]) for group in sorted(sums)[:limit]]

    def spent(self, since: float) -> list[Spent]:
        """Sum up money by owner, key and day."""
        sums: dict[tuple[str, KeyId, str], int] = {}
        for row in self._rows.values():
            if row.accepted_at >= since:
                group = row.owner, row.key_id, row.day
                sums[group] = sums.get(group, 0) + (row.amounts.nano_usd or 0)
        return [Spent(*group, sums[group]) for group in sorted(sums)]

    def trim(self, accepted_before: float) -> int:
        """Drop old rows and return how many."""
        doomed = [row.request_id for row in self._rows.values() if row.accepted_at < accepted_before]
        for request_id in doomed:
            del self._rows[request_id]
        return len(doomed)


_NOTHING = (0,) * 13


def _numbers(amounts: Amounts) -> tuple[int, ...]:
    """Return what a row adds to the sums of its group; see ``line_of``."""
    money = amounts.nano_usd
    bill = (1, amounts.prompt_tokens, amounts.cached_tokens, amounts.completion_tokens, money or 0)
    bills = (*bill, 0, 0, 0, 0, 0) if amounts.is_reported else (0, 0, 0, 0, 0, *bill)
    return (amounts.generated_tokens, amounts.delivered_tokens, money is None, *bills)


def _takes(query: UsageFilter, row: UsageRow) -> bool:
    return (
        query.since <= row.accepted_at < query.until
        and (query.owner is None or row.owner == query.owner)
        and (query.key_id is None or row.key_id == query.key_id)
        and (query.model is None or row.model == query.model)
        and (query.tag is None or row.tags.get(query.tag[0]) == query.tag[1])
    )


def _grouped(by: Sequence[str]) -> Callable[[UsageRow], tuple[str, ...]]:
    """Return what tells the group of a row."""
    parts = [
        _tag(name.removeprefix(TAG_GROUPING)) if name not in GROUPINGS else attrgetter(GROUPINGS[name]) for name in by
    ]
    return lambda row: tuple([part(row) for part in parts])


def _tag(name: str) -> Callable[[UsageRow], str]:
    return lambda row: row.tags.get(name, "")
