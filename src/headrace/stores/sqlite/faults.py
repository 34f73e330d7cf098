"""What went wrong in SQLite, and whose fault it is."""

from __future__ import annotations

import sqlite3

from headrace.errors import StoreError

BAD_DATA = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    ValueError,  # a string with a lone surrogate, an embedded NUL
    TypeError,
    OverflowError,  # an integer beyond 64 bits
)
"""Errors of one job's values. Every other ``sqlite3.Error`` is of the file or disk and meets all jobs alike."""


def store_error(cause: BaseException) -> StoreError:
    """Return the error to raise for ``cause``, with it chained. The text names no path: a client may see it."""
    error = StoreError(f"the store failed: {cause}" if isinstance(cause, sqlite3.Error) else "the store failed")
    error.__cause__ = cause
    return error
