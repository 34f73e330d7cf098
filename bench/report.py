"""Tables on the terminal, and the same as Markdown and JSON in ``bench/out``."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace._version import __version__

OUT = Path(__file__).with_name("out")


class Report:
    """Collects what a benchmark has to say, printing it as it comes.

    Args:
        name: Of the files in ``bench/out``.
        title: What is measured.
    """

    def __init__(self, name: str, title: str) -> None:
        self._name = name
        self._markdown = [f"# {title}", "", machine(), ""]
        self._data: dict[str, Any] = {"title": title, "machine": machine()}
        self._missed: list[str] = []
        self._busy_s, self._own_s = _busy_s(), _own_s()
        self._started_s = time.monotonic()
        print(f"{title}\n{machine()}", flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table; the first column is text, all others are numbers."""
        widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
        print(f"\n{title}")
        for row in (columns, *rows):
            cells = [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
            print("  ".join(cells), flush=True)
        self._markdown += [f"## {title}", "", _line(columns), _line(["---", *["---:"] * (len(columns) - 1)])]
        self._markdown += [*map(_line, rows), ""]

    def note(self, text: str) -> None:
        """Show a paragraph."""
        print(f"\n{text}", flush=True)
        self._markdown += [text, ""]

    def bar(self, what: str, value: float, *, most: float | None = None, least: float | None = None) -> None:
        """Show whether a value keeps within its bar."""
        is_met = (most is None or value <= most) and (least is None or value >= least)
        bound = f"at most {most:g}" if most is not None else f"at least {least:g}"
        line = f"{'met   ' if is_met else 'MISSED'}  {what}: {value:,.4g} ({bound})"
        if not is_met:
            self._missed.append(line)
        print(line, flush=True)
        self._markdown += [f"- {line}"]

    def failed(self, what: str) -> None:
        """Show that something could not be measured; counts as a missed bar."""
        self._missed.append(what)
        self.note(f"FAILED  {what}")

    def data(self, key: str, value: Any) -> None:
        """Keep a value for the JSON file."""
        self._data[key] = value

    def save(self, *, is_checked: bool) -> int:
        """Write the files, once all processes have ended; returns 1 when bars are checked and one was missed, else 0."""
        seconds = time.monotonic() - self._started_s
        others_s = (_busy_s() - self._busy_s) - (_own_s() - self._own_s)
        others_share = max(0.0, others_s / seconds / (os.cpu_count() or 1))
        self.note(f"{seconds:.0f} s in all; other processes used {others_share:.0%} of the machine meanwhile.")
        self._data["others_share"] = others_share
        OUT.mkdir(exist_ok=True)
        self._data["missed"] = self._missed
        (OUT / f"{self._name}.md").write_text("\n".join(self._markdown) + "\n")
        (OUT / f"{self._name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(self._data), indent=1))
        print(f"\nwritten: {OUT}/{self._name}.md and .json", flush=True)
        return 1 if is_checked and self._missed else 0


def machine() -> str:
    """Return on what and with what a figure was made."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    model = names[0] if names else platform.machine()
    python = sys.version.split()[0]
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {python}, headrace {__version__}"


def _busy_s() -> float:
    """Return how long the machine's cores have worked, for whomever (proc(5), first line of /proc/stat)."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    """Return the CPU time of this process and of all that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
