"""What a node does now and then: leases, wishes of other processes, retention, what the store missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from headrace.errors import StoreError
from headrace.pump.committer import Committer
from headrace.pump.supervisor import Supervisor
from headrace.stream.store import CacheIndex, Claims, Records, Store
from headrace.types.outcome import Cause

logger = logging.getLogger(__name__)

ROUND_S = 1.0
"""Time between rounds."""

TRIM_ROUNDS = 60
"""Retention runs every so many rounds."""


class Retention(msgspec.Struct, frozen=True):
    """How long ended streams are kept; whichever bound is reached first. What they cost is kept for longer."""

    keep_s: float
    max_bytes: int
    retain_usage_s: float
    """How long what a request cost is kept after it was accepted."""
    cache_for_s: float = 0.0
    """How long an answer may be given again."""
    cache_entries: int = 0
    cache_bytes: int = 0


class Housekeeper:
    """Runs the rounds of one node until it is cancelled.

    Args:
        lease_s: How long a lease lasts; it is renewed three times as often.
        retention: What is kept.
    """

    def __init__(
        self,
        *,
        store: Store,
        records: Records,
        claims: Claims,
        cache: CacheIndex,
        committer: Committer,
        supervisor: Supervisor,
        node: str,
        lease_s: float,
        retention: Retention,
        wall_time: Callable[[], float],
    ) -> None:
        self._store = store
        self._records = records
        self._claims = claims
        self._cache = cache
        self._committer = committer
        self._supervisor = supervisor
        self._node = node
        self._lease_s = lease_s
        self.retention = retention
        self._wall_time = wall_time

    async def run(self) -> None:
        """Go round for ever. A store that fails is reported by the committer; the next round tries again."""
        number = 0
        while True:
            try:
                await self.round(number)
            except StoreError as error:
                logger.warning("housekeeping is put off: %s", error)
            number += 1
            await asyncio.sleep(ROUND_S)

    async def round(self, number: int) -> None:
        """Do what is due in round ``number``, counted from 0.

        Raises:
            StoreError: The store failed; what was not done is due again in the next round.
        """
        now = self._wall_time()
        # While the store fails, this is also how it is found to work again: an empty commit works on a full disk.
        if not self._committer.is_healthy or number % max(1, int(self._lease_s / 3 / ROUND_S)) == 0:
            await self._store.renew(self._node, lease_s=self._lease_s, now=now)
        self._committer.retry()
        for stream_id in await self._store.cancel_requests(self._node):
            pump = self._supervisor.find(stream_id)
            if pump is not None:
                pump.stop(Cause.OPERATOR, "an operator stopped it")
        if number % TRIM_ROUNDS == 0:
            await self._trim(now)

    async def _trim(self, now: float) -> None:
        kept = self.retention
        await self._store.trim(ended_before=now - kept.keep_s, max_bytes=kept.max_bytes)
        await self._records.trim(accepted_before=now - kept.keep_s)
        await self._records.trim_usage(accepted_before=now - kept.retain_usage_s)
        await self._claims.trim(claimed_before=now - kept.keep_s)
        await self._cache.trim(
            stored_before=now - min(kept.keep_s, kept.cache_for_s),
            max_entries=kept.cache_entries,
            max_bytes=kept.cache_bytes,
        )
