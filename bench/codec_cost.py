"""What the codecs cost: CPU a chunk in the shapes engines send, and linear time under awkward splits.

``python -m bench.codec_cost`` prints a table; it exits with 1 when a cost grows faster than its input.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import msgspec

from headrace.protocol.assemble import CompletionAssembler
from headrace.protocol.chat import ChatStreamDecoder
from headrace.protocol.sse import SSEDecoder

CHUNKS = 20_000
ROUNDS = 5
MAX_EVENT_BYTES = 1 << 20

GROWTH = 8
"""Input of the larger run against the smaller one."""

QUADRATIC = GROWTH * 3
"""A ratio of times beyond this is no longer linear; quadratic would be the square of ``GROWTH``."""


def chunk(number: int) -> bytes:
    """One content event as an engine sends it, about 210 bytes."""
    body = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1731000000,
        "model": "smollm2-135m",
        "choices": [{"index": 0, "delta": {"content": f" w{number}"}, "logprobs": None, "finish_reason": None}],
    }
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def best_s(work: Callable[[], object]) -> float:
    """CPU-seconds of the quickest of a few rounds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def reads(*, per_read: tuple[int, ...] = (2, 3), crlf: bool = False, cut: int | None = None) -> list[bytes]:
    """The same chunks as different reads would bring them."""
    chunks = [chunk(number) for number in range(CHUNKS)]
    if crlf:
        chunks = [item.replace(b"\n", b"\r\n") for item in chunks]
    made: list[bytes] = []
    position = 0
    while position < CHUNKS:
        count = per_read[len(made) % len(per_read)]
        made.append(b"".join(chunks[position : position + count]))
        position += count
    if cut is None:
        return made
    whole = b"".join(made)
    return [whole[start : start + cut] for start in range(0, len(whole), cut)]


def decode(parts: list[bytes]) -> None:
    decoder = ChatStreamDecoder(max_event_bytes=MAX_EVENT_BYTES)
    count = 0
    for part in parts:
        got = decoder.receive_data(part)
        count += len(got.views) if got is not None else 0
    if count != CHUNKS:
        raise AssertionError(f"{count} chunks came out of {CHUNKS}")


def one_byte_reads(size: int) -> None:
    decoder = SSEDecoder(max_event_bytes=MAX_EVENT_BYTES)
    for _ in range(size):
        decoder.receive_data(b"x")


def growing_event(size: int) -> None:
    decoder = ChatStreamDecoder(max_event_bytes=MAX_EVENT_BYTES)
    decoder.receive_data(chunk(0) + b"data: ")
    for _ in range(size):
        decoder.receive_data(b"x")


def assemble(count: int) -> None:
    assembler = CompletionAssembler()
    assembler.add(b"\n".join([chunk(1)[6:-2]] * count))
    assembler.completion(usage=None)


def main() -> int:
    shapes = {
        "2 to 3 chunks a read": reads(),
        "1 chunk a read": reads(per_read=(1,)),
        "20 chunks a read": reads(per_read=(20,)),
        "CRLF": reads(crlf=True),
        "cut every 537 bytes": reads(cut=537),
    }
    print("| Decoding | µs a chunk |\n|---|---|")
    for name, parts in shapes.items():
        print(f"| {name} | {best_s(lambda parts=parts: decode(parts)) / CHUNKS * 1e6:.2f} |")  # type: ignore[misc]
    print("\n| Linear time | 8 times the input takes |\n|---|---|")
    worst = 0.0
    for work, size in ((one_byte_reads, 10_000), (growing_event, 10_000), (assemble, 2_000)):
        small = best_s(lambda work=work, size=size: work(size))  # type: ignore[misc]
        large = best_s(lambda work=work, size=size: work(size * GROWTH))  # type: ignore[misc]
        worst = max(worst, large / small)
        print(f"| {work.__name__} | {large / small:.1f} x |")
    return 0 if worst <= QUADRATIC else 1


if __name__ == "__main__":
    sys.exit(main())
