"""Admission beside a naive model in exact arithmetic: any order of asking, ending, cancelling, waiting and changing limits."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.policy.gate import Gate

from headrace.errors import ClientRequestError, RateLimited
from headrace.policy.admission import QueueLimits
from headrace.policy.queueing import Waiting
from headrace.policy.scopes import Scope, ScopeKind
from headrace.policy.slots import Slot
from headrace.types.access import Allowance

LIMITS = QueueLimits(max_queued=7, max_queued_per_owner=4, queue_s=5.0)
OWNERS = ["ann", "bob", "cid"]
NAMES = [
    *((ScopeKind.KEY, f"{owner} {number}") for owner in OWNERS for number in range(2)),
    *((ScopeKind.OWNER, owner) for owner in OWNERS),
    *((ScopeKind.MODEL, model) for model in "mn"),
    (ScopeKind.ENGINE, "e"),
]
ALLOWANCES = st.builds(
    Allowance,
    concurrent_streams=st.sampled_from([None, None, 1, 2, 3]),
    requests_per_minute=st.sampled_from([None, None, 2, 60, 300]),
    tokens_per_minute=st.sampled_from([None, None, 60, 100, 1200]),
    max_prompt_tokens=st.sampled_from([None, None, None, 80]),
)
Name = tuple[ScopeKind, str]


class Level:
    """A bucket, in fractions."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self.level = Fraction(per_minute)

    def add(self, amount: Fraction | int) -> None:
        self.level = min(Fraction(self.per_minute), self.level + amount)


