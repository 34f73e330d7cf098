"""The queue of requests that wait for their limits, fair between owners.

Rules:

1. Owners are served in turn, the one whose last turn is longest ago first. An owner with a hundred waiting requests
   gets as many turns as an owner with one.
2. Within an owner it is first come, first served, for each scope: a request may pass an earlier one only if it needs
   no scope that the earlier one waits for.
3. A request that waits for a scope holds up no other owner, with one exception: of the scopes that it waits for, the
   slowest is kept for it, or small requests of others would take every token that flows in, and a long prompt would
   never get its share. The others are not kept: until the slowest has room, they would stand idle.
4. One dispatch looks at each waiting request at most once, and passes over at most ``MAX_PASSED_OVER`` of an owner.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from headrace.errors import RelayError
from headrace.policy.scopes import Scope
from headrace.policy.slots import Slot

MAX_PASSED_OVER = 32
"""Waiting requests of one owner that a dispatch passes over in search of one that can get in."""


class Waiting:
    """One request in the queue.

    Args:
        owner: Whose turn it takes.
        scopes: All that it needs.
        prompt_tokens: Estimate.
        since_s: When it asked, in monotonic seconds.
        deadline_s: When it is refused, in monotonic seconds.
        withdraw: What ``cancel`` calls.
    """

    __slots__ = (
        "_withdraw",
        "blockers",
        "deadline_s",
        "on_decided",
        "outcome",
        "owner",
        "prompt_tokens",
        "scopes",
        "since_s",
    )

    def __init__(
        self,
        owner: str,
        scopes: tuple[Scope, ...],
        prompt_tokens: int,
        *,
        since_s: float,
        deadline_s: float,
        withdraw: Callable[[Waiting], None],
    ) -> None:
        self.owner = owner
        self.scopes = scopes
        self.prompt_tokens = prompt_tokens
        self.since_s = since_s
        self.deadline_s = deadline_s
        self.blockers: list[Scope] = []
        """Those of the scopes that it waited for when it was last looked at."""
        self.outcome: Slot | RelayError | None = None
        """None while it waits. Set before ``on_decided`` is called."""
        self.on_decided: Callable[[], None] | None = None
        """Called once, unless the request is cancelled before. To be set right after ``ask``; must not raise."""
        self._withdraw = withdraw

    def cancel(self) -> None:
        """Ask for nothing any more: the request leaves the queue; a slot that it was given is undone. Idempotent."""
        self.on_decided = None
        self._withdraw(self)

    def wait_for(self, blockers: list[Scope]) -> None:
        """Note what it waits for."""
        if blockers != self.blockers:
            for scope in self.blockers:
                scope.wanted -= 1
            for scope in blockers:
                scope.wanted += 1
            self.blockers = blockers


class FairQueue:
    """Waiting requests in a line for each owner."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[Waiting, None]] = {}
        """By owner; the one whose turn it is comes first. No line is empty."""
        self._size = 0
        self._soonest_s = math.inf
        """No request's deadline is before."""

    def __len__(self) -> int:
        return self._size

    def length_of(self, owner: str) -> int:
        """Return how many requests of ``owner`` wait."""
        return len(self._lines.get(owner, ()))

    def push(self, waiting: Waiting, blockers: list[Scope]) -> None:
        """Put a request at the end of its owner's line."""
        self._lines.setdefault(waiting.owner, {})[waiting] = None
        self._size += 1
        self._soonest_s = min(self._soonest_s, waiting.deadline_s)
        for scope in waiting.scopes:
            scope.queued += 1
        waiting.wait_for(blockers)

    def remove(self, waiting: Waiting) -> bool:
        """Take a request out. False when it is not in the queue."""
        line = self._lines.get(waiting.owner, {})
        if waiting not in line:
            return False
        del line[waiting]
        if not line:
            del self._lines[waiting.owner]
        self._size -= 1
        for scope in waiting.scopes:
            scope.queued -= 1
        waiting.wait_for([])
        return True

    def expired(self, now_s: float) -> list[Waiting]:
        """Return those whose deadline has come. They stay in the queue."""
        if now_s < self._soonest_s:
            return []
        everybody = [waiting for line in self._lines.values() for waiting in line]
        self._soonest_s = min((w.deadline_s for w in everybody if w.deadline_s > now_s), default=math.inf)
        return [waiting for waiting in everybody if waiting.deadline_s <= now_s]

    def admissible(self, now_s: float, freed: frozenset[Scope] = frozenset()) -> Iterator[Waiting]:
        """Take out and yield one request after another that can get in.

        Each has to enter its scopes before the next is asked for, and nothing else may change meanwhile.

        Args:
            now_s: Monotonic seconds.
            freed: Scopes where room came free: the search is over when it is gone. None: everybody is looked at.
        """
        dispatch = _Dispatch(self, now_s, freed)
        turns = deque(self._lines)
        searches: dict[str, Iterator[Waiting]] = {}
        while turns and not dispatch.is_over:
            owner = turns.popleft()
            if owner not in searches:
                searches[owner] = dispatch.search(self._lines[owner])
            waiting = next(searches[owner], None)
            if waiting is None:
                continue
            self._end_turn(waiting)
            yield waiting
            if owner in self._lines:
                turns.append(owner)

    def _end_turn(self, waiting: Waiting) -> None:
        self.remove(waiting)
        line = self._lines.pop(waiting.owner, None)
        if line is not None:
            self._lines[waiting.owner] = line


