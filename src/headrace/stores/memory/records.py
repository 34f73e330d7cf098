"""Records in memory, and what each cost."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import Self

import msgspec

from headrace.stores.memory.done import done
from headrace.stores.memory.usage import UsageRows
from headrace.stores.usage import amounts_of, check_groupings, row_of, with_amounts
from headrace.stream.store import RecordPage, Settlement, Spent, UsageFilter, UsageLine
from headrace.types.ids import RequestId, StreamId
from headrace.types.outcome import State
from headrace.types.record import Perceived, Record

MAX_USAGE = 100_000
"""Ended requests whose cost is kept unless told otherwise: some 50 MB at most."""


class MemoryRecords:
    """Keeps records and usage in memory.

    Args:
        max_records: How many of the newest records are kept; those of ended requests give way first.
        max_usage: Of how many of the newest ended requests is kept what they cost.
    """

    def __init__(self, *, max_records: int, max_usage: int = MAX_USAGE) -> None:
        self._max_records = max_records
        self._records: OrderedDict[RequestId, Record] = OrderedDict()
        self._own: dict[StreamId, dict[RequestId, None]] = {}
        """Whose ``stream_id`` is this."""
        self._usage = UsageRows(max_rows=max_usage)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def save(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Take the records over; the future is done already."""
        for record in records:
            self._put(self._entered(record))
        while len(self._records) > self._max_records:
            ended = (record.id for record in self._records.values() if record.state.is_terminal)
            self._drop(next(ended, next(iter(self._records))))
        return done()

    def settle(self, settlements: Sequence[Settlement]) -> asyncio.Future[None]:
        """Take the settlements over; the future is done already."""
        for settlement in settlements:
            amounts = amounts_of(settlement.generated_tokens, settlement.delivered_tokens, settlement.bill)
            record = self._records.get(settlement.request_id)
            if record is not None:
                self._records[record.id] = with_amounts(record, amounts)
            self._usage.settle(settlement.request_id, amounts)
        return done()

    async def usage(self, query: UsageFilter, *, by: Sequence[str], limit: int) -> list[UsageLine]:
        check_groupings(by)
        return await self._usage.lines(query, by, limit)

    async def spent(self, *, since: float) -> list[Spent]:
        return self._usage.spent(since)

    async def trim_usage(self, *, accepted_before: float) -> int:
        return self._usage.trim(accepted_before)

    async def get(self, request_id: RequestId) -> Record | None:
        return self._records.get(request_id)

    async def own(self, stream_id: StreamId) -> Record | None:
        return min((self._records[id_] for id_ in self._own.get(stream_id, ())), key=_age, default=None)

    async def of_stream(self, stream_id: StreamId) -> list[Record]:
        found = [record for record in self._records.values() if stream_id in {record.stream_id, record.log_id}]
        return sorted(found, key=_age)

    async def newest(
        self, *, owner: str | None, state: State | None = None, limit: int = 20, before: RequestId | None = None
    ) -> RecordPage:
        records: Iterable[Record] = [record for record in self._records.values() if owner in {None, record.owner}]
        if before is not None:
            cursor = self._records.get(before)
            if cursor is None or owner not in {None, cursor.owner}:
                return RecordPage([], has_more=False)
            records = [record for record in records if _age(record) < _age(cursor)]
        if state is not None:
            records = [record for record in records if record.state is state]
        found = nlargest(limit + 1, records, key=_age)
        return RecordPage(found[:limit], has_more=len(found) > limit)

    async def add_perceived(self, stream_id: StreamId, perceived: Perceived) -> Record | None:
        record = await self.own(stream_id)
        if record is None:
            return None
        if record.state.is_terminal and record.perceived is None:
            self._records[record.id] = msgspec.structs.replace(record, perceived=perceived)
        return record

    async def forget(self, stream_id: StreamId) -> bool:
        doomed = await self.of_stream(stream_id)
        for record in doomed:
            self._drop(record.id)
        return bool(doomed)

    async def trim(self, *, accepted_before: float) -> int:
        doomed = [
            record.id
            for record in self._records.values()
            if record.accepted_at < accepted_before and record.state.is_terminal
        ]
        for request_id in doomed:
            self._drop(request_id)
        return len(doomed)

    def _put(self, record: Record) -> None:
        replaced = self._records.get(record.id)
        if replaced is not None and replaced.stream_id != record.stream_id:
            self._forget_own(replaced)
        self._records[record.id] = record
        self._own.setdefault(record.stream_id, {})[record.id] = None

    def _drop(self, request_id: RequestId) -> None:
        self._forget_own(self._records.pop(request_id))

    def _forget_own(self, record: Record) -> None:
        own = self._own[record.stream_id]
        del own[record.id]
        if not own:
            del self._own[record.stream_id]

    def _entered(self, record: Record) -> Record:
        """Enter what a record cost, if it says so, and return it as it is to be kept: with a settlement's bill."""
        if record.bill is None:
            return record
        row = self._usage.enter(row_of(record, record.bill))
        return with_amounts(record, row.amounts) if row.is_settled else record


def _age(record: Record) -> tuple[float, str]:
    """Sort key: oldest first, the id deciding between equal times."""
    return record.accepted_at, record.id
