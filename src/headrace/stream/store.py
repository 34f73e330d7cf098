"""What keeps logs and records: two interfaces, kept apart so that they may live in different databases.

Nothing above ``stores/`` may assume that one process owns a log for ever: whoever appends holds a *lease* with an
*epoch*, and a commit under an older epoch is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from headrace.stream.segment import Flush, Segment
from headrace.types.access import ClientKey
from headrace.types.bill import Bill
from headrace.types.ids import KeyId, Offset, RequestId, StreamId
from headrace.types.outcome import End, State
from headrace.types.record import Perceived, Record


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The right to append to one log."""

    stream_id: StreamId
    node: str
    """Who holds it."""
    epoch: int
    """Grows by one with each holder; a commit under an older epoch is refused."""


class Opening(msgspec.Struct, frozen=True, gc=False):
    """A new log in a commit."""

    lease: Lease
    owner: str
    created_at: float
    """Unix seconds."""
    keeps_content: bool = True
    """False (OpenAI's ``store: false``): the store drops the entries when the log is sealed, and keeps the end."""


class Append(msgspec.Struct, frozen=True, gc=False):
    """Entries for one log in a commit. Segments of one log arrive in order and without gaps."""

    lease: Lease
    segment: Segment


class Seal(msgspec.Struct, frozen=True, gc=False):
    """The end of one log in a commit. After it nothing can be appended."""

    lease: Lease
    end: End
    entries: Offset
    """How many entries the log has: the offset of the end entry."""
    ended_at: float


class Batch(msgspec.Struct, frozen=True):
    """One group commit: all of it becomes durable together, in this order, or none of it."""

    openings: list[Opening] = []
    appends: list[Append] = []
    seals: list[Seal] = []


class StoredLog(msgspec.Struct, frozen=True, kw_only=True):
    """What a store knows of a log without its entries."""

    stream_id: StreamId
    owner: str
    created_at: float
    entries: Offset
    """Entries kept so far, the end entry not counted."""
    end: End | None
    """None while it is open."""
    has_content: bool = True
    """False when its entries were dropped (``store: false``, retention of content)."""


class OpenLog(msgspec.Struct, frozen=True, kw_only=True):
    """An open log whose lease ran out: a crash left it."""

    stream_id: StreamId
    epoch: int
    entries: Offset
    tokens: int = 0
    """Content-bearing deltas kept."""


class Store(AbstractAsyncContextManager["Store"], Protocol):
    """Keeps logs. Entering opens it, leaving commits what was handed over and closes it."""

    @property
    def is_bounded_by_readers(self) -> bool:
        """True when entries live in this process's memory only, so that producers must not run far ahead."""

    def commit(self, batch: Batch) -> asyncio.Future[None]:
        """Hand a batch to the writer and return at once; never blocks, never raises.

        Batches become durable in the order they were handed over. The future (of the running loop) resolves when the
        batch has survived the death of this process. It fails with ``StoreError`` when nothing of the batch was kept;
        later batches are then tried anew. An append or seal under a stale epoch, of an unknown, erased or sealed log is left
        out silently: an erased stream's producer learns of its end elsewhere.
        """

    def backlog(self) -> int:
        """Return how many batches are handed over and not yet durable or failed."""

    async def find(self, stream_id: StreamId) -> StoredLog | None:
        """Return what is known of a log, None when there is no such log.

        Raises:
            StoreError: The backend failed.
        """

    async def read(self, stream_id: StreamId, *, after: Offset, max_bytes: int) -> list[Segment]:
        """Return committed entries after ``after`` (-1: from the start), oldest first.

        At least one segment when there is any such entry, then as many as fit into ``max_bytes``; the first begins
        exactly at ``after + 1``. Empty when there is no later entry. Reading a log from start to end costs time
        proportional to its length, however small the pages.

        Raises:
            StreamGone: Those entries are no longer kept.
            StreamNotFound: There is no such log.
            StoreError: The backend failed.
        """

    async def flushes(self, stream_id: StreamId, *, after: Offset, limit: int) -> list[Flush]:
        """Return when segments were committed, oldest first: at most ``limit`` of those that begin after ``after``.

        One flush is one segment as it was appended. It costs time proportional to the page; no entries are read. What
        was never committed (a gap) is left out.

        Raises:
            StreamGone: Some segment that begins after ``after`` is no longer kept.
            StreamNotFound: There is no such log.
            StoreError: The backend failed.
        """

    async def claim(self, node: str, *, lease_s: float, now: float) -> list[OpenLog]:
        """Take over every open log whose lease ran out at ``now`` or that ``node`` held before it restarted.

        Bumps each epoch. Recovery seals them.
        """

    async def renew(self, node: str, *, lease_s: float, now: float) -> None:
        """Prolong the leases of all open logs of ``node``."""

    async def request_cancel(self, stream_id: StreamId) -> bool:
        """Leave a durable wish that the log's producer, on whatever node, stop. False when it is not open."""

    async def cancel_requests(self, node: str) -> list[StreamId]:
        """Return the open logs of ``node`` that somebody wants stopped."""

    async def erase(self, stream_id: StreamId) -> bool:
        """Remove a log, entries and end. False when there was none. Later appends to it are left out."""

    async def trim(self, *, ended_before: float, max_bytes: int) -> int:
        """Drop sealed logs that ended before ``ended_before`` (Unix seconds), then the oldest sealed ones until at most
        ``max_bytes`` of entries are kept. Returns how many were dropped. Open logs stay.
        """