class _Dispatch:
    """One look at the queue. During it scopes only fill up, so that who is held up once is not looked at again."""

    __slots__ = ("_freed", "_now_s", "_queue", "_shut", "is_over")

    def __init__(self, queue: FairQueue, now_s: float, freed: frozenset[Scope]) -> None:
        self._queue = queue
        self._now_s = now_s
        self._freed = freed
        self._shut: set[Scope] = set()
        """Scopes that nobody can enter any more: they are full, or kept for somebody."""
        self.is_over = False
        """Whether nobody else can get in: usually soon, which makes a long queue cheap."""

    def search(self, line: dict[Waiting, None]) -> Iterator[Waiting]:
        """Yield the requests of one owner that can get in, in order."""
        behind: set[Scope] = set()
        passed_over = 0
        for waiting in list(line):
            blockers = self._blockers(waiting, behind)
            if not blockers:
                yield waiting
                continue
            waiting.wait_for(blockers)
            behind.update(blockers)
            passed_over += 1
            if passed_over == MAX_PASSED_OVER or self.is_over:
                return

    def _blockers(self, waiting: Waiting, behind: set[Scope]) -> list[Scope]:
        blockers: list[Scope] = []
        waits: dict[Scope, float] = {}
        for scope in waiting.scopes:
            if scope in behind or scope in self._shut:
                blockers.append(scope)
            elif (wait_s := scope.wait_s(waiting.prompt_tokens, self._now_s)) > 0:
                blockers.append(scope)
                waits[scope] = wait_s
        if waits:
            self._shut_full(waits)
            if len(waits) == len(blockers):
                # Who waits behind another as well has no claim of its own yet.
                self._shut_off(max(waits, key=waits.__getitem__))
        return blockers

    def _shut_full(self, waits: dict[Scope, float]) -> None:
        """Shut those which not even the smallest request could enter."""
        for scope in waits:
            if scope.wait_s(0, self._now_s) > 0:
                self._shut_off(scope)

    def _shut_off(self, scope: Scope) -> None:
        self._shut.add(scope)
        is_needed_by_all = scope.queued == len(self._queue)
        is_room_gone = bool(self._freed) and self._freed <= self._shut
        self.is_over = self.is_over or is_needed_by_all or is_room_gone


def blockers_of(scopes: Sequence[Scope], prompt_tokens: int, now_s: float) -> list[Scope]:
    """Return the scopes that a new request would have to wait for: they are full, or others wait for them."""
    return [scope for scope in scopes if scope.wanted or scope.wait_s(prompt_tokens, now_s) > 0]
