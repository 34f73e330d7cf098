"""Client keys in a SQLite file. The columns are what queries ask for; the key itself is JSON."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from headrace.errors import StoreError
from headrace.stores.limits import MAX_KEYS
from headrace.stores.sqlite.part import DatabasePart
from headrace.stores.sqlite.reader import Reader
from headrace.stores.sqlite.writer import Writer
from headrace.types.access import ClientKey
from headrace.types.ids import KeyId

_NEXT_CHANGE = "(SELECT 1 + coalesce(max(change), 0) FROM client_key)"

_decode = msgspec.json.Decoder(ClientKey).decode
_encode = msgspec.json.Encoder().encode


class SqliteKeys(DatabasePart):
    """The keys in a ``SqliteDatabase``; entering them enters the database.

    Every change of a key gets a number one above the last one's, in the transaction that makes it, so the largest is a
    version which all processes see. Keys are never removed, so it never goes back.
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

    async def version(self) -> int:
        """Return the number of the last change: one look into an index, on a thread that runs no long query."""
        return await self._reader.run(_version)

    async def all(self) -> list[ClientKey]:
        return await self._reader.run(_all)

    async def insert(self, key: ClientKey) -> None:
        refusal = await self._writer.submit(partial(_insert, key=key))
        if refusal is not None:
            raise StoreError(refusal)

    async def change(self, key_id: KeyId, change: Callable[[ClientKey], ClientKey]) -> ClientKey | None:
        """Replace a key in one transaction of the writer, on its thread.

        ``change`` is called once more when the transaction had to be undone for another's fault; what it made last
        counts. Cancelling the call does not take it back.
        """
        outcome = await self._writer.submit(partial(_change, key_id=key_id, change=change))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("SELECT coalesce(max(change), 0) FROM client_key").fetchone()[0]
    return version


def _all(connection: sqlite3.Connection) -> list[ClientKey]:
    return [_decode(body) for (body,) in connection.execute("SELECT body FROM client_key ORDER BY created_at, id")]


def _insert(connection: sqlite3.Connection, key: ClientKey) -> str | None:
    """Add a key, and return why not if it cannot be."""
    (count,) = connection.execute("SELECT count(*) FROM client_key").fetchone()
    if count >= MAX_KEYS:
        return f"there are {count} keys already, as many as a store takes"
    sql = f"INSERT INTO client_key VALUES (?, {_NEXT_CHANGE}, ?, ?) ON CONFLICT (id) DO NOTHING"  # noqa: S608 (constant)
    if connection.execute(sql, (key.id, key.created_at, _encode(key))).rowcount == 0:
        return f"there is a key {key.id} already"
    return None


def _change(
    connection: sqlite3.Connection, key_id: KeyId, change: Callable[[ClientKey], ClientKey]
) -> ClientKey | Exception | None:
    row = connection.execute("SELECT body FROM client_key WHERE id = ?", (key_id,)).fetchone()
    if row is None:
        return None
    try:
        changed = change(_decode(row[0]))
    except Exception as error:  # noqa: BLE001 (the caller's own code: raised again where it called, the writer lives on)
        return error
    sql = f"UPDATE client_key SET change = {_NEXT_CHANGE}, body = ? WHERE id = ?"  # noqa: S608 (constant)
    connection.execute(sql, (_encode(changed), key_id))
    return changed