class Room:
    """A scope."""

    def __init__(self) -> None:
        self.allowance = Allowance()
        self.running = 0
        self.requests: Level | None = None
        self.tokens: Level | None = None

    def adopt(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.requests = resized(self.requests, allowance.requests_per_minute)
        self.tokens = resized(self.tokens, allowance.tokens_per_minute)

    def lacks(self, prompt: int) -> bool:
        most = self.allowance.concurrent_streams
        return (
            (most is not None and self.running >= most)
            or (self.requests is not None and self.requests.level < 1)
            or (self.tokens is not None and self.tokens.level < prompt)
        )

    def is_kept(self) -> bool:
        """Whether all limits are, just after somebody was admitted."""
        most = self.allowance.concurrent_streams
        return (most is None or self.running <= most) and all(
            each is None or each.level >= -Fraction(1, 1000) for each in (self.requests, self.tokens)
        )


def resized(level: Level | None, per_minute: int | None) -> Level | None:
    if per_minute is None:
        return None
    if level is None:
        return Level(per_minute)
    share = Fraction(per_minute, level.per_minute)
    level.level *= share if level.level > 0 else min(Fraction(1), share)
    level.per_minute = per_minute
    return level


class AdmissionMachine(RuleBasedStateMachine):
    """What is asked of the gate is done to the rooms as well."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(LIMITS)
        self.rooms = {name: Room() for name in NAMES}
        self.slots: dict[Slot, int] = {}
        """Running; with what each has taken from buckets of tokens."""
        self.queue: list[Waiting] = []
        """In the order of asking."""

    # --- what can happen

    @rule(name=st.sampled_from(NAMES), allowance=ALLOWANCES)
    def change(self, name: Name, allowance: Allowance) -> None:
        self.rooms[name].adopt(allowance)
        self.gate.admission.scope(*name, allowance)

    @rule(
        owner=st.sampled_from(OWNERS),
        key=st.integers(0, 1),
        model=st.sampled_from("mn"),
        prompt=st.sampled_from([0, 1, 20, 90]),
        times=st.integers(1, 3),
    )
    def ask(self, owner: str, key: int, model: str, prompt: int, times: int) -> None:
        names = [
            (ScopeKind.KEY, f"{owner} {key}"),
            (ScopeKind.OWNER, owner),
            (ScopeKind.MODEL, model),
            (ScopeKind.ENGINE, "e"),
        ]
        for _ in range(times):
            scopes = [self.gate.admission.scope(*name, self.rooms[name].allowance) for name in names]
            try:
                answer = self.gate.admission.ask(owner, scopes, prompt)
            except ClientRequestError:
                assert any(self.is_too_long(name, prompt) for name in names)
            except RateLimited:
                self.told()
                assert len(self.queue) == LIMITS.max_queued or self.waiting_of(owner) == LIMITS.max_queued_per_owner
            else:
                assert not any(self.is_too_long(name, prompt) for name in names)
                self.answered(answer)

    @precondition(lambda self: self.slots)
    @rule(data=st.data(), tokens=st.integers(0, 100))
    def take(self, data: st.DataObject, tokens: int) -> None:
        slot = data.draw(st.sampled_from(list(self.slots)))
        slot.take(tokens, self.gate.now_s)
        self.slots[slot] += tokens
        self.pour(slot.scopes, -tokens)
        assert (slot.tokens_left(self.gate.now_s) < 0) == any(
            room.tokens is not None and room.tokens.level < -Fraction(1, 10**6) for room in self.rooms_of(slot.scopes)
        )

    @precondition(lambda self: self.slots)
    @rule(data=st.data(), how=st.sampled_from(["settle", "release", "undo"]), tokens=st.integers(0, 150))
    def end(self, data: st.DataObject, how: str, tokens: int) -> None:
        slot = data.draw(st.sampled_from(list(self.slots)))
        self.leave(slot, how, tokens)
        match how:
            case "settle":
                slot.settle(tokens, self.gate.now_s)
            case "release":
                slot.release()
            case _:
                slot.undo()
        self.told()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiting = data.draw(st.sampled_from(self.queue))
        waiting.cancel()
        self.queue.remove(waiting)

    @rule(quarters=st.sampled_from([1, 2, 4, 12, 40, 400]))
    def later(self, quarters: int) -> None:
        for room in self.rooms.values():
            for each in (room.requests, room.tokens):
                if each is not None:
                    each.add(Fraction(quarters, 4) * Fraction(each.per_minute, 60))
        self.gate.later(quarters / 4)
        self.told()
        assert all(waiting.deadline_s > self.gate.now_s for waiting in self.queue)
        self.check_nobody_waits_for_nothing()

    # --- what must hold

    @invariant()
    def queue_is_bounded(self) -> None:
        assert self.gate.admission.queued == len(self.queue) <= LIMITS.max_queued
        assert all(self.waiting_of(owner) <= LIMITS.max_queued_per_owner for owner in OWNERS)
        assert all(waiting.outcome is None for waiting in self.queue)

    @invariant()
    def scopes_are_as_the_model_says(self) -> None:
        known = self.gate.admission._scopes._known
        for name, room in self.rooms.items():
            scope = known.get(name) or Scope(*name)
            if name not in known:
                scope.adopt(room.allowance, self.gate.now_s)
            assert scope.running == room.running
            assert scope.queued == sum(scope in waiting.scopes for waiting in self.queue)
            assert scope.wanted == sum(scope in waiting.blockers for waiting in self.queue)
            for bucket, level in ((scope.requests, room.requests), (scope.tokens, room.tokens)):
                assert (bucket is None) == (level is None)
                if bucket is not None and level is not None:
                    assert bucket.level(self.gate.now_s) == pytest.approx(float(level.level), abs=1e-5)

    def check_nobody_waits_for_nothing(self) -> None:
        lacking = {
            scope
            for waiting in self.queue
            for scope, room in zip(waiting.scopes, self.rooms_of(waiting.scopes), strict=True)
            if room.lacks(waiting.prompt_tokens)
        }
        assert all(not lacking.isdisjoint(waiting.scopes) for waiting in self.queue)

    def teardown(self) -> None:
        for waiting in self.queue:
            waiting.cancel()
        for number, slot in enumerate(list(self.slots)):
            (slot.release if number % 2 else slot.undo)()
        assert all(scope.running == scope.queued == scope.wanted == 0 for scope in self.scopes())
        self.gate.later(24 * 3600)
        assert self.gate.admission.known_scopes == 0
        assert self.gate.admission.queued == 0

    # --- the model

    def answered(self, answer: Slot | Waiting) -> None:
        if isinstance(answer, Waiting):
            # Who is decided from now on is told; nobody was while it was asked for.
            self.told()
            assert answer.outcome is None
            self.queue.append(answer)
            answer.on_decided = lambda: self.gate.decided.append(answer)
        else:
            self.told(answer)

    def told(self, *slots: Slot) -> None:
        """Take over what was decided in one call."""
        decided, self.gate.decided = self.gate.decided, []
        admitted = list(slots)
        asked = list(self.queue)
        for waiting in decided:
            self.queue.remove(waiting)
            if isinstance(waiting.outcome, Slot):
                admitted.append(waiting.outcome)
            else:
                assert waiting.outcome is not None
                assert self.gate.now_s >= waiting.deadline_s
        for waiting in decided:
            if isinstance(waiting.outcome, Slot):
                earlier = asked[: asked.index(waiting)]
                assert all(other.scopes != waiting.scopes for other in earlier if other in self.queue)
        # Who got in without waiting came last.
        assert all(other.scopes != slot.scopes for other in self.queue for slot in slots)
        for slot in admitted:
            self.slots[slot] = slot.prompt_tokens
            self.pour(slot.scopes, -slot.prompt_tokens, requests=-1)
            for room in self.rooms_of(slot.scopes):
                room.running += 1
        assert all(room.is_kept() for slot in admitted for room in self.rooms_of(slot.scopes))

    def leave(self, slot: Slot, how: str, tokens: int) -> None:
        taken = self.slots.pop(slot)
        left = tokens if how == "settle" else 0
        self.pour(slot.scopes, taken - left, requests=int(how == "undo"))
        for room in self.rooms_of(slot.scopes):
            room.running -= 1

    def pour(self, scopes: tuple[Scope, ...], tokens: int, *, requests: int = 0) -> None:
        for room in self.rooms_of(scopes):
            if room.tokens is not None:
                room.tokens.add(tokens)
            if room.requests is not None:
                room.requests.add(requests)

    def rooms_of(self, scopes: tuple[Scope, ...]) -> list[Room]:
        return [self.rooms[scope.kind, scope.name] for scope in scopes]

    def scopes(self) -> list[Scope]:
        return list(self.gate.admission._scopes._known.values())

    def is_too_long(self, name: Name, prompt: int) -> bool:
        allowance = self.rooms[name].allowance
        limits = (allowance.max_prompt_tokens, allowance.tokens_per_minute)
        return any(limit is not None and prompt > limit for limit in limits)

    def waiting_of(self, owner: str) -> int:
        return sum(waiting.owner == owner for waiting in self.queue)


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
