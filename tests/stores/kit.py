"""Logs, records, keys, claims and cache entries to store."""

from __future__ import annotations

from headrace.stream.segment import Segment
from headrace.stream.store import Append, Batch, CacheEntry, Claim, Lease, Opening, Seal, Store
from headrace.types.access import ClientKey, Owner, Secret
from headrace.types.bill import Bill
from headrace.types.ids import KeyId, Offset, RequestId, StreamId
from headrace.types.outcome import Cause, End, State
from headrace.types.record import Record

DONE = End(state=State.COMPLETED, cause=Cause.STOP, finish_reason="stop", usage={"completion_tokens": 3})
PAGE = 1 << 20


def lease(name: str, *, node: str = "node-a", epoch: int = 1) -> Lease:
    return Lease(StreamId(name), node, epoch)


def opening(name: str, *, node: str = "node-a", owner: str = "ann", keeps_content: bool = True) -> Opening:
    return Opening(lease(name, node=node), owner, 100.0, keeps_content)


def segment(first: int, *lines: bytes, at: float | None = None, tokens: int | None = None) -> Segment:
    return Segment(Offset(first), len(lines), b"\n".join(lines), at, tokens)


def append(
    name: str, first: int, *lines: bytes, epoch: int = 1, at: float | None = None, tokens: int | None = None
) -> Append:
    return Append(lease(name, epoch=epoch), segment(first, *lines, at=at, tokens=tokens))


def seal(name: str, entries: int, *, ended_at: float = 200.0, epoch: int = 1) -> Seal:
    return Seal(lease(name, epoch=epoch), DONE, Offset(entries), ended_at)


def lines_of(segments: list[Segment]) -> list[bytes]:
    return [line for found in segments for line in found.data.split(b"\n")]


async def write(store: Store, name: str, *runs: list[bytes], keeps_content: bool = True, node: str = "node-a") -> int:
    """Open a log, append each run as a segment in a commit of its own, and return how many entries it has."""
    await store.commit(Batch(openings=[opening(name, keeps_content=keeps_content, node=node)]))
    first = 0
    for run in runs:
        await store.commit(Batch(appends=[append(name, first, *run)]))
        first += len(run)
    return first


async def write_sealed(
    store: Store, name: str, *runs: list[bytes], ended_at: float = 200.0, keeps_content: bool = True
) -> None:
    entries = await write(store, name, *runs, keeps_content=keeps_content)
    await store.commit(Batch(seals=[seal(name, entries, ended_at=ended_at)]))


async def read_all(store: Store, name: str, *, after: int = -1, max_bytes: int = PAGE) -> list[bytes]:
    """Read page by page and check that each begins where the last one ended."""
    lines: list[bytes] = []
    while page := await store.read(StreamId(name), after=Offset(after), max_bytes=max_bytes):
        for part in page:
            assert part.first == after + 1
            after += part.count
        lines += lines_of(page)
    return lines


def record(name: str, accepted_at: float = 1.0, **changes: object) -> Record:
    values = {"stream_id": f"stream-{name}", "owner": "ann", "model": "m", "engine": "scripted", **changes}
    return Record(id=RequestId(name), accepted_at=accepted_at, **values)  # type: ignore[arg-type]


def billed(name: str, accepted_at: float = 1.0, *, bill: Bill | None = None, **changes: object) -> Record:
    """Return a record of a request that has ended, with a bill."""
    values = {"state": State.COMPLETED, "bill": bill or Bill(nano_usd=1), **changes}
    return record(name, accepted_at, **values)


def key(key_id: str, created_at: float = 1.0, **changes: object) -> ClientKey:
    secret = Secret(digest=key_id * 8, hint=f"hr_{key_id}", created_at=created_at)
    values = {"name": key_id, "owner": Owner("ann"), "secrets": (secret,), "created_at": created_at, **changes}
    return ClientKey(id=KeyId(key_id), **values)  # type: ignore[arg-type]


def claim(name: str, log: str = "s", *, owner: str = "ann", fingerprint: str = "f", at: float = 1.0) -> Claim:
    return Claim(owner, name, fingerprint, StreamId(log), at)


def entry(name: str, at: float = 1.0, *, log: str = "s", size: int = 10) -> CacheEntry:
    return CacheEntry(name, "ann", StreamId(log), size, at)
