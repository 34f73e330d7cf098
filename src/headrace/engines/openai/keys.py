"""The keys that a relay shows its engine: which one a request uses, and which are of no use for now.

What the engine thinks of a key belongs to the secret (``_Standing``), so it survives a key's move to another reference
and ends with a rotation; what the relay counts belongs to the reference (``_Slot``), so it goes on through rotations.

=======  =====================================================================================
Answer   What becomes of the key
=======  =====================================================================================
429      rests: as long as ``Retry-After`` says, else 1 s, doubling up to 60 s until a success
401      retires: its secret is wrong or revoked, and comes back only as another secret
403      nothing: it may not use this model or region, which says nothing about other requests
=======  =====================================================================================

After each of them the request goes over to a key that it has not tried yet.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from headrace.errors import SettingsError

FIRST_REST_S = 1.0
"""How long a key rests after a 429 that does not say, in seconds; twice as long after the next one."""
MAX_REST_S = 60.0
"""Longest rest that is made up here, in seconds."""
KEY_STATUSES = frozenset({401, 403, 429})
"""Answers that are about the key, so that another key may get another answer."""

_RATE_LIMITED = 429
_UNAUTHORIZED = 401

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class UpstreamKey:
    """One key. Only its name is ever shown.

    Raises:
        SettingsError: The secret cannot stand in a header. The message names the key and does not show it.
    """

    name: str
    """Its reference, such as ``env:OPENAI_A`` or ``file:/run/secrets/openai``."""
    secret: str = dataclasses.field(repr=False)

    def __post_init__(self) -> None:
        secret = self.secret
        # RFC 6750 2.1 allows less still; some engines hand out keys beyond it.
        if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
            raise SettingsError(f"{self.name}: must be printable ASCII without spaces")


class KeyState(NamedTuple):
    """One key as metrics show it."""

    name: str
    running: int
    """Generations that hold it, those with its former secrets included."""
    is_resting: bool
    is_retired: bool
    requests: int
    """Requests sent with it since the start."""
    rejected: int
    """How many of them were answered with 401, 403 or 429."""


class _Standing:
    """What the engine thinks of one secret."""

    __slots__ = ("is_retired", "next_rest_s", "rests_until_s")

    def __init__(self) -> None:
        self.is_retired = False
        self.rests_until_s = 0.0
        self.next_rest_s = FIRST_REST_S

    def rest(self, retry_after_s: float | None, now_s: float) -> float | None:
        """Rest from now on. Returns for how long, in seconds; None when it rests already, for at least as long.

        Many requests may learn of one limit at once. Only the first of them makes the next rest longer.
        """
        if retry_after_s is None:
            if self.rests_until_s > now_s:
                return None
            retry_after_s = self.next_rest_s
            self.next_rest_s = min(2 * retry_after_s, MAX_REST_S)
        if now_s + retry_after_s <= self.rests_until_s:
            return None
        self.rests_until_s = now_s + retry_after_s
        return retry_after_s

    def is_usable(self, now_s: float) -> bool:
        return not self.is_retired and self.rests_until_s <= now_s


class _Slot:
    """One reference of the ring."""

    __slots__ = ("key", "last_use", "rejected", "requests", "running", "standing")

    def __init__(self) -> None:
        self.key: UpstreamKey | None = None
        self.standing = _Standing()
        self.running = 0
        self.last_use = 0
        self.requests = 0
        self.rejected = 0

    def hold(self, key: UpstreamKey, standing: _Standing) -> None:
        self.key = key
        self.standing = standing


class Lease:
    """One request's hold on a key, and its way from key to key: each at most once. Made by ``KeyRing.take``.

    A key that leaves the ring, or changes, stays good for whoever holds it.
    """

    __slots__ = ("_is_held", "_key", "_ring", "_slot", "_standing", "_tried")

    def __init__(self, ring: KeyRing, slot: _Slot) -> None:
        self._ring = ring
        self._is_held = False
        self._tried: tuple[_Standing, ...] = ()
        self._hold(slot)

    @property
    def name(self) -> str:
        """The key's reference; empty when the engine wants no key."""
        return "" if self._key is None else self._key.name

    @property
    def secret(self) -> str | None:
        """The key itself, for the request's head and nothing else; None when the engine wants no key."""
        return None if self._key is None else self._key.secret

    @property
    def is_keyed(self) -> bool:
        """False when the engine wants no key."""
        return self._key is not None

    def accept(self) -> None:
        """Note that the engine took the request: the key's next rest is short again."""
        self._standing.next_rest_s = FIRST_REST_S

    def move(self, status: int, retry_after_s: float | None) -> bool:
        """Note what the engine answered, and go over to another key if that may help.

        Args:
            status: The answer's HTTP status.
            retry_after_s: What it says about coming back, in seconds.

        Returns:
            True when another key is held now, for which the request is to be sent again. False when it must end.
        """
        if self._key is None or status not in KEY_STATUSES:
            return False
        self._slot.rejected += 1
        if status == _RATE_LIMITED:
            self._ring.rest(self._key, self._standing, retry_after_s)
        elif status == _UNAUTHORIZED:
            self._ring.retire(self._key, self._standing)
        self._tried += (self._standing,)
        slot = self._ring.choose(self._tried)
        if slot is None:
            return False
        self.release()
        self._hold(slot)
        return True

    def release(self) -> None:
        """Let go of the key. Idempotent."""
        if self._is_held:
            self._is_held = False
            self._slot.running -= 1

    def rest_s(self) -> float | None:
        """Return when the next key of the ring is back from its rest, in seconds; None when none rests."""
        return self._ring.rest_s()

    def secrets(self) -> list[str]:
        """Return every secret that must not be shown: those of the ring and the one in hand, longest first."""
        found = set(self._ring.secrets())
        if self._key is not None:
            found.add(self._key.secret)
        # One key may be the beginning of another one.
        return sorted(found, key=len, reverse=True)

    def _hold(self, slot: _Slot) -> None:
        self._slot = slot
        self._key = slot.key
        self._standing = slot.standing
        self._is_held = True
        slot.running += 1
        slot.requests += 1