class RecordPage(msgspec.Struct, frozen=True):
    """Some records, newest first."""

    records: list[Record]
    has_more: bool


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """What is known of a request's bill once the last client has left and the vendor has said what it can."""

    request_id: RequestId
    delivered_tokens: int
    generated_tokens: int
    bill: Bill


class Spent(msgspec.Struct, frozen=True, gc=False):
    """What one key of one owner spent on one day."""

    owner: str
    key_id: KeyId
    day: str
    """Of UTC: ``2026-11-21``."""
    nano_usd: int


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests are summed up; None takes all. Times are those at which requests were accepted, Unix seconds."""

    since: float
    until: float
    """Exclusive."""
    owner: str | None = None
    key_id: KeyId | None = None
    model: str | None = None
    tag: tuple[str, str] | None = None
    """Name and value."""


class TokenSum(msgspec.Struct, frozen=True):
    """Sums over bills of one basis."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    nano_usd: int = 0


class UsageLine(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of one group of requests that have ended."""

    group: tuple[str, ...]
    """A value for each thing grouped by; empty text where a request has none."""
    generated_tokens: int
    delivered_tokens: int
    reported: TokenSum
    """Of bills whose tokens the engine reported."""
    estimated: TokenSum
    """Of those that rest on our count."""
    unpriced_requests: int
    """Bills without a price; they are in the sums as costing nothing."""


class Records(AbstractAsyncContextManager["Records"], Protocol):
    """Keeps one row a request, and what each cost for longer than that."""

    def save(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Insert or replace records by id and return at once; order and durability as ``Store.commit``.

        A record with a bill is also entered into the usage, by its id: saving it again counts it once.
        """

    def settle(self, settlements: Sequence[Settlement]) -> asyncio.Future[None]:
        """Put the last word on bills into records and usage, where they are; order and durability as ``save``."""

    async def usage(self, query: UsageFilter, *, by: Sequence[str], limit: int) -> list[UsageLine]:
        """Return sums over requests, one line a group, ordered by group.

        Args:
            query: Which requests.
            by: At most 4 of ``owner``, ``key``, ``model``, ``engine``, ``state``, ``day`` (UTC) and ``tag:NAME``; none
                gives one line for all, or no line when there is no request.
            limit: Most lines.

        Raises:
            StoreError: The backend failed.
        """

    async def spent(self, *, since: float) -> list[Spent]:
        """Return what was spent on requests accepted since then (Unix seconds), by owner, key and day.

        Raises:
            StoreError: The backend failed.
        """

    async def trim_usage(self, *, accepted_before: float) -> int:
        """Drop what requests accepted before that time cost. Returns how many."""

    async def get(self, request_id: RequestId) -> Record | None: ...

    async def own(self, stream_id: StreamId) -> Record | None:
        """Return the record of the request that knows a stream by this id, the oldest if there are several; None without one.

        It costs the same however many requests refer to the stream as their log.
        """

    async def of_stream(self, stream_id: StreamId) -> list[Record]:
        """Return the record of the request that knows a stream by this id, and those that refer to it as their log (``log_id``).

        Oldest first. Of an id that is no log's own there is one record at most.
        """

    async def newest(
        self, *, owner: str | None, state: State | None = None, limit: int = 20, before: RequestId | None = None
    ) -> RecordPage:
        """Return an owner's records, newest first, those older than ``before`` when it is given; None: everybody's."""

    async def add_perceived(self, stream_id: StreamId, perceived: Perceived) -> Record | None:
        """Add what a client perceived to the oldest record of a stream, if that has ended and holds nothing of the kind.

        Atomic: it sees whatever was handed to ``save`` or ``forget`` before, so it undoes no end, and brings no
        forgotten record back. A later ``save`` of the record replaces all of it.

        Returns:
            The record as it was before; None when there is none.

        Raises:
            StoreError: The backend failed; nothing was added.
        """

    async def forget(self, stream_id: StreamId) -> bool:
        """Remove the records that ``of_stream`` returns, but not what they cost. False when there were none."""

    async def trim(self, *, accepted_before: float) -> int:
        """Drop records of ended requests accepted before that time, but not what they cost. Returns how many."""


class Keys(AbstractAsyncContextManager["Keys"], Protocol):
    """Keeps client keys, for every process that opens the same database."""

    async def version(self) -> int:
        """Return a number that grows with each change, whichever process made it.

        Raises:
            StoreError: The backend failed.
        """

    async def all(self) -> list[ClientKey]:
        """Return all keys, oldest first, revoked and expired ones included.

        Raises:
            StoreError: The backend failed.
        """

    async def insert(self, key: ClientKey) -> None:
        """Add a key.

        Raises:
            StoreError: The backend failed, or has a key of that id.
        """

    async def change(self, key_id: KeyId, change: Callable[[ClientKey], ClientKey]) -> ClientKey | None:
        """Replace a key by what ``change`` makes of it, atomically, and return that; None when there is no such key.

        What ``change`` raises passes through, and nothing is changed then. It may be called on another thread.

        Raises:
            StoreError: The backend failed.
        """


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Which stream an ``Idempotency-Key`` stands for."""

    owner: str
    key: str
    """As the client chose it, at most 255 characters."""
    fingerprint: str
    """Of the request: another one under the same key is refused."""
    log_id: StreamId
    claimed_at: float
    """Unix seconds."""


class Claims(AbstractAsyncContextManager["Claims"], Protocol):
    """Keeps claims, so that no request of one key is generated twice, whatever dies in between.

    A claim outlives its log when that is erased or trimmed: whoever finds one asks ``Store.find`` for the log. ``trim``
    removes it in the end.
    """

    async def claim(self, claim: Claim, *, instead_of: StreamId | None = None) -> Claim:
        """Return who holds the owner's key: the new claim when nobody did, or the one that did.

        Atomic, and durable when it returns. Cancelling the call does not take it back.

        Args:
            claim: The new claim.
            instead_of: A claim to this log is replaced: nothing of it was delivered. Of several calls that would replace
                the same one, the first does, and the others get its claim.

        Raises:
            StoreError: The backend failed, or is full: then only ``trim`` and ``forget`` make room.
        """

    async def find(self, owner: str, key: str) -> Claim | None:
        """Return the claim of an owner's key; None when nobody made one.

        Raises:
            StoreError: The backend failed.
        """

    async def forget(self, log_id: StreamId) -> None:
        """Remove the claims to a log.

        Raises:
            StoreError: The backend failed.
        """

    async def trim(self, *, claimed_before: float) -> int:
        """Drop claims made before that time (Unix seconds). Returns how many.

        Raises:
            StoreError: The backend failed; some may be gone.
        """


class CacheEntry(msgspec.Struct, frozen=True, gc=False):
    """A whole answer that may be given again. It refers to a log and holds no text itself."""

    key: str
    """Digest of the canonical request, and of whom it may be given to."""
    owner: str
    """Whose log it is."""
    log_id: StreamId
    bytes: int
    """Of the log's JSON."""
    stored_at: float
    """When the answer was whole, Unix seconds."""


class CacheIndex(AbstractAsyncContextManager["CacheIndex"], Protocol):
    """Keeps which answers may be given again, bounded by number, size and age; the oldest go first.

    An entry outlives its log when that is erased or trimmed: whoever finds one asks ``Store.find`` for the log. ``trim``
    removes it in the end.
    """

    def put(self, entry: CacheEntry) -> asyncio.Future[None]:
        """Insert or replace an entry by its key and return at once; order and durability as ``Store.commit``.

        The oldest entries give way where the index would grow far beyond the bounds that it was opened with; an entry
        that alone is larger than these is left out.
        """

    async def find(self, key: str) -> CacheEntry | None:
        """Return the entry of that key, however old.

        Raises:
            StoreError: The backend failed.
        """

    async def forget(self, log_id: StreamId) -> None:
        """Remove the entries of a log.

        Raises:
            StoreError: The backend failed.
        """

    async def trim(self, *, stored_before: float, max_entries: int, max_bytes: int) -> int:
        """Drop entries stored before that time (Unix seconds), then the oldest until both bounds hold. Returns how many.

        The logs stay: they have a retention of their own.

        Raises:
            StoreError: The backend failed; some may be gone.
        """

    async def count(self) -> tuple[int, int]:
        """Return how many entries there are, and how many bytes their logs have together.

        Raises:
            StoreError: The backend failed.
        """
