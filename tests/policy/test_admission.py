"""Admission: who gets in, who waits, who is refused."""

from __future__ import annotations

from functools import partial

import pytest
from tests.policy.gate import FREE, Gate, refused, slot, waiting

from headrace.errors import ClientRequestError, RateLimited
from headrace.policy.admission import QueueLimits
from headrace.policy.queueing import Waiting
from headrace.policy.scopes import MAX_SWEPT, ScopeKind
from headrace.types.access import Allowance

ONE = Allowance(concurrent_streams=1)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.mark.parametrize("kind", list(ScopeKind))
@pytest.mark.parametrize(
    "allowance",
    [ONE, Allowance(requests_per_minute=1), Allowance(tokens_per_minute=19)],
    ids=["slot", "rate", "tokens"],
)
def test_every_limit_of_every_scope_bounds(gate: Gate, kind: ScopeKind, allowance: Allowance) -> None:
    def ask() -> Waiting | object:
        scopes = [gate.admission.scope(each, "x", allowance if each is kind else FREE) for each in ScopeKind]
        return gate.admission.ask("ann", scopes, 10)

    assert not isinstance(ask(), Waiting)
    assert isinstance(ask(), Waiting)


def test_without_limits_everybody_gets_in(gate: Gate) -> None:
    for number in range(100):
        slot(gate.ask(str(number), prompt=10**6))
    assert gate.admission.queued == 0


def test_a_slot_that_ends_admits_the_next_and_tells_it(gate: Gate) -> None:
    first = slot(gate.ask(engine=ONE))
    second, third = gate.ask(engine=ONE), gate.ask(engine=ONE)
    first.release()
    assert gate.decided == [second]
    slot(second)
    waiting(third)
    assert gate.admission.queued == 1


def test_rates_admit_as_they_refill(gate: Gate) -> None:
    rate = Allowance(requests_per_minute=60)
    for _ in range(60):
        slot(gate.ask(engine=rate))
    asked = gate.ask(engine=rate)
    gate.later(0.9)
    waiting(asked)
    gate.later(0.1)
    slot(asked)


def test_a_prompt_too_long_is_refused_without_waiting(gate: Gate) -> None:
    with pytest.raises(ClientRequestError, match="max_prompt_tokens = 5"):
        gate.ask(prompt=6, own=Allowance(max_prompt_tokens=5))
    with pytest.raises(ClientRequestError, match="tokens_per_minute = 5"):
        gate.ask(prompt=6, model=("m", Allowance(tokens_per_minute=5)))
    assert (gate.admission.queued, gate.admission.known_scopes) == (0, 0)


@pytest.mark.parametrize(
    "limits", [QueueLimits(queue_s=0), QueueLimits(max_queued=0), QueueLimits(max_queued_per_owner=0)]
)
def test_without_a_queue_nobody_waits(limits: QueueLimits) -> None:
    gate = Gate(limits)
    slot(gate.ask(own=ONE))
    with pytest.raises(RateLimited) as caught:
        gate.ask(own=ONE)
    assert str(caught.value) == "rate limit reached: the owner has concurrent_streams = 1 running. Try again in 1s."


def test_the_queue_is_bounded_in_all_and_for_each_owner() -> None:
    gate = Gate(QueueLimits(max_queued=5, max_queued_per_owner=3, queue_s=10))
    slot(gate.ask(engine=ONE))
    for _ in range(3):
        waiting(gate.ask("ann", engine=ONE))
    with pytest.raises(RateLimited, match="max_queued_per_owner = 3 requests of this owner wait already"):
        gate.ask("ann", engine=ONE)
    for _ in range(2):
        waiting(gate.ask("bob", engine=ONE))
    with pytest.raises(RateLimited, match="max_queued = 5 requests wait already"):
        gate.ask("cid", engine=ONE)
    assert gate.admission.queued == 5


def test_at_its_deadline_a_request_is_refused_with_the_wait_it_would_have_needed(gate: Gate) -> None:
    rate = Allowance(tokens_per_minute=60)
    slot(gate.ask(prompt=60, own=rate))
    asked = gate.ask(prompt=30, own=rate)
    gate.later(9.9)
    waiting(asked)
    gate.later(0.1)
    error = refused(asked)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == pytest.approx(20)
    assert str(error).startswith("rate limit reached: the owner is at tokens_per_minute = 60 after 10s in the queue.")
    assert ("x-ratelimit-remaining-tokens", "10") in error.headers
    assert gate.decided == [asked]
    assert gate.admission.queued == 0


def test_a_slot_that_ends_late_does_not_admit_whose_deadline_has_passed(gate: Gate) -> None:
    first = slot(gate.ask(engine=ONE))
    asked = gate.ask(engine=ONE)
    gate.now_s = 10.5
    first.release()
    refused(asked)


def test_a_request_that_smaller_limits_have_made_impossible_is_told_so(gate: Gate) -> None:
    rate = Allowance(tokens_per_minute=60)
    slot(gate.ask(prompt=60, own=rate))
    asked = gate.ask(prompt=30, own=rate)
    gate.scopes("ann", own=Allowance(tokens_per_minute=20))
    gate.later(10)
    assert refused(asked).code == "prompt_too_long"


def test_larger_limits_admit_who_waits(gate: Gate) -> None:
    slot(gate.ask(own=ONE))
    asked = gate.ask(own=ONE)
    gate.scopes("ann", own=Allowance(concurrent_streams=2))
    gate.later(0.1)
    slot(asked)


def test_new_limits_of_the_queue_hold_for_who_comes_next(gate: Gate) -> None:
    slot(gate.ask(own=ONE))
    early = gate.ask(own=ONE)
    gate.admission.limits = QueueLimits(queue_s=1)
    late = gate.ask(own=ONE)
    gate.later(1)
    waiting(early)
    refused(late)
    gate.later(9)
    refused(early)


