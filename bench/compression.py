"""``python -m bench.compression``: what compressing a stream costs in memory and time, and what it saves.

The simulator's chunks, as SSE, with English in them, go through each codec as the relay sets it up, two or three of them a
flush. Each codec has a process of its own with many streams, which take turns as they do in a relay: what one stream left in
the processor's caches is gone when it comes again.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time
from itertools import cycle, islice

import msgspec
from bench.clients import DECODERS, Request, http1_request
from bench.fetch import fetch
from bench.load import run_uvloop
from bench.prose import prose
from bench.report import Report
from bench.targets import Target, pin_self, simulator

from headrace.http.compression import CODECS

TOKENS = 256
CHUNKS_A_FLUSH = (2, 3)
"""In turn; what a tick of 50 ms gathers at 20 ms a token."""
STREAMS = 2000
QUICK_STREAMS = 500
SETTLING = 40
"""Flushes before time is taken: windows are full then."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What the process of one codec does."""

    coding: str
    streams: int
    parts: list[bytes]
    """One stream, flush by flush."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one codec costs and saves."""

    stream_bytes: float
    """Memory that a stream holds."""
    begin_s: float
    """CPU time to set a stream up and make its first flush."""
    flush_s: float
    """CPU time of one flush."""
    plain_bytes: int
    compressed_bytes: int
    """Of one whole answer."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STREAMS} streams instead of {STREAMS}")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
        sys.stdout.buffer.write(msgspec.json.encode(measure(task)))
        return 0
    pin_self()
    report = Report("compression", "Cost of compressing a stream")
    parts = parts_of(_answer())
    streams = QUICK_STREAMS if options.quick else STREAMS
    figures = {
        coding.decode(): _in_child(Task(coding=coding.decode(), streams=streams, parts=parts)) for coding in CODECS
    }
    _show(report, figures, flushes=len(parts), streams=streams)
    return report.save(is_checked=False)


def _answer() -> bytes:
    """Return one answer of the simulator."""
    chat = {
        "model": "sim",
        "stream": True,
        "messages": [{"role": "user", "content": "Tell me about the river."}],
        "simulate": {"text": prose(TOKENS)},
    }
    parts: list[bytes] = []
    with simulator() as engine:
        request = Request(
            authority=f"127.0.0.1:{engine.port}", path="/v1/chat/completions", body=msgspec.json.encode(chat)
        )
        run_uvloop(fetch(engine.port, http1_request(request), on_body=parts.append))
    return b"".join(parts)


def parts_of(answer: bytes) -> list[bytes]:
    """Return an answer as the relay flushes it."""
    events = iter(answer.split(b"\n\n")[:-1])
    parts = []
    for count in cycle(CHUNKS_A_FLUSH):
        part = b"".join(event + b"\n\n" for event in islice(events, count))
        if not part:
            break
        parts.append(part)
    return parts


def _in_child(task: Task) -> Figures:
    """Measure in a fresh process.

    Raises:
        CalledProcessError: It failed; why stands on standard error.
    """
    command = [sys.executable, "-m", "bench.compression", "--child"]
    done = subprocess.run(command, input=msgspec.json.encode(task), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Figures)


def measure(task: Task) -> Figures:
    """Compress many streams in this process, which should have done nothing else.

    Raises:
        ValueError: What was compressed cannot be read back.
    """
    make, parts = CODECS[task.coding.encode()], task.parts
    one = make()
    compressed = b"".join([*map(one.add, parts), one.finish()])
    plain = b"".join(parts)
    if DECODERS[task.coding]()(compressed) != plain:
        raise ValueError(f"{task.coding} gives back something else")
    gc.collect()
    process = Target(task.coding, 0, os.getpid())
    before_bytes, begin_s = process.rss_bytes(), time.process_time()
    streams = [make() for _ in range(task.streams)]
    for stream in streams:
        stream.add(parts[0])
    begun_s = time.process_time()
    for part in parts[1:SETTLING]:
        for stream in streams:
            stream.add(part)
    settled_s = time.process_time()
    for part in parts[SETTLING:]:
        for stream in streams:
            stream.add(part)
    flushes = len(parts[SETTLING:]) * task.streams
    return Figures(
        flush_s=(time.process_time() - settled_s) / flushes,
        begin_s=(begun_s - begin_s) / task.streams,
        stream_bytes=(process.rss_bytes() - before_bytes) / task.streams,
        plain_bytes=len(plain),
        compressed_bytes=len(compressed),
    )


def _show(report: Report, figures: dict[str, Figures], *, flushes: int, streams: int) -> None:
    report.data("figures", msgspec.to_builtins(figures))
    report.data("streams", streams)
    report.table(
        f"{TOKENS} tokens in {flushes} flushes; {streams:,} streams in turn",
        ("", "KB a stream", "us to begin", "us a flush", "us a token", "bytes a token", "bytes a flush", "ratio"),
        [
            (
                coding,
                f"{figure.stream_bytes / 1000:.0f}",
                f"{figure.begin_s * 1e6:.0f}",
                f"{figure.flush_s * 1e6:.1f}",
                f"{figure.flush_s * flushes / TOKENS * 1e6:.1f}",
                f"{figure.compressed_bytes / TOKENS:.1f}",
                f"{figure.compressed_bytes / flushes:.1f}",
                f"{figure.plain_bytes / figure.compressed_bytes:.1f}",
            )
            for coding, figure in figures.items()
        ],
    )
    plain = next(iter(figures.values())).plain_bytes
    report.note(f"Uncompressed: {plain / TOKENS:.0f} bytes a token, {plain / flushes:.0f} a flush.")


if __name__ == "__main__":
    sys.exit(main())
