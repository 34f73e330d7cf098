"""Admission: which requests may begin now, which wait, and which are refused.

A request needs room in all its scopes: its key, its owner, its model and its engine. Nobody is ever admitted beyond
any limit of any of them. Who finds no room waits in a bounded queue, for a bounded time, in fair order
(``queueing``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from headrace.errors import ClientRequestError, RelayError
from headrace.policy.queueing import FairQueue, Waiting, blockers_of
from headrace.policy.quota import go_duration
from headrace.policy.refusals import check_possible, refusal
from headrace.policy.scopes import Scope, ScopeKind, Scopes
from headrace.policy.slots import Slot
from headrace.types.access import Allowance


class QueueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many may wait for room, and how long. 0 for any of them: nobody waits."""

    max_queued: int = 1000
    max_queued_per_owner: int = 250
    queue_s: float = 10.0


class Admission:
    """Admits requests. Never blocks, and calls back only at the end of its own calls.

    Args:
        limits: Of the queue. May be replaced at any time; who waits already keeps the deadline it has.
        clock: Monotonic seconds.
    """

    def __init__(self, limits: QueueLimits, clock: Callable[[], float]) -> None:
        self.limits = limits
        self._clock = clock
        self._scopes = Scopes()
        self._queue = FairQueue()
        self._decided: deque[Waiting] = deque()
        """Those whose owners do not know yet."""
        self._is_telling = False

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @property
    def known_scopes(self) -> int:
        """Scopes that are in use, or whose buckets still refill."""
        return len(self._scopes)

    def scope(self, kind: ScopeKind, name: str, allowance: Allowance) -> Scope:
        """Return the scope of this name, for ``ask``. From now on it has these limits, for all its requests."""
        return self._scopes.find(kind, name, allowance, self._clock())

    def ask(self, owner: str, scopes: Sequence[Scope], prompt_tokens: int) -> Slot | Waiting:
        """Ask for a slot.

        Args:
            owner: Whose turn in the queue it takes.
            scopes: All that the request needs, each once.
            prompt_tokens: Estimate.

        Returns:
            A slot, which its caller has to end; or a place in the queue, which is decided by its deadline at the
            latest, in ``dispatch``.

        Raises:
            ClientRequestError: The prompt is too long for a scope; it would never get in (400).
            RateLimited: There is no room in a scope, and none in the queue (429).
        """
        now_s = self._clock()
        known = self._scopes.known(scopes)
        try:
            return self._decide(owner, known, prompt_tokens, now_s)
        except RelayError:
            self._scopes.let_go(known, now_s)
            raise

    def revise(self, limits: QueueLimits, allowance_of: Callable[[ScopeKind, str], Allowance | None]) -> None:
        """Go by new limits at once: of those who run, and of those who wait, whom they may let in.

        Args:
            limits: Of the queue; who waits already keeps the deadline it has.
            allowance_of: Tells the limits of a scope; None for those that it has.
        """
        now_s = self._clock()
        self.limits = limits
        self._scopes.revise(allowance_of, now_s)
        self._dispatch(now_s, frozenset())

    def dispatch(self, now_s: float) -> None:
        """Refuse whose deadline has come, admit whoever can get in, and tell them.

        To be called about ten times a second: rates refill, and deadlines pass. Who waits for a slot need not wait for
        it: a slot that ends admits the next.
        """
        self._dispatch(now_s, frozenset())

    def _dispatch(self, now_s: float, freed: frozenset[Scope]) -> None:
        for waiting in self._queue.expired(now_s):
            self._refuse(waiting, now_s)
        for waiting in self._queue.admissible(now_s, freed):
            waiting.outcome = self._admit(waiting.scopes, waiting.prompt_tokens)
            self._decided.append(waiting)
        self._scopes.sweep(now_s)
        self._tell()

    def _decide(self, owner: str, scopes: tuple[Scope, ...], prompt_tokens: int, now_s: float) -> Slot | Waiting:
        check_possible(scopes, prompt_tokens)
        blockers = blockers_of(scopes, prompt_tokens, now_s)
        if not blockers:
            return self._admit(scopes, prompt_tokens)
        why = self._why_not_wait(owner)
        if why is not None:
            raise refusal(scopes, blockers, prompt_tokens, why, now_s)
        waiting = Waiting(
            owner,
            scopes,
            prompt_tokens,
            since_s=now_s,
            deadline_s=now_s + self.limits.queue_s,
            withdraw=self._withdraw,
        )
        self._queue.push(waiting, blockers)
        if not any(scope.wait_s(prompt_tokens, now_s) for scope in scopes):
            # There is room, but others wait for it: perhaps for something else by now, or it is enough for all.
            self.dispatch(now_s)
        return waiting.outcome if isinstance(waiting.outcome, Slot) else waiting

    def _why_not_wait(self, owner: str) -> str | None:
        limits = self.limits
        if limits.queue_s <= 0 or not limits.max_queued or not limits.max_queued_per_owner:
            return ""
        if len(self._queue) >= limits.max_queued:
            return f", and max_queued = {limits.max_queued} requests wait already"
        if self._queue.length_of(owner) >= limits.max_queued_per_owner:
            return f", and max_queued_per_owner = {limits.max_queued_per_owner} requests of this owner wait already"
        return None

    def _admit(self, scopes: tuple[Scope, ...], prompt_tokens: int) -> Slot:
        return Slot(scopes, prompt_tokens, self._clock, self._ended)

    def _refuse(self, waiting: Waiting, now_s: float) -> None:
        waiting.outcome = _after_waiting(waiting, now_s)
        self._queue.remove(waiting)
        self._scopes.let_go(waiting.scopes, now_s)
        self._decided.append(waiting)

    def _withdraw(self, waiting: Waiting) -> None:
        # Who waited behind it is seen by the next dispatch: a thousand clients that leave at once must not cause as
        # many.
        if self._queue.remove(waiting):
            self._scopes.let_go(waiting.scopes, self._clock())
        elif isinstance(waiting.outcome, Slot):
            waiting.outcome.undo()

    def _ended(self, slot: Slot) -> None:
        now_s = self._clock()
        self._scopes.let_go(slot.scopes, now_s)
        freed = frozenset(scope for scope in slot.scopes if scope.wanted)
        if freed:
            self._dispatch(now_s, freed)
        else:
            self._scopes.sweep(now_s)

    def _tell(self) -> None:
        # A callback may end slots or ask for more, and so come here again: then this loop goes on with what it
        # decided. What a callback raises is its caller's; the others are told by the next dispatch.
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._decided:
                waiting = self._decided.popleft()
                if waiting.on_decided is not None:
                    waiting.on_decided()
        finally:
            self._is_telling = False


def _after_waiting(waiting: Waiting, now_s: float) -> RelayError:
    try:
        # Limits may have become smaller meanwhile.
        check_possible(waiting.scopes, waiting.prompt_tokens)
    except ClientRequestError as error:
        return error
    waited = go_duration(round(now_s - waiting.since_s, 1))
    blockers = waiting.blockers or list(waiting.scopes)
    return refusal(waiting.scopes, blockers, waiting.prompt_tokens, f" after {waited} in the queue", now_s)
