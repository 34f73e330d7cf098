"""Records in a SQLite file, and what each cost. The columns are what queries ask for; the record itself is JSON."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from headrace.stores.sqlite import usage
from headrace.stores.sqlite.part import DatabasePart
from headrace.stores.sqlite.reader import Reader
from headrace.stores.sqlite.rows import RowStatement
from headrace.stores.sqlite.writer import Lane, Writer
from headrace.stores.usage import check_groupings
from headrace.stream.store import RecordPage, Settlement, Spent, UsageFilter, UsageLine
from headrace.types.ids import RequestId, StreamId
from headrace.types.outcome import State
from headrace.types.record import Perceived, Record

TRIM_RECORDS = 500
"""How many records, or rows of usage, one transaction drops at most when it trims."""

_ON_LOG = "stream_id = ?1 OR log_id = ?1"
_OF_STREAM = f"SELECT body FROM record WHERE {_ON_LOG} ORDER BY accepted_at, id"  # noqa: S608 (constant)
_FORGET = f"DELETE FROM record WHERE {_ON_LOG}"  # noqa: S608 (constant)
_OWN = "SELECT body FROM record WHERE stream_id = ? ORDER BY accepted_at, id LIMIT 1"
_SAVES = RowStatement(
    "INSERT OR REPLACE INTO record (id, stream_id, log_id, owner, accepted_at, is_ended, state, model, body) VALUES", 9
)

_decode = msgspec.json.Decoder(Record).decode
_encode = msgspec.json.Encoder().encode


class SqliteRecords(DatabasePart):
    """The record store of a ``SqliteDatabase``; entering it enters the database."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        usage_reader: Reader,
        *,
        enter: Callable[[], Awaitable[object]],
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(enter=enter, leave=leave)
        self._writer = writer
        self._reader = reader
        self._usage_reader = usage_reader
        self._lane = Lane()

    def save(self, records: Sequence[Record]) -> asyncio.Future[None]:
        return self._writer.submit(partial(_save, records=tuple(records)), lane=self._lane)

    def settle(self, settlements: Sequence[Settlement]) -> asyncio.Future[None]:
        return self._writer.submit(partial(usage.settle, settlements=tuple(settlements)), lane=self._lane)

    async def usage(self, query: UsageFilter, *, by: Sequence[str], limit: int) -> list[UsageLine]:
        check_groupings(by)
        return await self._usage_reader.run(partial(usage.lines, query=query, by=by, limit=limit))

    async def spent(self, *, since: float) -> list[Spent]:
        return await self._usage_reader.run(partial(usage.spent, since=since))

    async def trim_usage(self, *, accepted_before: float) -> int:
        """Drop rows in several short transactions, so that commits in between need not wait."""
        total = 0
        while dropped := await self._writer.submit(
            partial(usage.trim, accepted_before=accepted_before, most=TRIM_RECORDS)
        ):
            total += dropped
        return total

    async def get(self, request_id: RequestId) -> Record | None:
        found = await self._select("SELECT body FROM record WHERE id = ?", request_id)
        return found[0] if found else None

    async def own(self, stream_id: StreamId) -> Record | None:
        found = await self._select(_OWN, stream_id)
        return found[0] if found else None

    async def of_stream(self, stream_id: StreamId) -> list[Record]:
        return await self._select(_OF_STREAM, stream_id)

    async def newest(
        self, *, owner: str | None, state: State | None = None, limit: int = 20, before: RequestId | None = None
    ) -> RecordPage:
        whose, values = ("TRUE", []) if owner is None else ("owner = ?", [owner])
        sql = f"SELECT body FROM record WHERE {whose}"  # noqa: S608 (constants)
        if before is not None:
            sql += f" AND (accepted_at, id) < (SELECT accepted_at, id FROM record WHERE id = ? AND {whose})"  # noqa: S608
            values = [*values, before, *values]
        if state is not None:
            sql += " AND state = ?"
            values.append(state.value)
        sql += " ORDER BY accepted_at DESC, id DESC LIMIT ?"
        found = await self._select(sql, *values, limit + 1)
        return RecordPage(found[:limit], has_more=len(found) > limit)

    async def add_perceived(self, stream_id: StreamId, perceived: Perceived) -> Record | None:
        return await self._writer.submit(partial(_add_perceived, stream_id=stream_id, perceived=perceived))

    async def forget(self, stream_id: StreamId) -> bool:
        return await self._writer.submit(lambda connection: connection.execute(_FORGET, (stream_id,)).rowcount > 0)

    async def trim(self, *, accepted_before: float) -> int:
        """Drop records in several short transactions, so that commits in between need not wait."""
        sql = (
            "DELETE FROM record WHERE rowid IN"
            " (SELECT rowid FROM record WHERE accepted_at < ? AND is_ended ORDER BY accepted_at LIMIT ?)"
        )
        total = 0
        while dropped := await self._writer.submit(
            lambda connection: connection.execute(sql, (accepted_before, TRIM_RECORDS)).rowcount
        ):
            total += dropped
        return total

    async def _select(self, sql: str, *values: Any) -> list[Record]:
        """Return the records whose bodies ``sql`` finds; decoded on the reader's thread."""
        return await self._reader.run(lambda connection: [_decode(body) for (body,) in connection.execute(sql, values)])


def _save(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    if any(record.bill is not None for record in records):
        records = usage.enter(connection, records)
    _replace(connection, records)


def _replace(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    values: list[Any] = []
    for record in records:
        values += (record.id, record.stream_id, record.log_id, record.owner, record.accepted_at)
        values += (record.state.is_terminal, record.state.value, record.model, _encode(record))
    _SAVES.run(connection, values)


def _add_perceived(connection: sqlite3.Connection, stream_id: StreamId, perceived: Perceived) -> Record | None:
    row = connection.execute(_OWN, (stream_id,)).fetchone()
    if row is None:
        return None
    record = _decode(row[0])
    if record.state.is_terminal and record.perceived is None:
        _replace(connection, [msgspec.structs.replace(record, perceived=perceived)])
    return record
