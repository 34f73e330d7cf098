"""All stores in one SQLite file (https://sqlite.org/wal.html): one writer thread, group commits, own readers."""

from headrace.stores.sqlite.database import SqliteDatabase, make_ready

__all__ = ["SqliteDatabase", "make_ready"]
