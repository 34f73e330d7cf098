"""The cache over time: restarts, retention, the first byte of a hit, and 100,000 entries."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec
import pytest
from tests.node import InProcess, node_in_process
from tests.processes import Simulator
from tests.system.caching import (
    Generations,
    body_of,
    canary,
    chat,
    is_kept,
    question,
    relay_of,
    until_kept,
)
from tests.system.wire import read_log, wait_for

from headrace.pump.housekeeping import TRIM_ROUNDS, Housekeeper, Retention
from headrace.stores.url import open_stores
from headrace.stream.store import CacheEntry, CacheIndex
from headrace.types.ids import RequestId, StreamId
from headrace.types.record import Source

pytestmark = pytest.mark.timeout(120)


# --- over time


def test_the_cache_outlives_the_relay_that_filled_it(simulator: Simulator, tmp_path: Path) -> None:
    generations, asked = Generations(simulator), body_of(question())
    with relay_of(simulator, tmp_path) as relay:
        original = chat(relay.port, asked)
        until_kept(relay.port, asked)
        relay.kill()
        relay.start()
        hit = until_kept(relay.port, asked)
        assert hit.body == original.body
        # Whoever has seen the id of a hit finds it after a crash, too.
        relay.kill()
        relay.start()
        assert read_log(relay.port, hit.stream_id).text == original.text
        assert until_kept(relay.port, asked).body == original.body
    assert generations() == 1


def test_what_another_engine_said_under_the_same_name_is_not_given(simulator: Simulator, tmp_path: Path) -> None:
    asked = body_of(question())
    with relay_of(simulator, tmp_path) as relay:
        chat(relay.port, asked)
        until_kept(relay.port, asked)
        path = tmp_path / "headrace.toml"
        other = f'\n[engines.second]\nupstream = "{simulator.url}"\n'
        path.write_text(path.read_text().replace("engines.default.model", "engines.second.model") + other)
        relay.terminate()
        relay.start()
        assert not is_kept(relay.port, asked)
        chat(relay.port, asked)
        assert until_kept(relay.port, asked).is_hit


def test_an_answer_that_retention_dropped_is_not_given(simulator: Simulator, tmp_path: Path) -> None:
    asked = body_of(question())
    # Room for little more than one log, and for any number of entries.
    with relay_of(simulator, tmp_path, settings='[store]\nmax_bytes = "4KiB"\n') as relay:
        chat(relay.port, asked)
        until_kept(relay.port, asked)
        for _ in range(4):
            canary(relay)
        relay.terminate()
        relay.start()  # the first round of housekeeping trims
        wait_for(lambda: not is_kept(relay.port, asked), what="the end of the log")
        assert chat(relay.port, asked).status == 200


# --- how fast

HITS = 300
GIVEN = 5000


def first_byte_s(sock: socket.socket, request: bytes, *, end: bytes) -> float:
    """Send a request on an open connection, and return how long its first byte takes; reads all of it."""
    started_s = time.perf_counter()
    sock.sendall(request)
    received = sock.recv(1 << 16)
    took_s = time.perf_counter() - started_s
    assert received.startswith(b"HTTP/1.1 200"), received
    while not received.endswith(end):
        received += sock.recv(1 << 16)
    return took_s


def request_of(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


@pytest.mark.alone
def test_the_first_byte_of_a_hit_comes_in_under_5_ms(simulator: Simulator, tmp_path: Path) -> None:
    """However often an answer was given before. Beside it, what any round trip takes on this machine now."""
    generations, asked = Generations(simulator), body_of(question())
    with relay_of(simulator, tmp_path) as relay:
        original = chat(relay.port, asked)
        until_kept(relay.port, asked)
        medians = [measured_s(relay.port, asked, "at first")]
        relay.terminate()
        asyncio.run(give_often(tmp_path / "cache.db", original.stream_id, GIVEN))
        relay.start()
        medians.append(measured_s(relay.port, asked, f"after {GIVEN} hits"))
    assert generations() == 1
    assert max(medians) < 0.005


def measured_s(port: int, asked: Mapping[str, Any], when: str) -> float:
    """Return the median of the time to the first byte of a hit."""
    hit, health = request_of("POST", "/v1/chat/completions", msgspec.json.encode(asked)), request_of("GET", "/healthz")
    hits, trips = [], []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(HITS):
            trips.append(first_byte_s(sock, health, end=b"}"))
            hits.append(first_byte_s(sock, hit, end=b"0\r\n\r\n"))
    found = {name: quantiles(times, n=100) for name, times in (("hit", hits), ("/healthz", trips))}
    shown = ", ".join(f"{name} p50 {of[49] * 1e3:.2f} ms, p99 {of[98] * 1e3:.2f} ms" for name, of in found.items())
    tell(f"first byte {when}: {shown}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return found["hit"][49]


async def give_often(path: Path, log_id: str, hits: int) -> None:
    """Add the records of so many requests that were given one answer."""
    async with open_stores(f"sqlite:///{path}") as stores, stores.records as records:
        record = await records.own(StreamId(log_id))
        assert record is not None
        given = msgspec.structs.replace(record, source=Source.CACHE, log_id=record.stream_id)
        await records.save(
            [
                msgspec.structs.replace(given, id=RequestId(f"given-{at}"), stream_id=StreamId(f"given-{at}"))
                for at in range(hits)
            ]
        )


# --- how much

ENTRIES = 100_000
PER_ROUND = 5000
MOST = 20_000
MOST_BYTES = 64 << 20
GROWN_BYTES = 128 << 20
"""More than the entries that may be kept, and far less than all that came."""


@pytest.mark.parametrize("kind", ["memory:", "sqlite"])
async def test_a_hundred_thousand_entries_stay_within_the_bounds(kind: str, tmp_path: Path) -> None:
    """As a relay has it: bounds given to the store, and rounds of housekeeping in between."""
    url = kind if kind == "memory:" else f"sqlite:///{tmp_path / 'cache.db'}"
    before, worst, sizes = rss_bytes(), (0, 0), random.Random(1)
    started_s = time.monotonic()
    async with (
        asyncio.timeout(60),
        open_stores(url, cache_max_entries=MOST, cache_max_bytes=MOST_BYTES) as stores,
        node_in_process(stores=(stores.store, stores.records)) as relay,
        stores.cache as cache,
    ):
        keeper = housekeeper_of(relay, cache, now=float(ENTRIES))
        for first in range(0, ENTRIES, PER_ROUND):
            await asyncio.gather(*(cache.put(entry_of(at, sizes)) for at in range(first, first + PER_ROUND)))
            count, size = await cache.count()
            worst = max(worst[0], count), max(worst[1], size)
            await keeper.round(first * TRIM_ROUNDS)
            count, size = await cache.count()
            assert count <= MOST
            assert size <= MOST_BYTES
        assert await cache.find(f"{ENTRIES - 1:064x}") is not None
        assert await cache.find(f"{0:064x}") is None
        # What is too old goes, however few they are.
        keeper.retention = msgspec.structs.replace(keeper.retention, cache_for_s=100.5)
        await keeper.round(0)
        left = await cache.count()
    grown = rss_bytes() - before
    tell(
        f"{kind}: {ENTRIES:,} entries in {time.monotonic() - started_s:.1f} s; at most {worst[0]:,} of {MOST:,} and"
        f" {worst[1] / 2**20:.1f} of {MOST_BYTES >> 20} MiB; the process grew by {grown / 2**20:.0f} MiB"
    )
    assert left[0] == 100
    assert MOST <= worst[0] <= MOST * 1.1
    assert MOST_BYTES * 0.99 <= worst[1] <= MOST_BYTES * 1.1
    assert grown < GROWN_BYTES


def entry_of(at: int, sizes: random.Random) -> CacheEntry:
    """Return an entry: small ones at first, so that there are too many, then large ones, that take too much room."""
    size = sizes.randrange(1024 if at < ENTRIES // 2 else 8192)
    return CacheEntry(f"{at:064x}", "owner", StreamId(f"log-{at}"), size, float(at))


def tell(figures: str) -> None:
    sys.stdout.write(f"\n{figures}\n")


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def housekeeper_of(relay: InProcess, cache: CacheIndex, *, now: float) -> Housekeeper:
    node = relay.node
    return Housekeeper(
        store=node.store,
        records=node.records,
        claims=node.claims,
        cache=cache,
        committer=node.supervisor._committer,
        supervisor=node.supervisor,
        node="local",
        lease_s=30,
        retention=Retention(1e9, 1 << 20, 1e9, cache_for_s=1e9, cache_entries=MOST, cache_bytes=MOST_BYTES),
        wall_time=lambda: now,
    )
