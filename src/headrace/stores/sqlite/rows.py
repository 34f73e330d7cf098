"""Many rows in few statements.

Each step of a statement gives the interpreter lock away, and getting it back from a busy event loop can take a switch
interval (5 ms). ``executemany`` makes a step for every row: 500 rows took up to 15 s beside a loop that never slept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

_ROWS = (64, 8, 1)


class RowStatement:
    """A statement over rows of values, run for any number of rows at once.

    Args:
        head: SQL before the rows, up to and with the word ``VALUES``.
        columns: Values in a row.
        tail: SQL after the rows.
    """

    def __init__(self, head: str, columns: int, tail: str = "") -> None:
        row = f"({','.join('?' * columns)})"
        self._by_width = [(rows * columns, f"{head} {','.join([row] * rows)} {tail}") for rows in _ROWS]

    def run(self, connection: sqlite3.Connection, values: Sequence[Any]) -> int:
        """Run it for the rows in ``values``, one after the other in a flat list; return how many rows it changed."""
        start = changed = 0
        for width, sql in self._by_width:
            while len(values) - start >= width:
                changed += connection.execute(sql, values[start : start + width]).rowcount
                start += width
        return changed