class KeyRing:
    """The keys of one engine. Without any, requests go out without authorization, and nothing rests or retires.

    All methods must run on one thread.
    """

    def __init__(self, keys: Iterable[UpstreamKey] = (), *, clock: Callable[[], float]) -> None:
        """Begin with ``keys``, all of them good.

        Args:
            keys: See ``replace``.
            clock: Monotonic time, in seconds.
        """
        self._clock = clock
        self._uses = itertools.count(1)
        self._keyless = _Slot()
        self._slots: dict[str, _Slot] = {}
        self.replace(keys)

    def __len__(self) -> int:
        return len(self._slots)

    def replace(self, keys: Iterable[UpstreamKey]) -> None:
        """Have new requests use these keys. Requests that run go on with the key that they have.

        A secret that was here before rests on, or stays retired. Of keys with one name the last counts.
        """
        standings = {slot.key.secret: slot.standing for slot in self._slots.values() if slot.key is not None}
        slots: dict[str, _Slot] = {}
        for key in keys:
            slot = slots[key.name] = self._slots.get(key.name) or _Slot()
            # Two references to one secret are one key to the engine: they rest and retire together.
            slot.hold(key, standings.setdefault(key.secret, _Standing()))
        self._slots = slots

    def take(self) -> Lease | None:
        """Return a hold on the usable key with the fewest generations, of equals the one unused for longest.

        Returns:
            The hold, released by its owner; None when every key rests or has retired.
        """
        slot = self.choose(())
        return None if slot is None else Lease(self, slot)

    def rest_s(self) -> float | None:
        """Return when the next key is back from its rest, in seconds; None when none rests."""
        now_s = self._clock()
        standings = [slot.standing for slot in self._slots.values()]
        ends_s = [one.rests_until_s for one in standings if not one.is_retired and one.rests_until_s > now_s]
        return min(ends_s) - now_s if ends_s else None

    def states(self) -> list[KeyState]:
        """Return the state of every key, in the order in which they were given."""
        now_s = self._clock()
        return [
            KeyState(
                name,
                slot.running,
                not slot.standing.is_retired and slot.standing.rests_until_s > now_s,
                slot.standing.is_retired,
                slot.requests,
                slot.rejected,
            )
            for name, slot in self._slots.items()
        ]

    # For leases.

    def choose(self, tried: tuple[_Standing, ...]) -> _Slot | None:
        """Return the slot for a request that has tried these keys; None when there is no use in going on."""
        if not self._slots:
            return None if tried else self._keyless
        now_s = self._clock()
        best: _Slot | None = None
        for slot in self._slots.values():
            if not slot.standing.is_usable(now_s) or slot.standing in tried:
                continue
            if best is None or (slot.running, slot.last_use) < (best.running, best.last_use):
                best = slot
        if best is not None:
            best.last_use = next(self._uses)
        return best

    def rest(self, key: UpstreamKey, standing: _Standing, retry_after_s: float | None) -> None:
        for_s = standing.rest(retry_after_s, self._clock())
        if for_s is not None:
            _log.warning("the engine limits the rate of key %s, which rests for %.3g s", key.name, for_s)

    def retire(self, key: UpstreamKey, standing: _Standing) -> None:
        if standing.is_retired:
            return
        standing.is_retired = True
        if any(slot.standing is standing for slot in self._slots.values()):
            left = sum(not slot.standing.is_retired for slot in self._slots.values())
            _log.error(
                "the engine does not accept key %s (401), which is used no more until its value changes; keys left: %d",
                key.name,
                left,
            )

    def secrets(self) -> Iterable[str]:
        return [slot.key.secret for slot in self._slots.values() if slot.key is not None]
