from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.embedded.queue import RETRY_AFTER_S, AdmissionQueue, Need
from headrace.errors import Overloaded

_SHORT = Need(slots=1, is_short=True)
_LONG = Need(slots=1, is_short=False)


def test_admits_while_slots_are_free_then_lets_wait_then_refuses() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(slots=2, max_waiting=1)
    assert queue.enter("a", _SHORT) == ["a"]
    assert queue.enter("b", _SHORT) == ["b"]
    assert queue.enter("c", _SHORT) == []
    with pytest.raises(Overloaded) as caught:
        queue.enter("d", _SHORT)
    assert caught.value.retry_after_s == RETRY_AFTER_S
    assert queue.items() == ["a", "b", "c"]
    assert queue.release("a") == ["c"]
    assert len(queue) == 2


def test_a_long_prompt_goes_in_alone() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(slots=4, max_waiting=4)
    assert queue.enter("short", _SHORT) == ["short"]
    assert queue.enter("long", _LONG) == []
    assert queue.enter("behind", _SHORT) == []
    assert queue.prefilled("short") == ["long"]
    assert queue.prefilled("long") == ["behind"]


def test_a_prompt_that_ends_without_a_chunk_passes_the_turn_on() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(slots=4, max_waiting=4)
    assert queue.enter("a", _LONG) == ["a"]
    assert queue.enter("b", _SHORT) == []
    assert queue.enter("c", _SHORT) == []
    assert queue.release("a") == ["b", "c"]


def test_a_request_for_many_slots_is_not_overtaken() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(slots=4, max_waiting=4)
    assert queue.enter("a", _SHORT) == ["a"]
    assert queue.enter("all", Need(slots=4, is_short=True)) == []
    assert queue.enter("b", _SHORT) == []
    assert queue.release("a") == ["all"]
    assert queue.release("all") == ["b"]


def test_withdrawing_who_waits_in_front_admits_those_behind() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(slots=2, max_waiting=4)
    assert queue.enter("a", _SHORT) == ["a"]
    assert queue.enter("both", Need(slots=2, is_short=True)) == []
    assert queue.enter("b", _SHORT) == []
    assert queue.withdraw("both") == ["b"]


def test_withdrawing_who_runs_keeps_its_slots() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(slots=1, max_waiting=1)
    assert queue.enter("a", _SHORT) == ["a"]
    assert queue.enter("b", _SHORT) == []
    assert queue.withdraw("a") == []
    assert queue.items() == ["a", "b"]


class _Model:
    """Follows what the queue decides, and checks it."""

    def __init__(self, *, slots: int, max_waiting: int) -> None:
        self.queue: AdmissionQueue[int] = AdmissionQueue(slots=slots, max_waiting=max_waiting)
        self.slots = slots
        self.capacity = slots + max_waiting
        self.needs: dict[int, Need] = {}
        self.waiting: list[int] = []
        self.running: list[int] = []
        self.prefilling: list[int] = []

    def enter(self, item: int, need: Need) -> None:
        self.needs[item] = need
        try:
            admitted = self.queue.enter(item, need)
        except Overloaded:
            assert len(self.queue) == self.capacity
            return
        self.waiting.append(item)
        self.admitted(admitted)

    def prefilled(self, item: int) -> None:
        self.prefilling.remove(item)
        self.admitted(self.queue.prefilled(item))

    def release(self, item: int) -> None:
        self.running.remove(item)
        if item in self.prefilling:
            self.prefilling.remove(item)
        self.admitted(self.queue.release(item))

    def withdraw(self, item: int) -> None:
        self.waiting.remove(item)
        self.admitted(self.queue.withdraw(item))

    def admitted(self, items: list[int]) -> None:
        for item in items:
            assert self.waiting.pop(0) == item
            self.running.append(item)
            self.prefilling.append(item)
        taken = sum(self.needs[item].slots for item in self.running)
        assert self.queue.free_slots == self.slots - taken >= 0
        assert len(self.prefilling) < 2 or all(self.needs[item].is_short for item in self.prefilling)
        assert len(self.queue) == len(self.running) + len(self.waiting) <= self.capacity
        # Nobody waits for nothing.
        assert not self.waiting or self.prefilling or self.needs[self.waiting[0]].slots > self.queue.free_slots


@given(st.data())
def test_bounds_hold_whatever_happens_and_all_get_their_turn(data: st.DataObject) -> None:
    slots = data.draw(st.integers(1, 4))
    model = _Model(slots=slots, max_waiting=data.draw(st.integers(0, 4)))
    needs = st.builds(Need, st.integers(1, slots), st.booleans())
    for item in range(data.draw(st.integers(0, 20))):
        model.enter(item, data.draw(needs))
        for known, happen in (
            (model.prefilling, model.prefilled),
            (model.running, model.release),
            (model.waiting, model.withdraw),
        ):
            one = data.draw(st.none() | st.sampled_from(known)) if known else None
            if one is not None:
                happen(one)
    while model.running:
        model.release(model.running[-1])
    assert not model.waiting
    assert len(model.queue) == 0
    assert model.queue.free_slots == slots
