"""Bills: which tokens are charged, for every state and rule."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.billing import MAX_TOKENS, BillingRules, Counts, bill_of
from headrace.policy.prices import Price
from headrace.types.bill import Basis, Bill, BillRule
from headrace.types.outcome import State

QUOTE = Price(input=Decimal(2), cached_input=Decimal(1), output=Decimal(10)).quote()
REPORTED = Counts(
    prompt_tokens=100, cached_tokens=40, completion_tokens=50, generated_tokens=30, delivered_tokens=7, is_reported=True
)
COUNTED = Counts(
    prompt_tokens=90, cached_tokens=0, completion_tokens=0, generated_tokens=30, delivered_tokens=7, is_reported=False
)
DELIVERED, GENERATED, VENDOR = BillRule
CUT_OFF = [State.CANCELLED, State.TRUNCATED]


def every(rule: BillRule) -> BillingRules:
    return BillingRules(cancelled=rule, truncated=rule)


def charged(state: State, counts: Counts, rule: BillRule, *, was_accepted: bool = True) -> tuple[object, ...]:
    bill = bill_of(state, counts, every(rule), QUOTE, was_accepted=was_accepted)
    return bill.prompt_tokens, bill.cached_tokens, bill.completion_tokens, bill.nano_usd, bill.basis, bill.rule


TABLE = [
    (State.COMPLETED, REPORTED, DELIVERED, (100, 40, 50, 660_000, Basis.REPORTED, None)),
    (State.COMPLETED, COUNTED, DELIVERED, (90, 0, 30, 480_000, Basis.ESTIMATED, None)),
    (State.FAILED, REPORTED, GENERATED, (0, 0, 0, 0, Basis.ESTIMATED, None)),
    (State.FAILED, COUNTED, VENDOR, (0, 0, 0, 0, Basis.ESTIMATED, None)),
    # 7 of 30 by our count are 11.67 of the engine's 50.
    *((state, REPORTED, DELIVERED, (100, 40, 12, 280_000, Basis.ESTIMATED, DELIVERED)) for state in CUT_OFF),
    *((state, COUNTED, DELIVERED, (90, 0, 7, 250_000, Basis.ESTIMATED, DELIVERED)) for state in CUT_OFF),
    *((state, REPORTED, GENERATED, (100, 40, 50, 660_000, Basis.REPORTED, GENERATED)) for state in CUT_OFF),
    *((state, COUNTED, GENERATED, (90, 0, 30, 480_000, Basis.ESTIMATED, GENERATED)) for state in CUT_OFF),
    *((state, REPORTED, VENDOR, (100, 40, 50, 660_000, Basis.REPORTED, VENDOR)) for state in CUT_OFF),
    *((state, COUNTED, VENDOR, (90, 0, 30, 480_000, Basis.ESTIMATED, VENDOR)) for state in CUT_OFF),
]


@pytest.mark.parametrize(("state", "counts", "rule", "expected"), TABLE)
def test_what_is_charged(state: State, counts: Counts, rule: BillRule, expected: tuple[object, ...]) -> None:
    assert charged(state, counts, rule) == expected


@pytest.mark.parametrize("state", [state for state in State if state.is_terminal])
@pytest.mark.parametrize("rule", BillRule)
def test_what_the_engine_never_accepted_costs_nothing(state: State, rule: BillRule) -> None:
    assert bill_of(state, REPORTED, every(rule), QUOTE, was_accepted=False) == Bill()


@pytest.mark.parametrize("state", [state for state in State if not state.is_terminal])
def test_a_running_stream_has_no_bill(state: State) -> None:
    with pytest.raises(ValueError, match="no bill yet"):
        bill_of(state, REPORTED, BillingRules(), QUOTE, was_accepted=True)


def test_each_kind_of_end_has_its_own_rule() -> None:
    rules = BillingRules(cancelled=DELIVERED, truncated=VENDOR)
    assert {state: rules.rule(state) for state in State if rules.rule(state)} == {
        State.CANCELLED: DELIVERED,
        State.TRUNCATED: VENDOR,
    }
    assert bill_of(State.CANCELLED, COUNTED, rules, QUOTE, was_accepted=True).rule is DELIVERED
    assert bill_of(State.TRUNCATED, COUNTED, rules, QUOTE, was_accepted=True).rule is VENDOR


def test_without_a_price_the_tokens_are_billed_and_the_cost_is_not_known() -> None:
    bill = bill_of(State.COMPLETED, REPORTED, BillingRules(), None, was_accepted=True)
    assert (bill.completion_tokens, bill.nano_usd) == (50, None)
    assert bill_of(State.FAILED, REPORTED, BillingRules(), None, was_accepted=True).nano_usd == 0


def test_what_only_the_engine_counts_is_not_taken_for_delivered() -> None:
    unseen = Counts(
        prompt_tokens=1, cached_tokens=0, completion_tokens=50, generated_tokens=0, delivered_tokens=0, is_reported=True
    )
    assert charged(State.CANCELLED, unseen, DELIVERED)[2] == 0
    assert charged(State.CANCELLED, unseen, GENERATED)[2] == 50


def test_an_engines_absurd_claims_are_cut() -> None:
    absurd = Counts(
        prompt_tokens=10**30,
        cached_tokens=10**40,
        completion_tokens=10**30,
        generated_tokens=1,
        delivered_tokens=1,
        is_reported=True,
    )
    bill = bill_of(State.COMPLETED, absurd, BillingRules(), QUOTE, was_accepted=True)
    assert (bill.prompt_tokens, bill.cached_tokens, bill.completion_tokens) == (MAX_TOKENS,) * 3


Tokens = st.integers(min_value=0, max_value=5000)
AnyCounts = st.builds(
    Counts,
    prompt_tokens=Tokens,
    cached_tokens=Tokens,
    completion_tokens=Tokens,
    generated_tokens=Tokens,
    delivered_tokens=Tokens,
    is_reported=st.booleans(),
)
Ended = st.sampled_from([state for state in State if state.is_terminal])


def bill(state: State, counts: Counts, rule: BillRule) -> Bill:
    return bill_of(state, counts, every(rule), QUOTE, was_accepted=True)


def cost(bill: Bill) -> int:
    assert bill.nano_usd is not None
    return bill.nano_usd


@given(Ended, AnyCounts)
def test_what_was_delivered_never_costs_more_than_what_was_generated(state: State, counts: Counts) -> None:
    delivered, generated = bill(state, counts, DELIVERED), bill(state, counts, GENERATED)
    assert delivered.completion_tokens <= generated.completion_tokens
    assert cost(delivered) <= cost(generated)


@given(Ended, AnyCounts, st.sampled_from(BillRule), Tokens)
def test_more_delivered_never_costs_less(state: State, counts: Counts, rule: BillRule, more: int) -> None:
    larger = msgspec.structs.replace(counts, delivered_tokens=counts.delivered_tokens + more)
    assert cost(bill(state, counts, rule)) <= cost(bill(state, larger, rule))


@given(AnyCounts, st.sampled_from(BillRule))
def test_whole_answers_are_charged_in_full_and_failed_ones_not_at_all(counts: Counts, rule: BillRule) -> None:
    whole = bill(State.COMPLETED, counts, rule)
    assert whole.prompt_tokens == counts.prompt_tokens
    assert whole.completion_tokens == (counts.completion_tokens if counts.is_reported else counts.generated_tokens)
    assert bill(State.FAILED, counts, rule) == Bill()


@given(st.sampled_from([State.COMPLETED, *CUT_OFF]), AnyCounts, st.sampled_from(BillRule))
def test_a_bill_is_reported_when_its_tokens_are_the_engines_own_and_only_then(
    state: State, counts: Counts, rule: BillRule
) -> None:
    sent = bill(state, counts, rule)
    is_part = state in CUT_OFF and rule is DELIVERED and 0 < counts.delivered_tokens < counts.generated_tokens
    assert (sent.basis is Basis.REPORTED) == (counts.is_reported and not is_part)
    if sent.basis is Basis.REPORTED:
        assert sent.prompt_tokens == counts.prompt_tokens
        assert sent.completion_tokens in {0, counts.completion_tokens}


@given(Ended, AnyCounts, st.sampled_from(BillRule))
def test_cached_tokens_are_part_of_the_prompt_and_the_cost_is_that_of_the_tokens(
    state: State, counts: Counts, rule: BillRule
) -> None:
    sent = bill(state, counts, rule)
    assert sent.cached_tokens <= sent.prompt_tokens
    assert cost(sent) == QUOTE.cost(sent.prompt_tokens, sent.cached_tokens, sent.completion_tokens)
