"""Meters: every token is paid once, in rates and in money, whatever is reported in the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.meter import Meter, Shortage
from headrace.policy.purse import Account, Period
from headrace.policy.purse import Purse as RealPurse
from headrace.policy.scopes import Scope, ScopeKind
from headrace.policy.slots import Slot
from headrace.types.access import Allowance

FEW = 9_000
"""So few that every token is seen at once; see ``headrace.policy.slots``."""


class Poverty:
    def explain(self) -> str:
        return "the key's budget is spent"


class FakePurse:
    """Has so much money; remembers what became of it."""

    def __init__(self, money: int = 10**18) -> None:
        self.money = money
        self.charges: list[int] = []
        self.settled: list[int] = []
        self.short_of: Shortage | None = None

    def charge(self, nano: int) -> bool:
        self.charges.append(nano)
        if sum(self.charges) > self.money:
            self.short_of = Poverty()
        return self.short_of is None

    def settle(self, total_nano: int) -> None:
        self.settled.append(total_nano)


class FakeQuote:
    """1000 nano-dollars for a token of the prompt, and so many for one of the answer."""

    def __init__(self, output_nano: float) -> None:
        self._output_nano = output_nano

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
        assert cached_tokens == completion_tokens == 0
        return 1000 * prompt_tokens

    def output_nano(self, prompt_tokens: int) -> float:
        return self._output_nano


class Stream:
    """A meter, its slot and the scope that it pays from."""

    def __init__(
        self,
        *,
        rate: int | None = FEW,
        prompt: int = 100,
        purse: FakePurse | None = None,
        quote: FakeQuote | None = None,
        most: int | None = None,
    ) -> None:
        self.scope = Scope(ScopeKind.KEY, "k")
        self.scope.adopt(Allowance(tokens_per_minute=rate), 0.0)
        self.purse = purse or FakePurse()
        self.ends = 0
        self.slot = Slot([self.scope], prompt, lambda: 0.0, self._ended)
        self.meter = Meter(self.slot, self.purse, quote, max_output_tokens=most)

    def _ended(self, slot: Slot) -> None:
        # Who is admitted now must see what the bill has left of the budget.
        assert self.purse.settled
        self.ends += 1

    @property
    def taken(self) -> float:
        assert self.scope.tokens is not None
        return self.scope.tokens.per_minute - self.scope.tokens.level(0.0)


def test_reading_pauses_while_a_bucket_is_overdrawn() -> None:
    stream = Stream(rate=120)
    assert stream.meter.tokens_left(0.0) >= 0
    assert stream.meter.spend(20, 0.0) is None
    assert stream.meter.tokens_left(0.0) >= 0
    assert stream.meter.spend(30, 0.0) is None
    assert stream.meter.tokens_left(14.5) < 0
    assert stream.meter.tokens_left(15.0) >= 0


def test_nothing_bounds_a_stream_without_limits() -> None:
    stream = Stream(rate=None)
    assert stream.meter.spend(10**9, 0.0) is None
    assert stream.meter.tokens_left(0.0) >= 0
    assert stream.purse.charges == []


def test_the_prompt_is_charged_with_the_first_tokens() -> None:
    stream = Stream(quote=FakeQuote(10.0))
    assert stream.purse.charges == []
    stream.meter.spend(5, 0.0)
    stream.meter.spend(2, 0.0)
    assert stream.purse.charges == [100_050, 20]


def test_prices_below_a_nano_dollar_add_up() -> None:
    stream = Stream(prompt=0, quote=FakeQuote(0.25))
    for _ in range(10):
        stream.meter.spend(1, 0.0)
    assert stream.purse.charges == [1, 1]


def test_a_prompt_with_a_price_is_charged_for_answers_without_one() -> None:
    stream = Stream(quote=FakeQuote(0.0))
    stream.meter.spend(1, 0.0)
    stream.meter.spend(1, 0.0)
    assert stream.purse.charges == [100_000]


def test_ends_when_the_money_does_and_says_whose() -> None:
    stream = Stream(purse=FakePurse(100_100), quote=FakeQuote(10.0))
    assert stream.meter.spend(10, 0.0) is None
    assert stream.meter.spend(1, 0.0) == "the key's budget is spent"
    assert stream.meter.spend(1, 0.0) == "the key's budget is spent"
    assert stream.meter.tokens == 12
    assert stream.taken == 112


def test_ends_when_a_real_purse_is_empty() -> None:
    account = Account(scope="key", period=Period("day", "2026-11-21", 1.0), limit_nano=5000)
    purse = RealPurse((account,))
    scope = Scope(ScopeKind.KEY, "k")
    meter = Meter(Slot([scope], 1, lambda: 0.0, lambda slot: None), purse, FakeQuote(100.0), max_output_tokens=None)
    assert meter.spend(40, 0.0) is None
    reason = meter.spend(1, 0.0)
    assert reason is not None
    assert "budget of 0.000005 US dollars for the day 2026-11-21" in reason
    meter.settle(1, 41, 5100, 0.0)
    assert account.spent_nano == 5100
    assert account.remaining() == -100


def test_a_longer_answer_than_allowed_ends_and_one_just_as_long_does_not() -> None:
    stream = Stream(most=10)
    assert stream.meter.spend(10, 0.0) is None
    assert stream.meter.spend(1, 0.0) == "the answer is longer than max_output_tokens = 10"


def test_money_is_the_reason_where_both_are_used_up() -> None:
    stream = Stream(purse=FakePurse(0), quote=FakeQuote(10.0), most=10)
    assert stream.meter.spend(11, 0.0) == "the key's budget is spent"


def test_settles_money_each_time_and_rates_once() -> None:
    stream = Stream()
    stream.meter.spend(50, 0.0)
    stream.meter.settle(80, 60, 7000, 0.0)
    assert (stream.taken, stream.ends, stream.scope.running) == (140, 1, 0)
    stream.meter.settle(80, 90, 9000, 0.0)
    assert (stream.taken, stream.ends) == (140, 1)
    assert stream.purse.settled == [7000, 9000]


def test_a_cost_that_nobody_knows_counts_as_nothing() -> None:
    stream = Stream()
    stream.meter.settle(1, 1, None, 0.0)
    assert stream.purse.settled == [0]


def test_a_failed_stream_gets_its_tokens_back() -> None:
    stream = Stream()
    stream.meter.settle(0, 0, 0, 0.0)
    assert (stream.taken, stream.ends) == (0, 1)


def test_closing_ends_a_stream_without_a_bill_and_nothing_else() -> None:
    stream = Stream()
    stream.meter.close()
    stream.meter.close()
    assert (stream.taken, stream.ends, stream.purse.settled) == (0, 1, [0])
    billed = Stream()
    billed.meter.settle(100, 20, 500, 0.0)
    billed.meter.close()
    assert (billed.taken, billed.ends, billed.purse.settled) == (120, 1, [500])


def test_what_comes_after_the_end_is_not_paid() -> None:
    stream = Stream(quote=FakeQuote(10.0), most=3)
    stream.meter.settle(10, 1, 0, 0.0)
    assert stream.meter.spend(50, 0.0) is None
    assert (stream.taken, stream.purse.charges) == (11, [])


@pytest.mark.parametrize("ended", [True, False])
@given(
    prompt=st.integers(0, 10**4),
    amounts=st.lists(st.integers(0, 500), max_size=20),
    reported=st.tuples(st.integers(0, 10**4), st.integers(0, 10**4)),
    price=st.floats(0, 10**6),
)
def test_all_takes_add_up_to_what_is_reported(
    ended: bool, prompt: int, amounts: list[int], reported: tuple[int, int], price: float
) -> None:
    stream = Stream(prompt=prompt, quote=FakeQuote(price))
    for amount in amounts:
        assert stream.meter.spend(amount, 0.0) is None
    if ended:
        stream.meter.settle(*reported, 0, 0.0)
        assert stream.taken == sum(reported)
    else:
        assert stream.taken == prompt + sum(amounts)
    exact = 1000 * prompt + sum(amounts) * price if amounts else 0
    assert sum(stream.purse.charges) == pytest.approx(exact, abs=1, rel=1e-9)
