"""Logs and records in one SQLite file (https://sqlite.org/wal.html): one writer thread, group commits, own readers."""

from headrace.stores.sqlite.database import SqliteDatabase

__all__ = ["SqliteDatabase"]
