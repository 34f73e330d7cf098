"""Claims in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial

from headrace.errors import StoreError
from headrace.stores.limits import MAX_CLAIMS, too_many_claims
from headrace.stores.sqlite.part import DatabasePart
from headrace.stores.sqlite.reader import Reader
from headrace.stores.sqlite.writer import Writer
from headrace.stream.store import Claim
from headrace.types.ids import StreamId

TRIM_CLAIMS = 500
"""How many claims one transaction drops at most when it trims."""

_COLUMNS = ", ".join(Claim.__struct_fields__)
_FIND = f"SELECT {_COLUMNS} FROM claim WHERE owner = ? AND key = ?"  # noqa: S608 (constants)
_PUT = (
    f"INSERT INTO claim ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (owner, key) DO UPDATE SET"  # noqa: S608
    " fingerprint = excluded.fingerprint, log_id = excluded.log_id, claimed_at = excluded.claimed_at"
)


class SqliteClaims(DatabasePart):
    """The claims in a ``SqliteDatabase``; entering them enters the database.

    Another process may claim too: a claim is one transaction, and only one process writes at a time.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        enter: Callable[[], Awaitable[object]],
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(enter=enter, leave=leave)
        self._writer = writer
        self._reader = reader

    async def claim(self, claim: Claim, *, instead_of: StreamId | None = None) -> Claim:
        holder = await self._writer.submit(partial(_claim, claim=claim, instead_of=instead_of))
        if holder is None:
            raise StoreError(too_many_claims(MAX_CLAIMS))
        return holder

    async def find(self, owner: str, key: str) -> Claim | None:
        return await self._reader.run(partial(_find, owner=owner, key=key))

    async def forget(self, log_id: StreamId) -> None:
        sql = "DELETE FROM claim WHERE log_id = ?"
        await self._writer.submit(lambda connection: connection.execute(sql, (log_id,)).rowcount)

    async def trim(self, *, claimed_before: float) -> int:
        """Drop claims in several short transactions, so that commits in between need not wait."""
        sql = (
            "DELETE FROM claim WHERE rowid IN"
            " (SELECT rowid FROM claim WHERE claimed_at < ? ORDER BY claimed_at LIMIT ?)"
        )
        total = 0
        while dropped := await self._writer.submit(
            lambda connection: connection.execute(sql, (claimed_before, TRIM_CLAIMS)).rowcount
        ):
            total += dropped
        return total


def _find(connection: sqlite3.Connection, owner: str, key: str) -> Claim | None:
    row = connection.execute(_FIND, (owner, key)).fetchone()
    return None if row is None else Claim(*row)


def _claim(connection: sqlite3.Connection, claim: Claim, instead_of: StreamId | None) -> Claim | None:
    """Return who holds the key now; None when nobody does and there is no room for a claim."""
    held = _find(connection, claim.owner, claim.key)
    if held is not None and held.log_id != instead_of:
        return held
    if held is None:
        (count,) = connection.execute("SELECT entries FROM tally WHERE name = 'claim'").fetchone()
        if count >= MAX_CLAIMS:
            return None
    connection.execute(_PUT, (claim.owner, claim.key, claim.fingerprint, claim.log_id, claim.claimed_at))
    return claim
