# noqa: A005 (only ever imported as bench.profile)
"""``python -m bench.profile``: where the relay's CPU goes.

Instruments disturb what they measure, so each watches a run of its own: nothing but the clock for the share of the
kernel, ``perf`` for native code, ``py-spy`` for Python functions, ``strace`` for counts of system calls. Those that are
not installed are left out.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.cost import measure, warm_up
from bench.load import Load
from bench.report import Report
from bench.speed import FIFTY, FIVE_HUNDRED, LOADS
from bench.targets import Target, pin_self, relay, simulator

TOP = 25
PY_SPY_HZ = 250
PERF_HZ = 997
WAITS = ("_worker (concurrent/", "Condition.wait (", "Writer._take (", "Runner.run (asyncio/")
"""Where threads wait. A stopped process looks busy to py-spy there; its event loop's own C code is lost with them."""

_PERF_LINE = re.compile(r"^\s*(?P<share>[\d.]+)%\s+(?P<what>\S.*?)\s*$")
_STRACE_LINE = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(?P<calls>\d+)\s+(?:\d+\s+)?(?P<name>\w+)$")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fifty", action="store_true", help=f"{FIFTY} instead of {FIVE_HUNDRED}")
    name = FIFTY if parser.parse_args().fifty else FIVE_HUNDRED
    load = LOADS[name]
    pin_self()
    report = Report("profile", f"Where the relay's CPU goes: {name}")
    with ExitStack() as stack:
        engine = stack.enter_context(simulator())
        node = stack.enter_context(relay(engine.port))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-bench-")))
        warm_up([node])
        _kernel_share(report, node, load)
        for show in (_perf, _py_spy, _strace):
            show(report, node, load, directory)
    return report.save(is_checked=False)


def _kernel_share(report: Report, node: Target, load: Load) -> None:
    user_s, kernel_s = node.kernel_share()
    cost = measure(node, load)
    user_s, kernel_s = (after - before for after, before in zip(node.kernel_share(), (user_s, kernel_s), strict=True))
    report.table(
        "Undisturbed",
        ("", "CPU-s / 1,000 tokens", "of one core", "in the kernel"),
        [("relay", f"{cost.cpu_per_1000:.5f}", f"{cost.busy_share:.0%}", f"{kernel_s / (user_s + kernel_s):.0%}")],
    )


def _perf(report: Report, node: Target, load: Load, directory: Path) -> None:
    if shutil.which("perf") is None:
        return
    data = directory / "perf.data"
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(PERF_HZ), "-p", str(node.pid), "-o", str(data)]
    _watched(command, lambda: measure(node, load))
    for title, keys, top in (("Native code, by library", "dso", 10), ("Native code, by symbol", "symbol,dso", TOP)):
        report.table(title, ("", "share"), _perf_rows(data, keys)[:top])


def _perf_rows(data: Path, keys: str) -> list[tuple[str, str]]:
    command = ["perf", "report", "-i", str(data), "--stdio", "--no-children", "-g", "none", "-s", keys]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = [_PERF_LINE.match(line) for line in text.splitlines() if not line.startswith("#")]
    # perf pads symbols and appends columns of dashes that mean nothing here.
    return [(" ".join(match["what"].split()).removesuffix(" - -"), f"{match['share']} %") for match in found if match]


def _py_spy(report: Report, node: Target, load: Load, directory: Path) -> None:
    binary = Path(sys.executable).with_name("py-spy")
    if not binary.exists():
        return
    raw = directory / "py-spy.txt"
    options = [
        "--threads",
        "--function",
        "--format",
        "raw",
        "--rate",
        str(PY_SPY_HZ),
        "--output",
        str(raw),
        "--duration",
        "600",
    ]
    _watched([str(binary), "record", "--pid", str(node.pid), *options], lambda: measure(node, load))
    own, total = _python_functions(raw.read_text())
    all_samples = own.total()
    report.table(
        f"Python functions ({all_samples} samples; C code counts for the Python function that called it)",
        ("", "own", "with callees"),
        [
            (function, f"{count / all_samples:.1%}", f"{total[function] / all_samples:.1%}")
            for function, count in own.most_common(TOP)
        ],
    )
    threads = [(frame, count) for frame, count in total.most_common() if frame.startswith("thread (")]
    report.table(
        "Threads",
        ("", "share"),
        [(name.partition(": ")[2] or name, f"{count / all_samples:.1%}") for name, count in threads],
    )
    outer = [(function, count) for function, count in total.most_common() if "headrace/" in function]
    report.table(
        "Functions of the relay, with all they call",
        ("", "with callees"),
        [(function, f"{count / all_samples:.1%}") for function, count in outer[:TOP]],
    )


def _python_functions(raw: str) -> tuple[Counter[str], Counter[str]]:
    """Count the samples of each function: those at the top of the stack, and those anywhere in it."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not frames[-1].startswith(WAITS):
            own[frames[-1]] += int(count)
            for frame in set(frames):
                total[frame] += int(count)
    return own, total


def _strace(report: Report, node: Target, load: Load, directory: Path) -> None:
    if shutil.which("strace") is None:
        return
    counts = directory / "strace.txt"
    # strace slows every call down by far: its times mean nothing, and with fewer, larger reads its counts are too low.
    gentle = Load(streams=max(1, load.streams // 5), tokens=load.tokens, itl_ms=load.itl_ms)
    _watched(["strace", "-c", "-f", "-p", str(node.pid), "-o", str(counts)], lambda: measure(node, gentle))
    matches = [_STRACE_LINE.match(line) for line in counts.read_text().splitlines()]
    found = [(match["name"], int(match["calls"])) for match in matches if match and match["name"] != "total"]
    found.sort(key=lambda pair: -pair[1])
    report.table(
        f"System calls for 1,000 tokens, {gentle.streams} streams",
        ("", "calls"),
        [(call, f"{count / gentle.total_tokens * 1000:.1f}") for call, count in found[:15]],
    )


def _watched(command: list[str], run: Callable[[], object]) -> None:
    """Run a load while an instrument watches."""
    instrument = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        run()
    finally:
        instrument.send_signal(signal.SIGINT)
        instrument.wait()


if __name__ == "__main__":
    sys.exit(main())
