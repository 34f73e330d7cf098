"""The queue: fair between owners, in order within one, never longer blocked than needed."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.policy.gate import Gate, refused, slot, waiting

from headrace.policy.admission import QueueLimits
from headrace.policy.queueing import MAX_PASSED_OVER, FairQueue, Waiting
from headrace.policy.scopes import Scope, ScopeKind
from headrace.policy.slots import Slot
from headrace.types.access import Allowance

ONE = Allowance(concurrent_streams=1)
LONG = QueueLimits(max_queued=2000, max_queued_per_owner=2000, queue_s=10_000)


@pytest.fixture
def gate() -> Gate:
    return Gate(LONG)


def serve(gate: Gate, first: Slot, turns: int) -> list[str]:
    """End one stream after another, and return whose turn it was each time."""
    served = []
    running = first
    for _ in range(turns):
        running.release()
        served.append(gate.decided[-1].owner)
        running = slot(gate.decided[-1])
    return served


def test_two_owners_of_whom_one_asks_a_hundred_times_as_much_take_turns(gate: Gate) -> None:
    running = slot(gate.ask("loud", engine=ONE))
    for number in range(500):
        gate.ask("loud", engine=ONE)
        if number % 100 == 0:
            gate.ask("calm", engine=ONE)
    served = serve(gate, running, 20)
    assert Counter(served[:10]) == {"loud": 5, "calm": 5}
    assert set(served[10:]) == {"loud"}


def test_an_owner_who_always_has_one_waiting_gets_every_other_turn(gate: Gate) -> None:
    running = slot(gate.ask("loud", engine=ONE))
    for _ in range(100):
        gate.ask("loud", engine=ONE)
    served = []
    gate.ask("calm", engine=ONE)
    for _ in range(40):
        running.release()
        running = slot(gate.decided[-1])
        served.append(gate.decided[-1].owner)
        if served[-1] == "calm":
            gate.ask("calm", engine=ONE)
    assert Counter(served) == {"loud": 20, "calm": 20}


def test_rates_are_shared_like_slots(gate: Gate) -> None:
    rate = Allowance(requests_per_minute=60)
    for _ in range(60):
        gate.ask("loud", engine=rate)
    for _ in range(100):
        gate.ask("loud", engine=rate)
    for _ in range(10):
        gate.ask("calm", engine=rate)
    for _ in range(20):
        gate.later(1)
    assert Counter(each.owner for each in gate.decided) == {"loud": 10, "calm": 10}


def test_within_an_owner_it_is_first_come_first_served(gate: Gate) -> None:
    running = slot(gate.ask(engine=ONE))
    asked = [gate.ask(key=(f"key {number % 3}", ONE), engine=ONE) for number in range(9)]
    serve(gate, running, 9)
    assert gate.decided == asked


@pytest.mark.parametrize("kind", ["key", "own", "model"])
def test_who_waits_for_its_own_scope_blocks_no_other_owner(gate: Gate, kind: str) -> None:
    two = Allowance(concurrent_streams=2)

    def ask(owner: str) -> Slot | Waiting:
        match kind:
            case "key":
                return gate.ask(owner, key=(f"key {owner}", ONE), engine=two)
            case "own":
                return gate.ask(owner, own=ONE, engine=two)
            case _:
                return gate.ask(owner, model=(f"model {owner}", ONE), engine=two)

    slot(ask("ann"))
    running = slot(gate.ask("eve", engine=two))
    stuck, free = ask("ann"), ask("bob")
    running.release()
    waiting(stuck)
    slot(free)


def test_a_request_to_another_model_passes_its_owners_stuck_head(gate: Gate) -> None:
    two = Allowance(concurrent_streams=2)
    slot(gate.ask(model=("full", ONE), engine=two))
    running = slot(gate.ask("eve", engine=two))
    stuck, behind = gate.ask(model=("full", ONE), engine=two), gate.ask(model=("full", ONE), engine=two)
    passing = gate.ask(model=("free", ONE), engine=two)
    running.release()
    slot(passing)
    waiting(stuck)
    waiting(behind)


def test_no_more_than_a_few_stuck_ones_are_passed_over_at_once(gate: Gate) -> None:
    two = Allowance(concurrent_streams=2)
    first = slot(gate.ask(model=("full", ONE), engine=two))
    running = slot(gate.ask("eve", engine=two))
    stuck = [gate.ask(model=("full", ONE), engine=two) for _ in range(MAX_PASSED_OVER)]
    passing = gate.ask(model=("free", ONE), engine=two)
    running.release()
    waiting(passing)
    waiting(stuck[0]).cancel()
    gate.later(0.1)
    slot(passing)
    first.release()
    slot(stuck[1])


def test_a_large_prompt_is_not_starved_by_small_ones(gate: Gate) -> None:
    rate = Allowance(tokens_per_minute=60)
    slot(gate.ask("small", prompt=60, model=("m", rate)))
    large = gate.ask("large", prompt=30, model=("m", rate))
    for _ in range(29):
        gate.later(1)
        waiting(gate.ask("small", prompt=1, model=("m", rate)))
    waiting(large)
    gate.later(1)
    slot(large)
    assert len(gate.decided) == 1
    gate.later(10)
    assert len(gate.decided) == 11


def test_what_is_kept_for_a_large_prompt_is_its_model_and_nothing_else(gate: Gate) -> None:
    rate, slow = Allowance(tokens_per_minute=6000), Allowance(tokens_per_minute=60)
    slot(gate.ask("large", prompt=60, model=("slow", slow), engine=rate))
    waiting(gate.ask("large", prompt=30, model=("slow", slow), engine=rate))
    slot(gate.ask("small", prompt=10, model=("fast", slow), engine=rate))


def test_nothing_is_kept_for_who_waits_for_a_slot_as_well(gate: Gate) -> None:
    rate = Allowance(tokens_per_minute=60)
    slot(gate.ask("large", prompt=50, own=ONE, engine=rate))
    stuck = gate.ask("large", prompt=20, own=ONE, engine=rate)
    asked = gate.ask("small", prompt=5, engine=rate)
    gate.later(0.1)
    waiting(stuck)
    slot(asked)


def test_within_an_owner_a_small_prompt_does_not_overtake_a_large_one(gate: Gate) -> None:
    rate = Allowance(tokens_per_minute=60)
    slot(gate.ask(prompt=60, own=rate))
    large, small = gate.ask(prompt=30, own=rate), gate.ask(prompt=1, own=rate)
    gate.later(20)
    waiting(small)
    gate.later(10)
    slot(large)
    waiting(small)


def test_within_an_owner_nobody_overtakes_in_any_scope_that_an_earlier_one_waits_for(gate: Gate) -> None:
    rate = Allowance(tokens_per_minute=60)
    slot(gate.ask("eve", model=("full", ONE)))
    slot(gate.ask(prompt=60, own=rate))
    head = gate.ask(prompt=30, own=rate, model=("full", ONE))
    small = gate.ask(prompt=1, own=rate)
    gate.later(20)
    waiting(small)
    # Now the head waits for its model alone.
    gate.later(10)
    waiting(head)
    slot(small)


def test_who_waits_behind_another_has_nothing_kept(gate: Gate) -> None:
    rate = Allowance(tokens_per_minute=60)
    slot(gate.ask("eve", prompt=50, model=("full", ONE), engine=rate))
    head = gate.ask("ann", prompt=1, model=("full", ONE), engine=rate)
    behind = gate.ask("ann", prompt=30, model=("full", ONE), engine=rate)
    asked = gate.ask("bob", prompt=5, engine=rate)
    gate.later(0.1)
    waiting(head)
    waiting(behind)
    slot(asked)


def test_who_waits_for_something_new_is_not_overtaken_there(gate: Gate) -> None:
    rate = Allowance(tokens_per_minute=60)
    first = slot(gate.ask("ann", prompt=20, own=ONE, engine=rate))
    large = gate.ask("ann", prompt=30, own=ONE, engine=rate)
    # Nothing but its owner is in its way, until others have taken what the engine had.
    slot(gate.ask("bob", prompt=40, engine=rate))
    first.settle(20, gate.now_s)
    gate.now_s = 5.0
    small = gate.ask("bob", prompt=1, engine=rate)
    waiting(large)
    waiting(small)


def test_a_slot_that_comes_free_goes_to_whose_turn_it_is_among_those_who_need_it(gate: Gate) -> None:
    running = {model: slot(gate.ask("eve", model=(model, ONE))) for model in "abc"}
    asked = [gate.ask(f"owner {number}", model=("abc"[number % 3], ONE)) for number in range(30)]
    running["b"].release()
    assert gate.decided == [asked[1]]
    running["a"].release()
    assert gate.decided == [asked[1], asked[0]]
    slot(asked[1]).release()
    assert gate.decided == [asked[1], asked[0], asked[4]]


def test_deadlines_are_met_in_any_order() -> None:
    gate = Gate(LONG)
    slot(gate.ask(engine=ONE))
    asked = {}
    for queue_s in (5.0, 1.0, 3.0):
        gate.admission.limits = QueueLimits(queue_s=queue_s)
        asked[queue_s] = gate.ask(engine=ONE)
    for queue_s in (1.0, 3.0, 5.0):
        gate.now_s = queue_s - 0.1
        gate.later(0)
        waiting(asked[queue_s])
        gate.later(0.1)
        refused(asked[queue_s])


def test_the_counts_of_scopes_follow_the_queue() -> None:
    queue, scopes = FairQueue(), (Scope(ScopeKind.KEY, "k"), Scope(ScopeKind.ENGINE, "e"))
    places = [
        Waiting("ann", scopes, 0, since_s=0, deadline_s=1, withdraw=lambda each: None),
        Waiting("bob", scopes, 0, since_s=0, deadline_s=2, withdraw=lambda each: None),
    ]
    for place in places:
        queue.push(place, [scopes[1]])
    assert [(scope.queued, scope.wanted) for scope in scopes] == [(2, 0), (2, 2)]
    assert (len(queue), queue.length_of("ann"), queue.length_of("cid")) == (2, 1, 0)
    places[0].wait_for([scopes[0]])
    assert [scope.wanted for scope in scopes] == [1, 1]
    assert queue.expired(1.5) == [places[0]]
    assert queue.remove(places[0])
    assert not queue.remove(places[0])
    assert [(scope.queued, scope.wanted) for scope in scopes] == [(1, 0), (1, 1)]
    assert list(queue.admissible(0.0)) == [places[1]]
    assert [(scope.queued, scope.wanted) for scope in scopes] == [(0, 0), (0, 0)]
    assert len(queue) == 0


def test_a_full_engine_ends_the_search_at_the_first_who_waits(gate: Gate) -> None:
    slot(gate.ask(engine=ONE))
    for number in range(500):
        gate.ask(f"owner {number}", key=(f"key {number}", ONE), engine=ONE)
    looks = count_looks(gate)
    gate.later(0.1)
    assert 0 < looks[0] < 10


def test_a_full_engine_ends_the_search_also_where_keys_are_full(gate: Gate) -> None:
    engine = Allowance(concurrent_streams=20)
    for number in range(500):
        gate.ask(f"owner {number % 20}", key=(f"key {number % 20}", ONE), engine=engine)
    looks = count_looks(gate)
    gate.later(0.1)
    assert 0 < looks[0] < 20


def test_a_slot_that_ends_looks_no_further_than_for_who_takes_its_room(gate: Gate) -> None:
    running = [slot(gate.ask(model=(f"model {number}", ONE))) for number in range(20)]
    for number in range(500):
        gate.ask(f"owner {number}", model=(f"model {number % 20}", ONE))
    looks = count_looks(gate)
    running[0].release()
    assert len(gate.decided) == 1
    # Those before the second who waits for that model.
    assert 0 < looks[0] < 25 * 6


def test_a_dispatch_looks_at_each_who_waits_once(gate: Gate) -> None:
    for number in range(20):
        slot(gate.ask(model=(f"model {number}", ONE)))
    for number in range(500):
        gate.ask(f"owner {number}", model=(f"model {number % 20}", ONE))
    looks = count_looks(gate)
    gate.later(0.1)
    # Key, owner and model of each, the model of most of them known to be full; and each full model once more.
    assert 500 * 2 < looks[0] < 500 * 4


def count_looks(gate: Gate) -> list[int]:
    """Count, in the only item, how often a scope of those that wait is asked for its wait."""
    looks = [0]

    class Counted(Allowance, frozen=True):
        def __getattribute__(self, name: str) -> object:
            looks[0] += name == "concurrent_streams"
            return super().__getattribute__(name)

    scopes = {scope for line in gate.admission._queue._lines.values() for each in line for scope in each.scopes}
    for scope in scopes:
        scope.allowance = Counted(concurrent_streams=scope.allowance.concurrent_streams)
    return looks
