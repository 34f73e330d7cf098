"""Tables as CSV (RFC 4180) that spreadsheets may open: no cell of text is run as a formula.

Names of models, owners and tags come from clients. A spreadsheet takes a cell that begins with one of ``FORMULA_STARTS`` for a
formula (https://owasp.org/www-community/attacks/CSV_Injection), so such a cell of text gets an apostrophe before it.
Programs that read the table must know that; nothing else is changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

CONTENT_TYPE = "text/csv; charset=utf-8; header=present"

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

Cell = str | int


def csv_table(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return a table: a line of headings, then one a row, each ended by CR LF, in UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    for row in (headings, *rows):
        writer.writerow([safe_cell(cell) for cell in row])
    return text.getvalue().encode(errors="replace")


def safe_cell(cell: Cell) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    if isinstance(cell, int):
        return str(cell)
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
