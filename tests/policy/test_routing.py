"""Routing: who can serve a request, and who is asked first."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ClientRequestError, Overloaded
from headrace.policy.health import Standing
from headrace.policy.routing import Conditions, Needs, Route, Target, able, ranked
from headrace.types.engine import Capabilities, Endpoint

ALL = Capabilities()


def ready(_: Target) -> Standing:
    return Standing.READY


def route(*targets: Target) -> Route:
    return Route(name="chat", targets=targets)


def target(name: str = "a", **fields: Any) -> Target:
    return Target(name=name, engine=fields.pop("engine", name), **fields)


def names(targets: list[Target]) -> list[str]:
    return [target.name for target in targets]


def served_by(needs: Needs, *targets: Target, **capabilities: Capabilities) -> list[str]:
    """Return the names of the targets that can serve it; engines can do everything unless said otherwise."""
    can = {target.engine: ALL for target in targets}
    return names(able(route(*targets), needs, can | capabilities))


def test_a_model_without_settings_is_what_one_engine_knows_by_its_name() -> None:
    implicit = Route.implicit("llama", "embedded")
    (only,) = implicit.targets
    assert (implicit.name, only.engine, only.model) == ("llama", "embedded", "llama")
    assert able(implicit, Needs(), {"embedded": ALL}) == [only]


UNABLE = [
    (Needs(has_tools=True), Capabilities(takes_tools=False), "tools"),
    (Needs(has_schema=True), Capabilities(takes_schemas=False), "response_format"),
    (Needs(has_images=True), Capabilities(takes_images=False), "messages"),
    (Needs(has_logprobs=True), Capabilities(takes_logprobs=False), "logprobs"),
    (Needs(choices=2), Capabilities(max_choices=1), "n"),
    (Needs(endpoint=Endpoint.COMPLETIONS), Capabilities(endpoints=(Endpoint.CHAT,)), "model"),
]


@pytest.mark.parametrize(("needs", "capabilities", "param"), UNABLE)
def test_engines_that_cannot_are_left_out_and_the_field_is_named_when_none_can(
    needs: Needs, capabilities: Capabilities, param: str
) -> None:
    assert served_by(needs, target("a"), target("b"), a=capabilities) == ["b"]
    assert served_by(Needs(), target("a"), a=capabilities) == ["a"]
    with pytest.raises(ClientRequestError) as caught:
        served_by(needs, target("a"), target("b"), a=capabilities, b=capabilities)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert "chat" in caught.value.message


def test_names_the_field_at_which_the_last_engine_fails() -> None:
    with pytest.raises(ClientRequestError) as caught:
        served_by(
            Needs(has_tools=True, has_schema=True),
            target("a"),
            target("b"),
            a=Capabilities(takes_schemas=False),
            b=Capabilities(takes_tools=False),
        )
    assert caught.value.param == "response_format"


MEETS: dict[str, Any] = {"owner": "bob", "tags": {"tier": "gold", "team": "search", "more": "x"}, "prompt_tokens": 150}


@pytest.mark.parametrize(
    ("conditions", "fails", "param"),
    [
        (Conditions(owners=("ann", "bob")), {"owner": "eve"}, "model"),
        (Conditions(tags=("tier=gold", "team=search")), {"tags": {"tier": "gold"}}, "model"),
        (Conditions(tags=("tier=gold",)), {"tags": {"tier": "golden"}}, "model"),
        (Conditions(min_prompt_tokens=150), {"prompt_tokens": 149}, "messages"),
        (Conditions(max_prompt_tokens=150), {"prompt_tokens": 151}, "messages"),
        (Conditions(max_prompt_tokens=150), {"prompt_tokens": 151, "endpoint": Endpoint.COMPLETIONS}, "prompt"),
        (Conditions(owners=("bob",), max_prompt_tokens=150), {"owner": "eve"}, "model"),
    ],
)
def test_a_target_takes_those_for_whom_all_its_conditions_hold(
    conditions: Conditions, fails: dict[str, Any], param: str
) -> None:
    bound = target("a", conditions=conditions)
    assert conditions.hold(Needs(**MEETS))
    assert not conditions.hold(Needs(**(MEETS | fails)))
    assert served_by(Needs(**MEETS), bound) == ["a"]
    assert served_by(Needs(**(MEETS | fails)), bound, target("b")) == ["b"]
    with pytest.raises(ClientRequestError) as caught:
        served_by(Needs(**(MEETS | fails)), bound)
    assert caught.value.param == param


def test_a_context_that_seems_too_small_leaves_out_only_while_there_is_another() -> None:
    small, large = Capabilities(context_tokens=1000), Capabilities(context_tokens=2000)
    fits, long, longest = (Needs(prompt_tokens=tokens, max_tokens=500) for tokens in (500, 501, 1501))
    assert served_by(fits, target("a"), target("b"), a=small, b=large) == ["a", "b"]
    assert served_by(long, target("a"), target("b"), a=small, b=large) == ["b"]
    assert served_by(long, target("a"), target("b"), a=small) == ["b"]
    assert served_by(longest, target("a"), target("b"), a=small, b=large) == ["a", "b"]


def test_a_drained_target_is_never_chosen() -> None:
    assert served_by(Needs(), target("a", weight=0), target("b")) == ["b"]
    with pytest.raises(Overloaded) as caught:
        served_by(Needs(), target("a", weight=0))
    assert caught.value.status == 503


def test_a_target_of_an_engine_that_is_gone_is_left_out() -> None:
    assert names(able(route(target("a"), target("b")), Needs(), {"b": ALL})) == ["b"]


STANDINGS = st.sampled_from(Standing)
TARGETS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([0.001, 1, 2, 1000]), STANDINGS, st.floats(0, 60)), max_size=8
)
"""Order, weight, standing, seconds until it is ready."""


@given(TARGETS, st.randoms(use_true_random=False))
def test_a_ranking_has_all_by_order_and_the_resting_ones_last(
    drawn: list[tuple[int, float, Standing, float]], chance: random.Random
) -> None:
    targets = [target(str(number), order=order, weight=weight) for number, (order, weight, _, _) in enumerate(drawn)]
    standing = {target.name: one[2] for target, one in zip(targets, drawn, strict=True)}
    rest_s = {target.name: one[3] for target, one in zip(targets, drawn, strict=True)}
    ranking = ranked(
        targets,
        lambda target: standing[target.name],
        chance.random,
        ready_in_s=lambda target: rest_s[target.name],
    )
    assert sorted(names(ranking)) == sorted(names(targets))
    is_resting = [standing[target.name] is Standing.RESTING for target in ranking]
    assert is_resting == sorted(is_resting)
    ready_ones = [one for one in ranking if standing[one.name] is not Standing.RESTING]
    assert [one.order for one in ready_ones] == sorted(one.order for one in ready_ones)
    rests = [rest_s[one.name] for one in ranking if standing[one.name] is Standing.RESTING]
    assert rests == sorted(rests)


def test_without_knowing_when_rests_end_the_resting_ones_are_ordered_like_the_others() -> None:
    targets = [target("a", order=2), target("b", order=1), target("c", order=3)]
    ranking = ranked(targets, lambda one: Standing.READY if one.name == "c" else Standing.RESTING, lambda: 0.5)
    assert names(ranking) == ["c", "b", "a"]


def expected_second(weights: dict[str, float], name: str) -> float:
    """Return how likely a target is drawn second, when who was first is not put back."""
    total = sum(weights.values())
    others = [weight for other, weight in weights.items() if other != name]
    return sum(first / total * weights[name] / (total - first) for first in others)


def test_first_and_second_places_come_out_by_weight() -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 5.0}
    targets = [target(name, weight=weight) for name, weight in weights.items()]
    chance = random.Random(1)
    draws = 20_000
    rankings = [names(ranked(targets, ready, chance.random)) for _ in range(draws)]
    for place, expected in (
        (0, lambda name: weights[name] / 8),
        (1, lambda name: expected_second(weights, name)),
    ):
        _assert_shares(Counter(ranking[place] for ranking in rankings), draws, expected)


def _assert_shares(counts: Counter[str], draws: int, expected: Callable[[str], float]) -> None:
    for name in "abc":
        share = expected(name)
        # Five standard deviations of a binomial: the seed is fixed, and another one would do as well.
        assert abs(counts[name] / draws - share) < 5 * (share * (1 - share) / draws) ** 0.5


def test_weights_are_of_no_matter_between_orders() -> None:
    targets = [target("a", order=2, weight=1e6), target("b", order=1, weight=1e-6)]
    chance = random.Random(1)
    assert all(names(ranked(targets, ready, chance.random)) == ["b", "a"] for _ in range(100))


def test_a_target_that_may_be_probed_counts_as_ready() -> None:
    targets = [target("a", order=1), target("b", order=2)]
    assert names(ranked(targets, lambda one: Standing.PROBING if one.name == "a" else Standing.READY, lambda: 0.5)) == [
        "a",
        "b",
    ]
