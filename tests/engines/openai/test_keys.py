"""The ring alone, with a clock of its own."""

from __future__ import annotations

import logging

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.engines.openai.keys import KeyRing, KeyState, Lease, UpstreamKey
from headrace.errors import SettingsError


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def key(name: str, secret: str | None = None) -> UpstreamKey:
    return UpstreamKey(f"env:{name}", secret or f"sk-{name}")


def ring(*names: str, clock: Clock | None = None) -> KeyRing:
    return KeyRing([key(name) for name in names], clock=clock or Clock())


def taken(keys: KeyRing) -> Lease:
    lease = keys.take()
    assert lease is not None
    return lease


def rejected(keys: KeyRing, status: int = 429, retry_after_s: float | None = None) -> Lease:
    """Return the hold of a request that met this answer with the first key it got."""
    lease = taken(keys)
    lease.move(status, retry_after_s)
    lease.release()
    return lease


def state(keys: KeyRing, name: str) -> KeyState:
    return next(found for found in keys.states() if found.name == f"env:{name}")


# One key.


def test_a_key_shows_its_name_only() -> None:
    shown = repr(key("A"))
    assert "env:A" in shown
    assert "sk-A" not in shown


@pytest.mark.parametrize("secret", ["", "hunter2\r\nx: y", "hunter2 x", "hunter2é", "hunter2\0", "\thunter2"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(SettingsError, match=r"^env:A: ") as caught:
        UpstreamKey("env:A", secret)
    assert "hunter2" not in str(caught.value)


def test_a_lease_knows_its_key() -> None:
    lease = taken(ring("A"))
    assert (lease.name, lease.is_keyed) == ("env:A", True)
    assert lease.secret == "sk-A"


def test_without_keys_nothing_is_shown_and_nothing_rests() -> None:
    keys = ring()
    for status in (401, 403, 429):
        lease = taken(keys)
        assert (lease.name, lease.is_keyed, lease.secret) == ("", False, None)
        assert not lease.move(status, 60.0)
    assert (len(keys), keys.states(), keys.rest_s()) == (0, [], None)


# Which one.


def test_load_is_even() -> None:
    keys = ring("A", "B", "C")
    leases = [taken(keys) for _ in range(60)]
    assert [found.running for found in keys.states()] == [20, 20, 20]
    for lease in leases[::3]:
        lease.release()
    assert [found.running for found in keys.states()] == [0, 20, 20]
    assert {taken(keys).name for _ in range(20)} == {"env:A"}


def test_of_equals_the_one_unused_for_longest_is_next() -> None:
    keys = ring("A", "B", "C")
    names = []
    for _ in range(7):
        lease = taken(keys)
        names.append(lease.name[-1])
        lease.release()
    assert "".join(names) == "ABCABCA"


def test_releasing_twice_is_releasing_once() -> None:
    keys = ring("A")
    first, _second = taken(keys), taken(keys)
    first.release()
    first.release()
    assert state(keys, "A").running == 1


# Resting.


def test_a_limited_key_rests_as_long_as_it_was_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    keys = ring("A", clock=clock)
    rejected(keys, 429, 7.0)
    assert keys.take() is None
    assert (state(keys, "A").is_resting, state(keys, "A").rejected, keys.rest_s()) == (True, 1, 7.0)
    assert "env:A" in caplog.text
    assert "sk-A" not in caplog.text
    clock.now_s += 6.9
    assert keys.take() is None
    clock.now_s += 0.2
    assert (taken(keys).name, keys.rest_s(), state(keys, "A").is_resting) == ("env:A", None, False)


def test_rests_that_nobody_ordered_grow_until_a_success() -> None:
    clock = Clock()
    keys = ring("A", clock=clock)
    rests_s = []
    for _ in range(8):
        rejected(keys)
        rests_s.append(keys.rest_s())
        clock.now_s += rests_s[-1] or 0.0
    assert rests_s == [1, 2, 4, 8, 16, 32, 60, 60]
    taken(keys).accept()
    rejected(keys)
    assert keys.rest_s() == 1


def test_many_requests_that_learn_of_one_limit_make_it_no_longer() -> None:
    clock = Clock()
    keys = ring("A", clock=clock)
    leases = [taken(keys) for _ in range(10)]
    for lease in leases:
        assert not lease.move(429, None)
    assert keys.rest_s() == 1
    clock.now_s += 1
    rejected(keys)
    assert keys.rest_s() == 2


def test_a_shorter_rest_does_not_cut_a_longer_one() -> None:
    keys = ring("A")
    first, second, third = (taken(keys) for _ in range(3))
    first.move(429, 30.0)
    second.move(429, 2.0)
    assert keys.rest_s() == 30
    third.move(429, 40.0)
    assert keys.rest_s() == 40


def test_the_soonest_key_counts() -> None:
    keys = ring("A", "B", "C")
    for retry_after_s in (9.0, 3.0, 6.0):
        rejected_lease = taken(keys)
        rejected_lease._ring.rest(key("A"), rejected_lease._standing, retry_after_s)
    assert (keys.take(), keys.rest_s()) == (None, 3.0)


# Retiring.


def test_a_refused_key_retires_with_one_loud_line(caplog: pytest.LogCaptureFixture) -> None:
    keys = ring("A", "B")
    first, other, second = taken(keys), taken(keys), taken(keys)
    assert first.move(401, None)
    assert second.move(401, None)
    assert (first.name, second.name, other.name) == ("env:B", "env:B", "env:B")
    lines = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(lines) == 1
    assert "env:A" in lines[0].getMessage()
    assert "keys left: 1" in lines[0].getMessage()
    assert "sk-" not in caplog.text
    assert state(keys, "A") == KeyState("env:A", 0, False, True, 2, 2)


def test_a_retired_key_comes_back_as_another_secret_only() -> None:
    clock = Clock()
    keys = ring("A", clock=clock)
    rejected(keys, 401)
    clock.now_s += 1e6
    keys.replace([key("A")])
    assert (keys.take(), keys.rest_s()) == (None, None)
    keys.replace([UpstreamKey("file:/moved", "sk-A")])
    assert keys.take() is None, "another reference to it is no other key"
    keys.replace([key("A", "sk-new")])
    assert taken(keys).secret == "sk-new"


def test_a_key_without_permission_stays(caplog: pytest.LogCaptureFixture) -> None:
    keys = ring("A", "B")
    lease = taken(keys)
    assert lease.move(403, None)
    assert lease.name == "env:B"
    assert not lease.move(403, None), "each key is tried once"
    assert [(found.is_resting, found.is_retired, found.rejected) for found in keys.states()] == [
        (False, False, 1),
        (False, False, 1),
    ]
    assert not caplog.records


@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_other_answers_say_nothing_about_the_key(status: int) -> None:
    keys = ring("A", "B")
    assert not taken(keys).move(status, 5.0)
    assert keys.rest_s() is None
    assert state(keys, "A").rejected == 0


def test_a_key_that_is_good_again_at_once_is_not_tried_twice() -> None:
    lease = taken(ring("A"))
    assert not lease.move(429, 0.0)


# Replacing.


def test_who_holds_a_replaced_key_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
    keys = ring("A")
    lease = taken(keys)
    keys.replace([key("A", "sk-new"), key("B")])
    assert lease.secret == "sk-A"
    assert state(keys, "A").running == 1, "the same account, so the same load"
    assert set(lease.secrets()) == {"sk-A", "sk-new", "sk-B"}
    assert lease.move(401, None)
    assert lease.name == "env:B"
    assert not state(keys, "A").is_retired, "its new secret is not the one that was refused"
    assert not caplog.records, "nobody needs to do anything about a key that is gone"


def test_a_rest_survives_a_reload_and_counts_survive_a_rotation() -> None:
    keys = ring("A")
    rejected(keys, 429, 5.0)
    keys.replace([key("A")])
    assert keys.rest_s() == 5
    keys.replace([key("A", "sk-new")])
    assert state(keys, "A") == KeyState("env:A", 0, False, False, 1, 1)


def test_two_references_to_one_secret_are_one_key() -> None:
    keys = KeyRing([key("A", "sk-same"), key("B", "sk-same")], clock=Clock())
    lease = taken(keys)
    assert not lease.move(429, 5.0)
    assert keys.take() is None


def test_a_ring_may_become_empty_and_full_again() -> None:
    keys = ring("A")
    lease = taken(keys)
    keys.replace([])
    assert not lease.move(401, None), "a request with a key is never repeated without one"
    assert not taken(keys).is_keyed
    keyless = taken(keys)
    keys.replace([key("A")])
    assert not keyless.move(401, None), "a request without a key may carry its client's"
    assert taken(keys).is_keyed


# Whatever happens.


class Requests(RuleBasedStateMachine):
    """Requests and reloads in any order: counts are true, and no useless key is ever given."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.secrets = [f"sk-{number}" for number in range(3)]
        self.keys = ring("0", "1", "2", clock=self.clock)
        self.held: list[Lease] = []

    def useless(self) -> set[str]:
        return {found.name for found in self.keys.states() if found.is_resting or found.is_retired}

    @rule()
    def take(self) -> None:
        useless = self.useless()
        lease = self.keys.take()
        assert (lease is None) == (len(useless) == 3)
        if lease is not None:
            assert lease.name not in useless
            self.held.append(lease)

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 100))
    def release(self, number: int) -> None:
        self.held.pop(number % len(self.held)).release()

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 100), status=st.sampled_from([401, 403, 429, 500]), after_s=st.none() | st.just(9.0))
    def reject(self, number: int, status: int, after_s: float | None) -> None:
        lease = self.held[number % len(self.held)]
        before = lease.secret
        if lease.move(status, after_s):
            assert lease.name not in self.useless()
        else:
            assert lease.secret == before

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 100))
    def accept(self, number: int) -> None:
        self.held[number % len(self.held)].accept()

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule(rotated=st.none() | st.integers(0, 2))
    def replace(self, rotated: int | None) -> None:
        if rotated is not None:
            self.secrets[rotated] += "x"
        self.keys.replace([key(str(place), secret) for place, secret in enumerate(self.secrets)])

    @invariant()
    def counts_are_true(self) -> None:
        names = [lease.name for lease in self.held]
        assert [found.running for found in self.keys.states()] == [names.count(f"env:{place}") for place in range(3)]


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
