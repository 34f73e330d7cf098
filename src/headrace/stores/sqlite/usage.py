"""The usage table. Rows are written with records, in the same transactions; sums are SQLite's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.stores.sqlite.rows import RowStatement
from headrace.stores.usage import (
    GROUPINGS,
    TAG_GROUPING,
    Amounts,
    UsageRow,
    amounts_of,
    last_of_each,
    line_of,
    row_of,
    with_amounts,
)
from headrace.stream.store import Settlement, Spent, UsageFilter, UsageLine
from headrace.types.record import Record

_encode = msgspec.json.Encoder().encode

_AMOUNTS = Amounts.__struct_fields__
_FACTS = tuple(name for name in UsageRow.__struct_fields__ if name not in {"amounts", "is_settled"})
_COLUMNS = (*_FACTS, *_AMOUNTS, "is_settled")

_ENTRIES = RowStatement(
    f"INSERT INTO usage ({', '.join(_COLUMNS)}) VALUES",
    len(_COLUMNS),
    f"ON CONFLICT (request_id) DO UPDATE SET {', '.join([f'{name} = excluded.{name}' for name in _COLUMNS[1:]])}"
    " WHERE NOT usage.is_settled",
)
_CORRECTED = ", ".join([f"{name} = column{number}" for number, name in enumerate(_AMOUNTS, 2)])
_SETTLED_ROWS = RowStatement(
    f"UPDATE usage SET is_settled = 1, {_CORRECTED} FROM (VALUES",  # noqa: S608 (constants)
    1 + len(_AMOUNTS),
    ") WHERE usage.request_id = column1",
)
# Changed where it lies: reading records, to write them anew, would take a step for each (see ``rows``).
_SETTLED_RECORDS = RowStatement(
    "UPDATE record SET body = CAST(json_set(CAST(body AS TEXT), '$.generated_tokens', column2, '$.delivered_tokens',"
    " column3, '$.bill', json(column4)) AS BLOB) FROM (VALUES",
    4,
    ") WHERE record.id = column1",
)

_BILLED = ("prompt_tokens", "cached_tokens", "completion_tokens", "nano_usd")
_SUMS = ", ".join(
    [
        "coalesce(sum(generated_tokens), 0), coalesce(sum(delivered_tokens), 0), count(*) - count(nano_usd)",
        "count(*) FILTER (WHERE is_reported)",
        *[f"coalesce(sum({name}) FILTER (WHERE is_reported), 0)" for name in _BILLED],
        "count(*) FILTER (WHERE NOT is_reported)",
        *[f"coalesce(sum({name}) FILTER (WHERE NOT is_reported), 0)" for name in _BILLED],
    ]
)
"""In the order of ``line_of``."""


def enter(connection: sqlite3.Connection, records: Sequence[Record]) -> Sequence[Record]:
    """Enter what records cost, those that say so, and return them as they are to be kept: with bills that were settled."""
    values: list[Any] = []
    entered = 0
    for record in records:
        if record.bill is not None:
            values += _values(row_of(record, record.bill))
            entered += 1
    if _ENTRIES.run(connection, values) == entered:
        return records
    return [record if record.bill is None else _with_settlement(connection, record) for record in records]


def settle(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> None:
    """Correct what requests cost, in their rows and their records, where these are."""
    rows: list[Any] = []
    bodies: list[Any] = []
    for settlement in last_of_each(settlements):
        amounts = amounts_of(settlement.generated_tokens, settlement.delivered_tokens, settlement.bill)
        rows += (settlement.request_id, *msgspec.structs.astuple(amounts))
        bodies += (settlement.request_id, amounts.generated_tokens, amounts.delivered_tokens)
        bodies.append(_encode(amounts.bill).decode())
    _SETTLED_ROWS.run(connection, rows)
    _SETTLED_RECORDS.run(connection, bodies)


def lines(connection: sqlite3.Connection, query: UsageFilter, by: Sequence[str], limit: int) -> list[UsageLine]:
    """Return sums by group; see ``Records.usage``."""
    columns, values = [], []
    for name in by:
        if name in GROUPINGS:
            columns.append(GROUPINGS[name])
        else:
            columns.append("coalesce(json_extract(tags, ?), '')")
            values.append(_path(name.removeprefix(TAG_GROUPING)))
    where, filtered = _where(query)
    places = ", ".join([str(number) for number in range(1, len(by) + 1)])
    order = f"GROUP BY {places} ORDER BY {places}" if by else ""
    sql = f"SELECT {', '.join([*columns, _SUMS])} FROM usage WHERE {where} {order} LIMIT ?"  # noqa: S608 (constants)
    found = connection.execute(sql, (*values, *filtered, limit))
    made = [line_of(row[: len(by)], row[len(by) :]) for row in found]
    # Sums over nothing are a row too, when there are no groups.
    return [line for line in made if line.reported.requests + line.estimated.requests]


def spent(connection: sqlite3.Connection, since: float) -> list[Spent]:
    """Return money by owner, key and day."""
    # The plus keeps SQLite from walking the index of owners, over all times, for the sake of its order:
    # https://sqlite.org/optoverview.html#disqualifying_where_clause_terms_using_unary_
    sql = (
        "SELECT owner, key_id, day, coalesce(sum(nano_usd), 0) FROM usage WHERE accepted_at >= ?"
        " GROUP BY +owner, key_id, day"
    )
    return [Spent(*row) for row in connection.execute(sql, (since,))]


def trim(connection: sqlite3.Connection, accepted_before: float, most: int) -> int:
    """Drop some old rows, ``most`` at most, and return how many; 0 when there is none (left)."""
    sql = (
        "DELETE FROM usage WHERE rowid IN (SELECT rowid FROM usage WHERE accepted_at < ? ORDER BY accepted_at LIMIT ?)"
    )
    return connection.execute(sql, (accepted_before, most)).rowcount


def _values(row: UsageRow) -> tuple[Any, ...]:
    """Return the values of a row in the order of ``_COLUMNS``."""
    facts: list[Any] = [getattr(row, name) for name in _FACTS]
    facts[-1] = _encode(row.tags).decode() if row.tags else None
    return (*facts, *msgspec.structs.astuple(row.amounts), row.is_settled)


def _with_settlement(connection: sqlite3.Connection, record: Record) -> Record:
    """Return a record with what a settlement said of it, if there was one."""
    sql = f"SELECT {', '.join(_AMOUNTS)} FROM usage WHERE request_id = ? AND is_settled"  # noqa: S608 (constants)
    row = connection.execute(sql, (record.id,)).fetchone()
    return record if row is None else with_amounts(record, Amounts(*row))


def _where(query: UsageFilter) -> tuple[str, list[Any]]:
    """Return the condition of a filter and its values."""
    where = "accepted_at >= ? AND accepted_at < ?"
    values: list[Any] = [query.since, query.until]
    for column, value in (("owner", query.owner), ("key_id", query.key_id), ("model", query.model)):
        if value is not None:
            where += f" AND {column} = ?"
            values.append(value)
    if query.tag is not None:
        name, value = query.tag
        where += " AND json_extract(tags, ?) = ?"
        values += [_path(name), value]
    return where, values


def _path(tag: str) -> str:
    """Return where a tag's value is in JSON. Quoted, since names may hold dots; they hold no quotes."""
    return f'$."{tag}"'
