"""SQLite files as older schema versions wrote them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
from tests.stores.kit import DONE, key

_TABLES = """
CREATE TABLE log (
    id INTEGER PRIMARY KEY,
    stream_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    node TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    created_at REAL NOT NULL,
    keeps_content INTEGER NOT NULL,
    segment_floor INTEGER NOT NULL,
    is_cancel_requested INTEGER NOT NULL DEFAULT 0,
    ended_at REAL,
    entries INTEGER,
    tail INTEGER,
    bytes INTEGER,
    has_content INTEGER,
    "end" BLOB
);
CREATE INDEX log_open ON log (node) WHERE ended_at IS NULL;
CREATE INDEX log_ended ON log (ended_at, bytes) WHERE ended_at IS NOT NULL;
CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    prev INTEGER NOT NULL,{added}
    data BLOB NOT NULL
);
CREATE TABLE garbage (tail INTEGER PRIMARY KEY);
CREATE TABLE node (name TEXT PRIMARY KEY, lease_until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE record (
    id TEXT PRIMARY KEY,
    stream_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    is_ended INTEGER NOT NULL,
    state TEXT NOT NULL,
    model TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX record_stream ON record (stream_id);
CREATE INDEX record_owner ON record (owner, accepted_at, id);
CREATE INDEX record_age ON record (accepted_at);
PRAGMA user_version = {version};
"""

_ADDED = {1: "", 2: "\n    taken_at REAL,", 3: "\n    taken_at REAL,\n    tokens INTEGER,"}
"""Columns of ``segment`` that came with a version."""

_USAGE_AND_KEYS = """
CREATE TABLE usage (
    request_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    engine TEXT NOT NULL,
    state TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    day TEXT NOT NULL,
    tags TEXT,
    generated_tokens INTEGER NOT NULL,
    delivered_tokens INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    nano_usd INTEGER,
    is_reported INTEGER NOT NULL,
    rule TEXT,
    is_settled INTEGER NOT NULL
);
CREATE INDEX usage_age ON usage (accepted_at);
CREATE INDEX usage_owner ON usage (owner, accepted_at);
CREATE TABLE client_key (
    id TEXT PRIMARY KEY,
    change INTEGER NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    body BLOB NOT NULL
);
"""

OLD_KEY = key("old")
"""A client key, which a file of version 3 holds."""


def write_old(path: Path, version: int, logs: dict[str, Sequence[bytes]], *, ended: Sequence[str]) -> None:
    """Make such a file with these logs, one segment an entry; those in ``ended`` are sealed, at 200.0.

    Versions 2 and 3 note when segments were taken: at 100.5. Version 3 notes their tokens too, one an entry, and holds
    ``OLD_KEY``.
    """
    segment_sql = "INSERT INTO segment (id, log, first, count, prev, data) VALUES (?,?,?,?,?,?)"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_TABLES.format(version=version, added=_ADDED[version]))
        segment_id = 1
        for key, (name, lines) in enumerate(logs.items(), 1):
            log = (key, name, "ann", "node-a", 1, 100.0, True, segment_id)
            connection.execute(
                "INSERT INTO log (id, stream_id, owner, node, epoch, created_at, keeps_content, segment_floor)"
                " VALUES (?,?,?,?,?,?,?,?)",
                log,
            )
            connection.execute("INSERT INTO record VALUES (?,?,?,?,?,?,?,?)", _record(name, is_ended=name in ended))
            tail = 0
            for first, line in enumerate(lines):
                connection.execute(segment_sql, (segment_id, key, first, 1, tail, line))
                tail = segment_id
                segment_id += 1
            if name in ended:
                size = sum(len(line) for line in lines)
                seal = (200.0, len(lines), tail, size, True, msgspec.json.encode(DONE), key)
                connection.execute(
                    "UPDATE log SET ended_at = ?, entries = ?, tail = ?, bytes = ?, has_content = ?,"
                    ' "end" = ? WHERE id = ?',
                    seal,
                )
        if version >= 2:
            connection.execute("UPDATE segment SET taken_at = 100.5")
        if version >= 3:
            connection.execute("UPDATE segment SET tokens = first + 1")
            connection.executescript(_USAGE_AND_KEYS)
            row = (OLD_KEY.id, 1, OLD_KEY.created_at, msgspec.json.encode(OLD_KEY))
            connection.execute("INSERT INTO client_key VALUES (?,?,?,?)", row)


def _record(stream: str, *, is_ended: bool) -> tuple[object, ...]:
    """Return a row of the record table, named ``r-`` and the stream; its body knows no bill."""
    state = "completed" if is_ended else "in_progress"
    facts = {"id": f"r-{stream}", "stream_id": stream, "owner": "ann", "accepted_at": 100.0, "state": state}
    body = {**facts, "model": "m", "engine": "e", "completion_tokens": 3}
    return (*list(facts.values())[:4], is_ended, state, "m", msgspec.json.encode(body))
