"""The log tables as the writer sees them.

What every append needs (next offset, last segment, epoch) is kept in memory for open logs, so an append reads nothing.
Changes made in a transaction are staged beside it and join it only after the commit; a rollback drops them. So the
memory never says more than the file does, and other threads may look at it.

Another process may write to the file (a command beside the serving one). SQLite's ``data_version`` tells, and what
memory holds is then checked against the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from headrace.stores.sqlite.rows import RowStatement
from headrace.stream.store import Append, Batch, Lease, Opening, OpenLog, Seal
from headrace.types.ids import Offset, StreamId

_encode = msgspec.json.Encoder().encode

SWEEP_SEGMENTS = 2048
"""Width of the window of segment ids that one clean-up transaction looks at: some milliseconds of work."""
TRIM_LOGS = 256
"""How many logs one transaction of ``trim`` drops at most."""

_SEGMENTS = RowStatement("INSERT INTO segment (id, log, first, count, prev, taken_at, tokens, data) VALUES", 8)
_OPENINGS = RowStatement(
    "INSERT INTO log (id, stream_id, owner, node, epoch, created_at, keeps_content, segment_floor) VALUES",
    8,
    "ON CONFLICT (stream_id) DO NOTHING",
)
_SEALS = RowStatement(
    "UPDATE log SET ended_at = column2, entries = column3, tail = column4, bytes = column5, has_content = column6,"
    ' "end" = column7 FROM (VALUES',
    7,
    ") WHERE log.id = column1",
)

# The part of unowned chains that lies in a window of ids. Segments of many logs share a page, so a window is swept
# for all chains at once: each of its pages is written once.
_DOOMED = """
WITH RECURSIVE doomed (id, prev) AS (
    SELECT segment.id, segment.prev FROM garbage JOIN segment ON segment.id = garbage.tail WHERE garbage.tail > :floor
    UNION ALL
    SELECT segment.id, segment.prev FROM doomed JOIN segment ON segment.id = doomed.prev WHERE doomed.prev > :floor
)
"""
_KEEP_REST = f"{_DOOMED} INSERT INTO garbage SELECT prev FROM doomed WHERE prev BETWEEN 1 AND :floor"  # noqa: S608 (constants)
_DELETE_DOOMED = f"{_DOOMED} DELETE FROM segment WHERE id IN (SELECT id FROM doomed)"  # noqa: S608 (constants)


class LiveLog(msgspec.Struct, frozen=True, gc=False):
    """What memory holds of an open log."""

    key: int
    """``log.id``"""
    epoch: int
    next: Offset
    tail: int
    """Last segment, 0 for none."""
    bytes: int
    keeps_content: bool


class LogTables:
    """Applies batches and the like inside the writer's transactions; see ``writer.WriteState``.

    Args:
        on_swept: Called on the writer's thread when no unowned text is left in the tables.
    """

    def __init__(self, on_swept: Callable[[], None]) -> None:
        self._on_swept = on_swept
        self._data_version: int | None = None
        self._live: dict[StreamId, LiveLog] = {}
        self._staged: dict[StreamId, LiveLog | None] = {}
        """Changed in this transaction; None: no longer open."""
        self._next_key = 1
        self._next_segment = 1
        self._sealed_bytes: int | None = None
        """Entries of all sealed logs; None until ``trim`` needs it."""
        self._has_garbage = False
        self._had_garbage = False

    def live(self, stream_id: StreamId) -> LiveLog | None:
        """Return the committed state of an open log that this process writes. From any thread."""
        return self._live.get(stream_id)

    # The course of a transaction

    @property
    def has_chore(self) -> bool:
        return self._has_garbage

    def begin(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self._catch_up(connection)
            self._data_version = version
        self._had_garbage = self._has_garbage

    def committed(self) -> None:
        live = self._live
        for stream_id, log in self._staged.items():
            if log is None:
                live.pop(stream_id, None)
            else:
                live[stream_id] = log
        self._staged.clear()
        if self._had_garbage and not self._has_garbage:
            self._on_swept()

    def rolled_back(self) -> None:
        self._staged.clear()
        self._data_version = None  # catch up before the next transaction

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        """Make memory agree with the file. Ids never go back, so that a reader's idea of a chain stays right."""
        self._next_key = max(self._next_key, 1 + (_one(connection, "SELECT max(id) FROM log") or 0))
        self._next_segment = max(self._next_segment, 1 + (_one(connection, "SELECT max(id) FROM segment") or 0))
        self._has_garbage = _one(connection, "SELECT EXISTS (SELECT 1 FROM garbage)") == 1
        self._sealed_bytes = None
        if self._live:
            open_logs = set(connection.execute("SELECT id, epoch FROM log WHERE ended_at IS NULL"))
            kept = {name: log for name, log in self._live.items() if (log.key, log.epoch) in open_logs}
            self._live = kept

    # Jobs

    def apply(self, connection: sqlite3.Connection, batch: Batch) -> None:
        """Make the changes of one batch."""
        if batch.openings:
            self._open(connection, batch.openings)
        if batch.appends:
            self._append(connection, batch.appends)
        if batch.seals:
            self._seal(connection, batch.seals)

    def claim(self, connection: sqlite3.Connection, node: str, lease_s: float, now: float) -> list[OpenLog]:
        """Take over the open logs of ``node`` and of nodes whose lease ran out at ``now``."""
        names: list[StreamId] = [
            name
            for (name,) in connection.execute(
                "SELECT stream_id FROM log LEFT JOIN node ON node.name = log.node WHERE ended_at IS NULL"
                " AND (log.node = :node OR coalesce(lease_until, :now) <= :now) ORDER BY log.id",
                {"node": node, "now": now},
            )
        ]
        self._load(connection, [name for name in names if self._known(name) is None])
        claimed = []
        for name in names:
            log = self._known(name)
            assert log is not None  # noqa: S101 (just loaded)
            log = msgspec.structs.replace(log, epoch=log.epoch + 1)
            self._staged[name] = log
            connection.execute("UPDATE log SET node = ?, epoch = ? WHERE id = ?", (node, log.epoch, log.key))
            claimed.append(OpenLog(stream_id=name, epoch=log.epoch, entries=log.next, tokens=_tokens(connection, log)))
        self.renew(connection, node, lease_s, now)
        return claimed

    def renew(self, connection: sqlite3.Connection, node: str, lease_s: float, now: float) -> None:
        """Prolong a node's lease, which covers all its logs."""
        connection.execute("INSERT OR REPLACE INTO node VALUES (?, ?)", (node, now + lease_s))

    def request_cancel(self, connection: sqlite3.Connection, stream_id: StreamId) -> bool:
        """Mark an open log."""
        sql = "UPDATE log SET is_cancel_requested = 1 WHERE stream_id = ? AND ended_at IS NULL"
        return connection.execute(sql, (stream_id,)).rowcount > 0

    def erase(self, connection: sqlite3.Connection, stream_id: StreamId) -> bool:
        """Remove a log; its segments are swept right afterwards."""
        sql = "SELECT id, tail, bytes, ended_at FROM log WHERE stream_id = ?"
        row = connection.execute(sql, (stream_id,)).fetchone()
        if row is None:
            return False
        key, tail, size, ended_at = row
        if ended_at is None:
            live = self._known(stream_id) or self._load(connection, [stream_id])[0]
            tail, size = live.tail, 0
        self._staged[stream_id] = None
        self._drop(connection, key, tail, size)
        return True

    def trim(self, connection: sqlite3.Connection, ended_before: float, max_bytes: int) -> int:
        """Drop some of the oldest sealed logs that are too old or too much; 0 when there is none (left)."""
        open_logs = {**self._live, **self._staged}.values()
        excess = self._total_of_sealed(connection) + sum(log.bytes for log in open_logs if log is not None) - max_bytes
        oldest = connection.execute(
            "SELECT id, tail, bytes, ended_at FROM log WHERE ended_at IS NOT NULL ORDER BY ended_at LIMIT ?",
            (TRIM_LOGS,),
        ).fetchall()
        dropped = 0
        for key, tail, size, ended_at in oldest:
            if ended_at >= ended_before and excess <= 0:
                break
            self._drop(connection, key, tail, size)
            excess -= size
            dropped += 1
        return dropped

    def chore(self, connection: sqlite3.Connection) -> int:
        """Delete some segments that no log owns any more."""
        newest = _one(connection, "SELECT max(tail) FROM garbage")
        if newest is None:
            self._has_garbage = False
            return 0
        window = {"floor": max(newest - SWEEP_SEGMENTS, 0)}
        connection.execute(_KEEP_REST, window)
        deleted = connection.execute(_DELETE_DOOMED, window)
        connection.execute("DELETE FROM garbage WHERE tail > :floor", window)
        return deleted.rowcount * 1024

    # Parts

    def _open(self, connection: sqlite3.Connection, openings: list[Opening]) -> None:
        first_key = self._next_key
        values: list[Any] = []
        for key, opening in enumerate(openings, first_key):
            lease = opening.lease
            values += (key, lease.stream_id, opening.owner, lease.node, lease.epoch, opening.created_at)
            values += (opening.keeps_content, self._next_segment)
        self._next_key += len(openings)
        inserted = set(range(first_key, self._next_key))
        if _OPENINGS.run(connection, values) < len(openings):  # some id is taken
            inserted = {key for (key,) in connection.execute("SELECT id FROM log WHERE id >= ?", (first_key,))}
        for key, opening in enumerate(openings, first_key):
            if key in inserted:
                log = LiveLog(key, opening.lease.epoch, Offset(0), 0, 0, opening.keeps_content)
                self._staged[opening.lease.stream_id] = log

    def _append(self, connection: sqlite3.Connection, appends: list[Append]) -> None:
        """Insert the segments. The hot path: a thousand of them twenty times a second."""
        live, staged = self._live, self._staged
        segment_id = self._next_segment
        values: list[Any] = []
        for append in appends:
            stream_id = append.lease.stream_id
            segment = append.segment
            first, count, data = segment.first, segment.count, segment.data
            log = staged[stream_id] if stream_id in staged else live.get(stream_id)
            if log is None:
                log = self._held(connection, append.lease)
            if log is None or log.epoch != append.lease.epoch or log.next != first:
                continue
            values += (segment_id, log.key, first, count, log.tail, segment.taken_at, segment.tokens, data)
            staged[stream_id] = LiveLog(
                log.key, log.epoch, Offset(first + count), segment_id, log.bytes + len(data), log.keeps_content
            )
            segment_id += 1
        self._next_segment = segment_id
        _SEGMENTS.run(connection, values)

    def _seal(self, connection: sqlite3.Connection, seals: list[Seal]) -> None:
        values: list[Any] = []
        sealed_bytes = 0
        for seal in seals:
            log = self._held(connection, seal.lease)
            if log is None:
                continue
            size, tail = (log.bytes, log.tail) if log.keeps_content else (0, 0)
            values += (log.key, seal.ended_at, seal.entries, tail, size, log.keeps_content, _encode(seal.end))
            self._staged[seal.lease.stream_id] = None
            sealed_bytes += size
            if not log.keeps_content:
                self._discard(connection, log.tail)
        _SEALS.run(connection, values)
        if self._sealed_bytes is not None:
            self._sealed_bytes += sealed_bytes

    def _known(self, stream_id: StreamId) -> LiveLog | None:
        """Return the state of an open log as of this transaction, if memory has it."""
        if stream_id in self._staged:
            return self._staged[stream_id]
        return self._live.get(stream_id)

    def _held(self, connection: sqlite3.Connection, lease: Lease) -> LiveLog | None:
        """Return the open log that ``lease`` still gives the right to write to."""
        log = self._known(lease.stream_id)
        if log is None and lease.stream_id not in self._staged:
            log = next(iter(self._load(connection, [lease.stream_id])), None)
        return log if log is not None and log.epoch == lease.epoch else None

    def _load(self, connection: sqlite3.Connection, names: Iterable[StreamId]) -> list[LiveLog]:
        """Stage and return those of the named logs that are open, finding their tails with one scan for all."""
        sql = (
            "SELECT stream_id, id, epoch, keeps_content, segment_floor FROM log"
            " WHERE stream_id = ? AND ended_at IS NULL"
        )
        rows = [row for name in names for row in connection.execute(sql, (name,))]
        if not rows:
            return []
        tails = {key: (0, 0, 0) for _, key, *_ in rows}
        scan = "SELECT log, id, first + count, length(data) FROM segment WHERE id >= ? ORDER BY id"
        for key, segment_id, after, size in connection.execute(scan, (min(row[4] for row in rows),)):
            if key in tails:
                tails[key] = (segment_id, after, tails[key][2] + size)
        loaded = []
        for name, key, epoch, keeps_content, _ in rows:
            tail, after, size = tails[key]
            log = LiveLog(key, epoch, Offset(after), tail, size, bool(keeps_content))
            self._staged[name] = log
            loaded.append(log)
        return loaded

    def _drop(self, connection: sqlite3.Connection, key: int, tail: int, size: int) -> None:
        connection.execute("DELETE FROM log WHERE id = ?", (key,))
        if self._sealed_bytes is not None:
            self._sealed_bytes -= size
        self._discard(connection, tail)

    def _discard(self, connection: sqlite3.Connection, tail: int) -> None:
        """Leave a chain of segments to be swept. However long, this takes no time; the sweep survives a crash."""
        if tail:
            connection.execute("INSERT INTO garbage VALUES (?)", (tail,))
            self._has_garbage = True

    def _total_of_sealed(self, connection: sqlite3.Connection) -> int:
        if self._sealed_bytes is None:
            self._sealed_bytes = _one(connection, "SELECT sum(bytes) FROM log WHERE ended_at IS NOT NULL") or 0
        return self._sealed_bytes


def _tokens(connection: sqlite3.Connection, log: LiveLog) -> int:
    """Return the tokens of an open log, 0 when they are not known."""
    row = connection.execute("SELECT tokens FROM segment WHERE id = ?", (log.tail,)).fetchone()
    return 0 if row is None else row[0] or 0


def _one(connection: sqlite3.Connection, sql: str) -> int | None:
    value: int | None = connection.execute(sql).fetchone()[0]
    return value
