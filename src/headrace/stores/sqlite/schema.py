"""The file: its tables, its version and how a connection to it is set up.

Entries lie in ``segment``, which is only ever appended to. It has no index on the log: each row points to the previous
segment of its log (``prev``, 0 for none), and ``log.tail`` to the last one. An index would be written in random order
and cost 2.6 times the bytes. ``log.segment_floor`` says where to start looking for the tail of an open log.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from headrace.errors import StoreError
from headrace.stores.sqlite.faults import store_error

SCHEMA_VERSION = 4
PAGE_BYTES = 4096
WRITE_LOCK_WAIT_S = 5.0
"""How long a write waits for a command of another process that is writing."""

_USAGE_AND_KEYS = """
CREATE TABLE usage (
    request_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    engine TEXT NOT NULL,
    state TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    day TEXT NOT NULL,                -- of UTC
    tags TEXT,                        -- a JSON object; null: none
    generated_tokens INTEGER NOT NULL,
    delivered_tokens INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,   -- this and what follows: the bill
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    nano_usd INTEGER,                 -- null: no price was known
    is_reported INTEGER NOT NULL,
    rule TEXT,
    is_settled INTEGER NOT NULL
);
CREATE INDEX usage_age ON usage (accepted_at);
CREATE INDEX usage_owner ON usage (owner, accepted_at);
CREATE TABLE client_key (
    id TEXT PRIMARY KEY,
    change INTEGER NOT NULL UNIQUE,   -- number of the last change of this key among all changes of keys: the largest
                                      -- one tells whether another process made one
    created_at REAL NOT NULL,
    body BLOB NOT NULL                -- the whole key as JSON
);
"""
"""What came with version 3."""

_CLAIMS_AND_CACHE = """
CREATE TABLE claim (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    log_id TEXT NOT NULL,
    claimed_at REAL NOT NULL,
    UNIQUE (owner, key)
);
CREATE INDEX claim_log ON claim (log_id);
CREATE INDEX claim_age ON claim (claimed_at);
CREATE TABLE cache_entry (
    key TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    log_id TEXT NOT NULL,
    bytes INTEGER NOT NULL,           -- of the log
    stored_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX cache_entry_log ON cache_entry (log_id);
CREATE INDEX cache_entry_age ON cache_entry (stored_at);
CREATE TABLE tally (
    name TEXT PRIMARY KEY,            -- of a table that is bounded
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL            -- that its rows tell of, 0 when they tell of none
) WITHOUT ROWID;
INSERT INTO tally VALUES ('claim', 0, 0), ('cache_entry', 0, 0);
CREATE TRIGGER claim_added AFTER INSERT ON claim
    BEGIN UPDATE tally SET entries = entries + 1 WHERE name = 'claim'; END;
CREATE TRIGGER claim_dropped AFTER DELETE ON claim
    BEGIN UPDATE tally SET entries = entries - 1 WHERE name = 'claim'; END;
CREATE TRIGGER cache_entry_added AFTER INSERT ON cache_entry
    BEGIN UPDATE tally SET entries = entries + 1, bytes = bytes + new.bytes WHERE name = 'cache_entry'; END;
CREATE TRIGGER cache_entry_replaced AFTER UPDATE ON cache_entry
    BEGIN UPDATE tally SET bytes = bytes - old.bytes + new.bytes WHERE name = 'cache_entry'; END;
CREATE TRIGGER cache_entry_dropped AFTER DELETE ON cache_entry
    BEGIN UPDATE tally SET entries = entries - 1, bytes = bytes - old.bytes WHERE name = 'cache_entry'; END;
"""
"""What came with version 4. Counting the rows of a large table takes milliseconds, hence the tally. ``REPLACE`` fires no
trigger for the row that it drops (https://sqlite.org/lang_conflict.html): these tables take ``ON CONFLICT ... DO UPDATE``."""

_RECORD_LOG = "CREATE INDEX record_log ON record (log_id) WHERE log_id IS NOT NULL;"

_TABLES = f"""
CREATE TABLE log (
    id INTEGER PRIMARY KEY,
    stream_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    node TEXT NOT NULL,               -- who holds the lease; until when: node.lease_until
    epoch INTEGER NOT NULL,
    created_at REAL NOT NULL,
    keeps_content INTEGER NOT NULL,
    segment_floor INTEGER NOT NULL,   -- no segment of this log has a smaller id
    is_cancel_requested INTEGER NOT NULL DEFAULT 0,
    ended_at REAL,                    -- this and what follows: null while it is open
    entries INTEGER,
    tail INTEGER,                     -- last segment, 0 for none
    bytes INTEGER,                    -- of entries kept
    has_content INTEGER,
    "end" BLOB                        -- JSON
);
CREATE INDEX log_open ON log (node) WHERE ended_at IS NULL;
CREATE INDEX log_ended ON log (ended_at, bytes) WHERE ended_at IS NOT NULL;
CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    prev INTEGER NOT NULL,
    taken_at REAL,                    -- Unix seconds; null: written by version 1. Before data: what stands behind a
                                      -- blob can only be read by way of all its pages
    tokens INTEGER,                   -- of the log up to the end of this segment; null: not known, as in version 2
    data BLOB NOT NULL
);
CREATE TABLE garbage (
    tail INTEGER PRIMARY KEY          -- last segment of a chain that no log owns any more
);
CREATE TABLE node (
    name TEXT PRIMARY KEY,
    lease_until REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE record (
    id TEXT PRIMARY KEY,
    stream_id TEXT NOT NULL,
    log_id TEXT,                      -- another request's log that it refers to; null: its own
    owner TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    is_ended INTEGER NOT NULL,
    state TEXT NOT NULL,
    model TEXT NOT NULL,
    body BLOB NOT NULL                -- the whole record as JSON
);
CREATE INDEX record_stream ON record (stream_id);
CREATE INDEX record_owner ON record (owner, accepted_at, id);
CREATE INDEX record_age ON record (accepted_at);
{_RECORD_LOG}
{_USAGE_AND_KEYS}
{_CLAIMS_AND_CACHE}"""


_MIGRATIONS = {
    1: "ALTER TABLE segment ADD COLUMN taken_at REAL",
    2: f"ALTER TABLE segment ADD COLUMN tokens INTEGER;\n{_USAGE_AND_KEYS}",
    3: f"ALTER TABLE record ADD COLUMN log_id TEXT;\n{_RECORD_LOG}\n{_CLAIMS_AND_CACHE}",
}
"""What turns a file of one version into one of the next. Each takes the same time whatever logs the file holds; the third
reads the records once, for an index that is empty then (300,000 that no cache holds: 0.7 s). Columns are named in
all statements, since an added one stands last."""


def prepare(path: Path, *, exclusive: bool) -> None:
    """Make sure that the file exists and has this version's tables.

    Args:
        path: The database file. Created readable and writable by its owner alone; SQLite gives the files beside it
            (``-wal``, ``-shm``) the same mode.
        exclusive: Whether nobody else serves from the file: a missing one is then made, and one of an older version
            brought up to date, under which an older process could not go on. Otherwise both are refused.

    Raises:
        StoreError: The file is missing, cannot be opened, is no Headrace database, or is another version's.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if exclusive else 0), 0o600))
    except OSError as error:
        raise StoreError(f"cannot open the store {path}: {error.strerror}") from error
    try:
        with closing(_open(path)) as connection:
            _bring_up_to_date(connection, path, exclusive=exclusive)
    except sqlite3.Error as error:
        raise StoreError(f"cannot open the store {path}: {error}") from error


def _bring_up_to_date(connection: sqlite3.Connection, path: Path, *, exclusive: bool) -> None:
    version = _number(connection, "PRAGMA user_version")
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path} was written by a newer Headrace (schema {version}; this one knows {SCHEMA_VERSION})")
    if version == 0:
        _create_tables(connection, path)
    elif exclusive:
        _migrate(connection)
    else:
        raise StoreError(
            f"{path} was written by an older Headrace (schema {version}); `headrace serve` of this one brings it up to date"
        )


def _create_tables(connection: sqlite3.Connection, path: Path) -> None:
    if _number(connection, "SELECT count(*) FROM sqlite_schema"):
        raise StoreError(f"{path} is not a Headrace database")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    if _number(connection, "PRAGMA user_version") == 0:  # else another process made them just now
        _run(connection, _TABLES)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring an older file up to date, all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    for version in range(_number(connection, "PRAGMA user_version"), SCHEMA_VERSION):
        _run(connection, _MIGRATIONS[version])
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Run several statements in the transaction that has begun; ``executescript`` would commit it."""
    for statement in script.split(";\n"):
        connection.execute(statement)


def _number(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])


def connect_writer(path: Path) -> sqlite3.Connection:
    """Return a connection for the writer thread: commits never wait for the disk, checkpoints are left to others.

    Deleted text is overwritten with zeros, in free pages too (``secure_delete``; FAST would leave it there).
    """
    connection = _open(path)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that can only read.

    Raises:
        StoreError: It cannot be opened.
    """
    try:
        connection = _open(path)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise store_error(error) from error
    return connection


def connect_checkpointer(path: Path, *, wait_s: float) -> sqlite3.Connection:
    """Return a connection for checkpoints, which waits for others at most ``wait_s`` seconds."""
    connection = _open(path, wait_s=wait_s)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _open(path: Path, *, wait_s: float = WRITE_LOCK_WAIT_S) -> sqlite3.Connection:
    # isolation_level None: the module begins no transaction of its own. Each connection is used by one thread at a
    # time, but not always by the one that made it.
    return sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
