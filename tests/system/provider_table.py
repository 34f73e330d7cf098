"""Prints the table of provider faults, played just now: ``python -m tests.system.provider_table``.

With ``--write`` it also puts the table into the documentation.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.system.provider_bench import measured, play
from tests.system.provider_faults import ROWS, whole_table

DOCUMENT = Path(__file__).parents[2] / "docs" / "provider-faults.md"
BEGIN, END = "<!-- The table: python -m tests.system.provider_table --write -->", "<!-- Its end -->"


def with_table(document: str) -> str:
    """Return the document with the table as it is now.

    Raises:
        ValueError: It has no place for it.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise ValueError("the document has no place for the table")
    return f"{before}{begin}\n\n{whole_table()}\n\n{end}{behind}"


def main() -> None:
    if "--write" in sys.argv[1:]:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        played = asyncio.run(play(Path(folder)))
    lines = [measured(row, played.rows[row.name]) for row in ROWS]
    sys.stdout.write("\n".join([whole_table(), "", *lines, ""]))


if __name__ == "__main__":
    main()
