"""Retries: never before ``Retry-After``, never more than allowed, never beyond the time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.retry import SLACK_S, Again, Elsewhere, Fault, Retries, RetryPolicy, RetryRule
from headrace.policy.routing import Target

A, B, C = (Target(name=name, engine=name) for name in ("a", "b", "c"))
TRANSIENT = [Fault.SERVER_ERROR, Fault.UNREACHABLE, Fault.CLOSED]
LASTING = [Fault.OUT_OF_QUOTA, Fault.SILENT, Fault.PROTOCOL]
FINAL = [Fault.POLICY_REFUSAL, Fault.REJECTED, Fault.UNAUTHORIZED]


class Request:
    """One request that fails and fails."""

    def __init__(
        self,
        *others: Target,
        policy: RetryPolicy | None = None,
        chance: float | Callable[[], float] = 0.5,
        until_s: float = 1000.0,
        prompt_tokens: int | None = None,
        contexts: Mapping[str, int] | None = None,
        resting: Sequence[Target] = (),
    ) -> None:
        self.retries = Retries(
            policy or RetryPolicy(),
            until_s=until_s,
            random=chance if callable(chance) else lambda: chance,
            prompt_tokens=prompt_tokens,
        )
        self.now_s = 0.0
        self.target = A
        self.others = others
        self.contexts = contexts or {}
        self.resting = resting

    def fails(self, fault: Fault, retry_after_s: float | None = None, *, after_s: float = 0.0) -> Again | None:
        """Fail the attempt that runs, and begin the next one."""
        self.now_s += after_s
        again = self.retries.after(
            fault,
            retry_after_s=retry_after_s,
            now_s=self.now_s,
            target=self.target,
            others=self.others,
            context_of=lambda target: self.contexts.get(target.name),
            is_ready=lambda target: target not in self.resting,
        )
        if again is not None:
            self.now_s += again.wait_s
            self.target = again.target
        return again

    def patience_s(self) -> float:
        return self.retries.patience_s(
            now_s=self.now_s,
            target=self.target,
            others=self.others,
            context_of=lambda target: self.contexts.get(target.name),
            is_ready=lambda target: target not in self.resting,
        )

    def course(self, *faults: Fault) -> list[str]:
        """Return the names of those asked after each fault, up to the end."""
        names = []
        for fault in faults:
            again = self.fails(fault)
            if again is None:
                break
            names.append(again.target.name)
        return names


def test_the_table_is_complete_and_as_documented() -> None:
    policy = RetryPolicy()
    table = {fault: (policy.rule(fault).same, policy.rule(fault).elsewhere) for fault in Fault}
    assert table == {
        Fault.RATE_LIMITED: (2, Elsewhere.YES),
        Fault.OUT_OF_QUOTA: (0, Elsewhere.YES),
        Fault.SERVER_ERROR: (2, Elsewhere.YES),
        Fault.UNREACHABLE: (1, Elsewhere.YES),
        Fault.CLOSED: (2, Elsewhere.YES),
        Fault.SILENT: (0, Elsewhere.YES),
        Fault.PROTOCOL: (0, Elsewhere.YES),
        Fault.CONTEXT_TOO_LONG: (0, Elsewhere.LARGER),
        Fault.POLICY_REFUSAL: (0, Elsewhere.NO),
        Fault.REJECTED: (0, Elsewhere.NO),
        Fault.UNAUTHORIZED: (0, Elsewhere.NO),
    }


def test_a_rule_that_is_set_in_part_keeps_the_rest_of_its_default() -> None:
    policy = msgspec.convert({"rate_limited": {"same": 1}, "silent": {"elsewhere": "no"}, "backoff": 1}, RetryPolicy)
    assert (policy.rate_limited.same, policy.rate_limited.elsewhere) == (1, Elsewhere.YES)
    assert (policy.silent.same, policy.silent.elsewhere) == (0, Elsewhere.NO)
    assert policy.backoff_s == 1


@pytest.mark.parametrize("same", [-1, 11])
def test_a_rule_is_bounded(same: int) -> None:
    with pytest.raises(msgspec.ValidationError, match="same"):
        msgspec.convert({"closed": {"same": same}}, RetryPolicy)


@pytest.mark.parametrize("fault", TRANSIENT)
def test_what_may_pass_is_tried_at_the_same_engine_first_and_then_elsewhere(fault: Fault) -> None:
    same = RetryPolicy().rule(fault).same
    request = Request(B, C, policy=RetryPolicy(attempts=100))
    assert request.course(*[fault] * 20) == ["a"] * same + ["b"] * (same + 1) + ["c"] * (same + 1)


@pytest.mark.parametrize("fault", LASTING)
def test_what_will_not_pass_is_tried_elsewhere_at_once(fault: Fault) -> None:
    request = Request(B, C)
    assert request.course(fault, fault, fault) == ["b", "c"]
    assert request.now_s == 0


@pytest.mark.parametrize("fault", FINAL)
def test_what_the_client_has_to_know_is_tried_nowhere(fault: Fault) -> None:
    assert Request(B, C).fails(fault) is None


def test_an_engine_that_is_full_is_left_at_once_for_one_that_is_not() -> None:
    assert Request(B, C).fails(Fault.RATE_LIMITED, 2.0) == Again(B, 0.0)


def test_an_engine_that_is_full_is_waited_for_when_it_is_the_only_one() -> None:
    request = Request(chance=0.0)
    assert request.fails(Fault.RATE_LIMITED, 2.0) == Again(A, 2.0)
    assert request.fails(Fault.RATE_LIMITED, 3.0) == Again(A, 3.0)
    assert request.fails(Fault.RATE_LIMITED, 1.0) is None


def test_an_engine_that_is_full_is_waited_for_rather_than_asking_one_that_rests() -> None:
    request = Request(B, chance=0.0, resting=[B])
    assert request.fails(Fault.RATE_LIMITED, 2.0) == Again(A, 2.0)


def test_an_engine_that_rests_is_asked_when_there_is_nobody_else() -> None:
    assert Request(B, resting=[B]).fails(Fault.RATE_LIMITED, 60.0) == Again(B, 0.0)
    assert Request(B, resting=[B]).fails(Fault.SILENT) == Again(B, 0.0)


def test_an_engine_that_has_begun_to_rest_is_not_asked_again_while_another_is_ready() -> None:
    assert Request(B, resting=[A]).fails(Fault.SERVER_ERROR) == Again(B, 0.0)
    again = Request(B, resting=[A, B]).fails(Fault.SERVER_ERROR)
    assert again is not None
    assert again.target == A


def test_of_two_full_engines_the_one_that_is_back_sooner_is_waited_for() -> None:
    request = Request(A, B, chance=0.0)
    request.fails(Fault.RATE_LIMITED, 2.0)
    assert request.fails(Fault.RATE_LIMITED, 5.0, after_s=0.5) == Again(A, 1.5)


def test_a_full_engine_is_come_back_to_when_its_time_has_passed_in_the_meantime() -> None:
    request = Request(A, B, chance=0.0)
    assert request.fails(Fault.RATE_LIMITED, 15.0) == Again(B, 0.0)
    assert request.fails(Fault.PROTOCOL, after_s=15.0) == Again(A, 0.0)


@pytest.mark.parametrize(("retry_after_s", "waits"), [(10.0, True), (10.1, False), (math.inf, False)])
def test_longer_than_max_wait_is_not_waited(retry_after_s: float, waits: bool) -> None:
    assert (Request().fails(Fault.RATE_LIMITED, retry_after_s) is not None) is waits


@pytest.mark.parametrize(("retry_after_s", "waits"), [(4.9, True), (5.0, False)])
def test_nothing_waits_beyond_the_time_that_is_left(retry_after_s: float, waits: bool) -> None:
    again = Request(until_s=5.0, chance=0.999).fails(Fault.RATE_LIMITED, retry_after_s)
    assert (again is not None) is waits


def test_nothing_is_tried_when_the_time_is_over() -> None:
    assert Request(B, until_s=5.0).fails(Fault.SILENT, after_s=5.0) is None


@pytest.mark.parametrize("retry_after_s", [None, 0.0, -1.0, math.nan, 1e-9])
def test_a_full_engine_is_never_asked_again_at_once(retry_after_s: float | None) -> None:
    request = Request(chance=0.0)
    again = request.fails(Fault.RATE_LIMITED, retry_after_s)
    assert again == Again(A, RetryPolicy().backoff_s / 2)


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_failed_engine_that_says_when_to_come_back_is_not_asked_before(fault: Fault) -> None:
    assert Request(chance=0.0).fails(fault, 3.0) == Again(A, 3.0)


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_failed_engine_that_says_when_to_come_back_is_left_for_one_that_is_ready(fault: Fault) -> None:
    request = Request(A, B, chance=0.0)
    assert request.fails(fault, 3.0) == Again(B, 0.0)
    assert request.fails(Fault.PROTOCOL, after_s=1.0) == Again(A, 2.0)


def test_backoff_is_no_longer_than_anything_is_waited_for() -> None:
    policy = RetryPolicy(backoff_s=5.0, max_wait_s=2.0)
    assert Request(policy=policy, chance=1.0).fails(Fault.CLOSED) == Again(A, 2.0)


def test_backoff_doubles_up_to_its_bound_and_is_spread_over_all_of_it() -> None:
    policy = msgspec.convert(
        {"attempts": 100, "backoff": 1, "backoff_max": 5, "server_error": {"same": 6}}, RetryPolicy
    )
    for chance in (0.0, 0.25, 1.0):
        request = Request(policy=policy, chance=chance)
        waits = [again.wait_s for again in (request.fails(Fault.SERVER_ERROR) for _ in range(6)) if again]
        assert waits == pytest.approx([most_s * chance for most_s in (1, 2, 4, 5, 5, 5)])


def test_all_attempts_together_are_bounded() -> None:
    request = Request(B, C, policy=RetryPolicy(attempts=4))
    assert request.course(*[Fault.SERVER_ERROR] * 10) == ["a", "a", "b"]
    assert Request(B, policy=RetryPolicy(attempts=1)).fails(Fault.SILENT) is None


def test_what_was_too_long_goes_where_the_context_is_known_to_be_larger() -> None:
    contexts = {"a": 8192, "b": 8192, "c": 8193}
    assert Request(B, C, contexts=contexts).fails(Fault.CONTEXT_TOO_LONG) == Again(C, 0.0)
    assert Request(B, C, contexts={"a": 8192}).fails(Fault.CONTEXT_TOO_LONG) is None


def test_what_was_too_long_for_a_context_nobody_knows_goes_where_the_prompt_fits() -> None:
    contexts = {"b": 4000, "c": 9000}
    assert Request(B, C, contexts=contexts, prompt_tokens=9000).fails(Fault.CONTEXT_TOO_LONG) == Again(C, 0.0)
    assert Request(B, C, contexts=contexts, prompt_tokens=9001).fails(Fault.CONTEXT_TOO_LONG) is None
    assert Request(B, C, contexts=contexts).fails(Fault.CONTEXT_TOO_LONG) is None
    assert Request(B, prompt_tokens=0).fails(Fault.CONTEXT_TOO_LONG) is None


def test_what_was_too_long_once_goes_to_no_smaller_context_later() -> None:
    request = Request(B, C, contexts={"a": 8192, "b": 4096, "c": 16384})
    assert request.course(Fault.CONTEXT_TOO_LONG, Fault.PROTOCOL) == ["c"]


def test_is_patient_as_long_as_nobody_else_could_be_asked() -> None:
    policy = RetryPolicy(silence_s=20.0)
    assert Request(until_s=100.0, policy=policy).patience_s() == 100
    assert Request(B, until_s=100.0, policy=policy).patience_s() == 20
    assert Request(B, until_s=100.0, policy=policy, resting=[B]).patience_s() == 100
    assert Request(B, until_s=15.0, policy=policy).patience_s() == 15
    assert Request(B, until_s=100.0, policy=RetryPolicy(attempts=1)).patience_s() == 100


def test_is_patient_with_the_last_one_left() -> None:
    request = Request(B, until_s=100.0)
    request.fails(Fault.SILENT, after_s=20.0)
    assert request.patience_s() == 80


def test_is_not_patient_with_one_that_may_be_asked_again() -> None:
    policy = msgspec.convert({"silent": {"same": 1}}, RetryPolicy)
    request = Request(until_s=100.0, policy=policy)
    assert request.patience_s() == 20
    assert request.fails(Fault.SILENT, after_s=20.0) is not None
    assert request.patience_s() == request.retries.until_s - request.now_s


RULES = st.builds(RetryRule, same=st.integers(0, 10), elsewhere=st.sampled_from(Elsewhere))
POLICIES = st.builds(
    lambda rules, **rest: RetryPolicy(**rest, **{fault.value: rule for fault, rule in rules.items()}),
    st.fixed_dictionaries(dict.fromkeys(Fault, RULES)),
    attempts=st.integers(1, 30),
    backoff_s=st.floats(0.001, 20),
    backoff_max_s=st.floats(0.001, 20),
    max_wait_s=st.floats(0, 20),
)
FAILURES = st.lists(
    st.tuples(
        st.sampled_from(Fault),
        st.none() | st.floats(0, 30) | st.sampled_from([math.inf, math.nan, -1.0]),
        st.floats(0, 10),
    ),
    min_size=1,
    max_size=40,
)
"""Why, with which ``Retry-After``, after how long."""


@given(
    policy=POLICIES,
    failures=FAILURES,
    until_s=st.floats(0, 200),
    prompt_tokens=st.none() | st.integers(0, 100),
    contexts=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 100)),
    resting=st.sets(st.sampled_from("abcd")),
    count=st.integers(1, 4),
    chance=st.randoms(use_true_random=False),
)
def test_whatever_fails_and_however_it_is_set_the_rules_hold(
    *,
    policy: RetryPolicy,
    failures: list[tuple[Fault, float | None, float]],
    until_s: float,
    prompt_tokens: int | None,
    contexts: dict[str, int],
    resting: set[str],
    count: int,
    chance: random.Random,
) -> None:
    targets = [Target(name=name, engine=name) for name in "abcd"[:count]]
    request = Request(
        *targets,
        policy=policy,
        chance=chance.random,
        until_s=until_s,
        prompt_tokens=prompt_tokens,
        contexts=contexts,
        resting=[target for target in targets if target.name in resting],
    )
    attempts = 1
    failed: dict[str, int] = dict.fromkeys("abcd", 0)
    not_before_s: dict[str, float] = dict.fromkeys("abcd", -math.inf)
    given_up: set[str] = set()
    for fault, retry_after_s, after_s in failures:
        last = request.target
        ended_s = request.now_s + after_s
        again = request.fails(fault, retry_after_s, after_s=after_s)
        rule = policy.rule(fault)
        failed[last.name] += 1
        if retry_after_s is not None and retry_after_s > 0:
            not_before_s[last.name] = ended_s + retry_after_s
        if failed[last.name] > rule.same:
            given_up.add(last.name)
        given_up |= {target.name for target in targets if request.retries.is_given_up(target)}
        if again is None:
            break
        attempts += 1
        name = again.target.name
        assert attempts <= policy.attempts
        assert name not in given_up
        assert again.wait_s <= policy.max_wait_s + SLACK_S
        assert request.now_s < until_s
        assert request.now_s >= not_before_s[name] - SLACK_S
        if name == last.name and fault is Fault.RATE_LIMITED:
            assert again.wait_s > 0
        if name != last.name:
            assert rule.elsewhere is not Elsewhere.NO
        if name != last.name and rule.elsewhere is Elsewhere.LARGER:
            assert contexts[name] > contexts.get(last.name, (prompt_tokens or 0) - 1)
