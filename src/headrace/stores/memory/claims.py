"""Claims in memory."""

from __future__ import annotations

from typing import Self

from headrace.errors import StoreError
from headrace.stores.limits import too_many_claims
from headrace.stream.store import Claim
from headrace.types.ids import StreamId

MAX_CLAIMS = 100_000
"""Claims kept unless told otherwise: some 60 MB at most."""

_Name = tuple[str, str]
"""Owner and key."""


class MemoryClaims:
    """Keeps at most ``max_claims`` claims in memory; one more is refused until a trim has made room."""

    def __init__(self, *, max_claims: int = MAX_CLAIMS) -> None:
        self._max_claims = max_claims
        self._claims: dict[_Name, Claim] = {}
        self._names: dict[StreamId, set[_Name]] = {}
        """Which claims refer to a log."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def claim(self, claim: Claim, *, instead_of: StreamId | None = None) -> Claim:
        held = self._claims.get((claim.owner, claim.key))
        if held is not None:
            if held.log_id != instead_of:
                return held
            self._drop(held)
        elif len(self._claims) >= self._max_claims:
            raise StoreError(too_many_claims(self._max_claims))
        name = claim.owner, claim.key
        self._claims[name] = claim
        self._names.setdefault(claim.log_id, set()).add(name)
        return claim

    async def find(self, owner: str, key: str) -> Claim | None:
        return self._claims.get((owner, key))

    async def forget(self, log_id: StreamId) -> None:
        for name in self._names.pop(log_id, ()):
            del self._claims[name]

    async def trim(self, *, claimed_before: float) -> int:
        doomed = [claim for claim in self._claims.values() if claim.claimed_at < claimed_before]
        for claim in doomed:
            self._drop(claim)
        return len(doomed)

    def _drop(self, claim: Claim) -> None:
        name = claim.owner, claim.key
        del self._claims[name]
        names = self._names[claim.log_id]
        names.remove(name)
        if not names:
            del self._names[claim.log_id]