def test_who_cancels_leaves_nothing_behind(gate: Gate) -> None:
    first = slot(gate.ask(engine=ONE))
    asked, behind = waiting(gate.ask(engine=ONE)), gate.ask("bob", engine=ONE)
    asked.cancel()
    asked.cancel()
    first.release()
    assert asked.outcome is None
    assert gate.decided == [behind]
    slot(behind).release()
    assert (gate.admission.queued, gate.admission.known_scopes) == (0, 0)


def test_who_cancels_after_the_decision_gives_the_slot_back(gate: Gate) -> None:
    limits = Allowance(concurrent_streams=1, requests_per_minute=10, tokens_per_minute=100)
    first = slot(gate.ask(engine=limits))
    asked, behind = waiting(gate.ask(prompt=50, engine=limits)), gate.ask("bob", engine=limits)
    first.undo()
    asked.cancel()
    asked.cancel()
    slot(behind).undo()
    assert gate.admission.known_scopes == 0


def test_who_cancels_before_being_told_is_not_told(gate: Gate) -> None:
    two = Allowance(concurrent_streams=2)
    slots = [slot(gate.ask(engine=two)) for _ in range(2)]
    first, second = waiting(gate.ask(engine=two)), waiting(gate.ask(engine=two))
    # Both are decided in one dispatch; the first to hear of it cancels the second.
    first.on_decided = second.cancel
    gate.admission.limits = QueueLimits(queue_s=0)
    gate.scopes("ann", engine=Allowance(concurrent_streams=4))
    gate.later(0.1)
    assert gate.decided == []
    assert slot(second).is_over
    assert not slot(first).is_over
    assert not any(one.is_over for one in slots)


def test_callbacks_may_end_slots_without_end(gate: Gate) -> None:
    first = slot(gate.ask(engine=ONE))
    everybody = [waiting(gate.ask(f"owner {number % 7}", engine=ONE)) for number in range(900)]
    for each in everybody:
        each.on_decided = partial(hear_and_end, gate, each)
    first.release()
    assert len(gate.decided) == 900
    assert (gate.admission.queued, gate.admission.known_scopes) == (0, 0)


def hear_and_end(gate: Gate, decided: Waiting) -> None:
    gate.decided.append(decided)
    slot(decided).release()


def test_a_callback_that_raises_silences_nobody_for_long(gate: Gate) -> None:
    first, second = waiting_pair(gate)

    def fail() -> None:
        raise RuntimeError("of the callback")

    first.on_decided = fail
    with pytest.raises(RuntimeError, match="of the callback"):
        gate.later(10)
    assert gate.decided == []
    gate.later(0.1)
    assert gate.decided == [second]


def waiting_pair(gate: Gate) -> tuple[Waiting, Waiting]:
    slot(gate.ask(engine=ONE))
    return waiting(gate.ask(engine=ONE)), waiting(gate.ask(engine=ONE))


def test_a_newcomer_does_not_overtake_who_waits_for_the_same(gate: Gate) -> None:
    rate = Allowance(tokens_per_minute=60)
    slot(gate.ask("ann", prompt=60, engine=rate))
    large = gate.ask("ann", prompt=5, engine=rate)
    # There is room for the small ones, but somebody waits for it.
    gate.now_s = 3.0
    small, of_another = gate.ask("ann", prompt=1, engine=rate), gate.ask("bob", prompt=1, engine=rate)
    waiting(small)
    waiting(of_another)
    gate.later(2)
    slot(large)
    waiting(small)
    gate.later(2)
    slot(of_another)
    slot(small)


def test_a_newcomer_passes_who_waits_for_something_else(gate: Gate) -> None:
    slot(gate.ask("ann", model=("full", ONE)))
    stuck = gate.ask("ann", model=("full", ONE))
    slot(gate.ask("ann", model=("free", ONE)))
    slot(gate.ask("bob", model=("other", ONE)))
    waiting(stuck)


def test_a_newcomer_gets_in_at_once_where_who_waits_needs_the_room_no_longer(gate: Gate) -> None:
    rate = Allowance(requests_per_minute=60)
    for _ in range(60):
        slot(gate.ask(engine=rate))
    early = gate.ask("bob", engine=rate)
    gate.now_s = 2.0
    late = gate.ask("cid", engine=rate)
    assert gate.decided == [early]
    slot(early)
    slot(late)


def test_names_that_clients_make_up_are_forgotten(gate: Gate) -> None:
    rate = Allowance(requests_per_minute=60)
    for number in range(1000):
        slot(gate.ask(model=(str(number), rate), engine=rate if number < 30 else FREE)).settle(10, gate.now_s)
    # Keys, owner and engine are free by now; the models have a second to refill.
    assert gate.admission.known_scopes == 1000
    for _ in range(1000 // MAX_SWEPT + 1):
        gate.later(1)
    assert gate.admission.known_scopes == 0


def test_ends_of_slots_are_enough_to_forget_names(gate: Gate) -> None:
    for number in range(200):
        slot(gate.ask(model=(str(number), Allowance(requests_per_minute=60)))).settle(10, gate.now_s)
        gate.now_s += 1
        assert gate.admission.known_scopes <= 2


def test_a_scope_that_was_forgotten_between_finding_and_asking_still_bounds(gate: Gate) -> None:
    mine, yours = gate.scopes("ann", engine=ONE), None
    gate.later(0.1)
    assert gate.admission.known_scopes == 0
    yours = gate.scopes("bob", engine=ONE)
    slot(gate.admission.ask("bob", yours, 0))
    waiting(gate.admission.ask("ann", mine, 0))
