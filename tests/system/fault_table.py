"""Prints the table of faults as it was seen just now: ``python -m tests.system.fault_table``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.system.fault_bench import FaultBench, table
from tests.system.faults import CASES


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, FaultBench(Path(folder)) as bench:
        rows = [(case, bench.observe(case)) for case in CASES]
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
