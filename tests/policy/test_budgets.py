"""Budgets: streams that run side by side never reserve beyond a limit, and what is spent adds up to the bills."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.policy.budgets import GRACE_S, Account, Ledger, Period, Purse, since
from headrace.policy.purse import AHEAD_TIMES
from headrace.stream.store import Spent
from headrace.types.access import Budget
from headrace.types.ids import KeyId

KEY, OTHER = KeyId("k1"), KeyId("k2")
NO_LIMIT = Budget()
DAY_S = 24 * 3600.0


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = moment("2026-11-21T12:00:00")


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def nano_budget(day: int | None = None, month: int | None = None) -> Budget:
    amounts = (None if nano is None else Decimal(nano).scaleb(-9) for nano in (day, month))
    return Budget(day_usd=next(amounts), month_usd=next(amounts))


def account(limit: int | None, spent: int = 0) -> Account:
    period = Period("day", "2026-11-21", moment("2026-11-22"))
    return Account(scope="key", period=period, limit_nano=limit, spent_nano=spent)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    return Ledger([], clock)


class TestPurse:
    def test_it_reserves_on_all_accounts_or_on_none(self) -> None:
        wide, narrow = account(100), account(10)
        purse = Purse((wide, narrow))
        assert not purse.reserve(11)
        assert (wide.reserved_nano, narrow.reserved_nano) == (0, 0)
        assert purse.short_of is narrow
        assert purse.reserve(10)
        assert (wide.reserved_nano, narrow.reserved_nano) == (10, 10)

    def test_what_is_free_can_be_had_from_an_overdrawn_account(self) -> None:
        assert Purse((account(10, spent=11),)).reserve(0)

    def test_charges_within_the_reserve_touch_no_account(self) -> None:
        paying = account(1000)
        purse = Purse((paying,))
        purse.reserve(100)
        assert purse.charge(60)
        assert purse.charge(40)
        assert (paying.spent_nano, paying.reserved_nano) == (0, 100)

    def test_it_reserves_a_few_charges_ahead_while_there_is_plenty(self) -> None:
        paying = account(10**6)
        purse = Purse((paying,))
        assert purse.charge(100)
        assert paying.reserved_nano == 100 * (1 + AHEAD_TIMES)

    def test_of_a_prompt_that_was_reserved_nothing_like_it_is_reserved_again(self) -> None:
        paying = account(10**9)
        purse = Purse((paying,))
        purse.reserve(10**6)
        assert purse.charge(10**6 + 1)
        assert paying.reserved_nano == 10**6 + 1 + AHEAD_TIMES

    def test_a_charge_that_is_not_to_be_had_ends_the_stream_and_counts_all_the_same(self) -> None:
        paying = account(100)
        purse = Purse((paying,))
        assert purse.charge(90)
        assert not purse.charge(20)
        assert purse.short_of is paying
        assert paying.remaining() == -10
        purse.settle(110)
        assert (paying.spent_nano, paying.reserved_nano, paying.purses) == (110, 0, 0)

    def test_the_last_nano_dollar_can_be_spent(self) -> None:
        purse = Purse((account(100),))
        assert all(purse.charge(1) for _ in range(100))
        assert not purse.charge(1)

    def test_settling_again_moves_the_difference(self) -> None:
        paying = account(None)
        purse = Purse((paying,))
        purse.charge(70)
        for total in (70, 30, 30, 95):
            purse.settle(total)
            assert (paying.spent_nano, paying.reserved_nano, paying.purses) == (total, 0, 0)

    def test_charges_after_the_bill_change_nothing(self) -> None:
        paying = account(10)
        purse = Purse((paying,))
        purse.settle(5)
        assert purse.charge(1000)
        assert (paying.spent_nano, paying.reserved_nano) == (5, 0)

    def test_what_one_gives_back_another_can_have(self) -> None:
        paying = account(100)
        first, second = Purse((paying,)), Purse((paying,))
        assert first.reserve(80)
        assert not second.reserve(50)
        first.settle(50)
        assert second.reserve(50)

    def test_a_limit_that_changes_holds_for_streams_that_run(self) -> None:
        paying = account(None)
        purse = Purse((paying,))
        assert purse.charge(100)
        paying.limit_nano = 200
        assert purse.charge(100 * AHEAD_TIMES)  # which it held
        assert not purse.charge(1)
        paying.limit_nano = 10_000
        assert purse.charge(1000)

    @pytest.mark.parametrize("charges_each", [1, 3, 10, 1000])
    def test_streams_on_one_nearly_empty_budget_come_to_its_end_together(self, charges_each: int) -> None:
        streams, charge = 200, 50_000
        limit = streams * charge * charges_each
        paying = account(limit)
        purses = [Purse((paying,)) for _ in range(streams)]
        got = [0] * streams
        running = set(range(streams))
        while running:
            for stream in sorted(running):
                if purses[stream].charge(charge):
                    got[stream] += 1
                else:
                    running.remove(stream)
        assert set(got) <= {charges_each - 1, charges_each}
        overspent = sum(purse.charged_nano for purse in purses) - limit
        assert overspent <= streams * charge
        assert paying.reserved_nano <= limit

    def test_the_client_is_told_which_budget_is_spent(self) -> None:
        assert account(5_000_000_000).explain() == (
            "the key's budget of 5 US dollars for the day 2026-11-21 (UTC) is spent"
        )


class TestLedger:
    def test_a_request_pays_from_day_and_month_of_its_key_and_of_its_owner(self, ledger: Ledger) -> None:
        accounts = ledger.accounts("ada", KEY, nano_budget(3, 4), nano_budget(1, 2), NOW)
        assert [(a.scope, a.period.name, a.limit_nano) for a in accounts] == [
            ("key", "2026-11-21", 1),
            ("key", "2026-11", 2),
            ("owner", "2026-11-21", 3),
            ("owner", "2026-11", 4),
        ]

    def test_without_a_key_the_owner_alone_pays(self, ledger: Ledger) -> None:
        accounts = ledger.accounts("", KeyId(""), NO_LIMIT, nano_budget(0, 0), NOW)
        assert [(a.scope, a.limit_nano) for a in accounts] == [("owner", None), ("owner", None)]

    def test_keys_of_one_owner_share_the_owners_accounts_only(self, ledger: Ledger) -> None:
        first = ledger.accounts("ada", KEY, NO_LIMIT, NO_LIMIT, NOW)
        second = ledger.accounts("ada", OTHER, NO_LIMIT, NO_LIMIT, NOW)
        assert [a is b for a, b in zip(first, second, strict=True)] == [False, False, True, True]

    def test_an_owner_and_a_key_of_one_name_have_accounts_of_their_own(self, ledger: Ledger) -> None:
        key_day, _, owner_day, _ = ledger.accounts("same", KeyId("same"), NO_LIMIT, NO_LIMIT, NOW)
        assert key_day is not owner_day

    def test_what_was_spent_without_a_limit_counts_when_one_is_set(self, ledger: Ledger) -> None:
        Purse(ledger.accounts("ada", KEY, NO_LIMIT, NO_LIMIT, NOW)).settle(70)
        purse = Purse(ledger.accounts("ada", KEY, nano_budget(month=100), NO_LIMIT, NOW))
        assert not purse.reserve(31)
        assert purse.reserve(30)

    def test_a_new_limit_holds_for_streams_that_run(self, ledger: Ledger) -> None:
        running = Purse(ledger.accounts("ada", KEY, NO_LIMIT, nano_budget(day=10), NOW))
        assert running.charge(10)
        ledger.accounts("ada", KEY, NO_LIMIT, nano_budget(day=1000), NOW)
        assert running.charge(500)
        ledger.accounts("ada", KEY, NO_LIMIT, nano_budget(day=1), NOW)
        assert not running.charge(100)

    def test_spending_belongs_to_the_day_on_which_the_request_was_accepted(self, ledger: Ledger, clock: Clock) -> None:
        clock.now = moment("2026-11-30T23:59:59")
        running = Purse(ledger.accounts("ada", KEY, NO_LIMIT, NO_LIMIT, clock.now))
        clock.now = moment("2026-12-01T00:00:01")
        running.settle(70)
        assert ledger.spent_of("ada", KEY) == (0, 0)
        late = ledger.accounts("ada", KEY, NO_LIMIT, NO_LIMIT, moment("2026-11-30T23:59:59"))
        assert [a.spent_nano for a in late] == [70] * 4

    def test_it_goes_on_from_what_the_store_knows(self, clock: Clock) -> None:
        spent = [
            Spent("ada", KEY, "2026-10-31", 1000),
            Spent("ada", KEY, "2026-11-20", 5),
            Spent("ada", KEY, "2026-11-21", 20),
            Spent("ada", OTHER, "2026-11-21", 300),
            Spent("bob", KeyId(""), "2026-11-21", 7),
        ]
        ledger = Ledger(spent, clock)
        assert ledger.spent_of("ada", KEY) == (20, 25)
        assert ledger.spent_of("ada", KeyId("")) == (320, 325)
        assert ledger.spent_of("bob", KeyId("")) == (7, 7)
        assert ledger.spent_of("nobody", KeyId("")) == (0, 0)
        assert all(held.period.name.startswith("2026-11") for held in ledger._accounts.values())

    def test_past_days_are_forgotten_and_months_go_on(self, ledger: Ledger, clock: Clock) -> None:
        for _ in range(60):
            Purse(ledger.accounts("ada", KEY, NO_LIMIT, NO_LIMIT, clock.now)).settle(1)
            clock.now += DAY_S
        assert ledger.spent_of("ada", KEY) == (0, 19)  # 2027-01-20; the first request of the month was on the first
        assert len(ledger._accounts) <= 2 * 4

    def test_a_past_day_is_kept_while_a_stream_pays_from_it(self, ledger: Ledger, clock: Clock) -> None:
        held = ledger.accounts("ada", KEY, NO_LIMIT, NO_LIMIT, NOW)
        running = Purse(held)
        clock.now += 40 * DAY_S
        again = ledger.accounts("ada", KEY, NO_LIMIT, NO_LIMIT, NOW)
        assert all(a is b for a, b in zip(held, again, strict=True))
        running.settle(1)
        clock.now += DAY_S
        later = ledger.accounts("ada", KEY, NO_LIMIT, NO_LIMIT, NOW)
        assert not any(a is b for a, b in zip(held, later, strict=True))

    def test_a_day_is_kept_for_a_while_for_who_was_accepted_just_before_its_end(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        clock.now = moment("2026-11-21T23:59:59")
        Purse(ledger.accounts("ada", KEY, NO_LIMIT, NO_LIMIT, clock.now)).settle(9)
        clock.now += GRACE_S - 10
        late = ledger.accounts("ada", KEY, nano_budget(day=9), NO_LIMIT, moment("2026-11-21T23:59:59"))
        assert not Purse(late).reserve(1)

    @pytest.mark.parametrize(
        ("now", "first"),
        [
            ("2026-11-21T12:00:00", "2026-11-01"),
            ("2026-12-01T00:30:00", "2026-11-01"),
            ("2026-12-01T01:00:00", "2026-12-01"),
            ("2028-02-29T23:00:00", "2028-02-01"),
        ],
    )
    def test_spending_matters_from_the_first_of_the_month(self, now: str, first: str) -> None:
        assert since(moment(now)) == moment(first)

    @pytest.mark.parametrize(
        ("at", "day_ends", "month_ends"),
        [
            ("2026-11-21T00:00:00", "2026-11-22", "2026-12-01"),
            ("2026-12-31T23:59:59", "2027-01-01", "2027-01-01"),
            ("2028-02-28T12:00:00", "2028-02-29", "2028-03-01"),
        ],
    )
    def test_days_and_months_are_those_of_utc(self, ledger: Ledger, at: str, day_ends: str, month_ends: str) -> None:
        day, month = ledger.accounts("ada", KeyId(""), NO_LIMIT, NO_LIMIT, moment(at))
        assert (day.period.name, month.period.name) == (at[:10], at[:7])
        assert (day.period.ends_at, month.period.ends_at) == (moment(day_ends), moment(month_ends))


class Running(NamedTuple):
    purse: Purse
    key_id: KeyId


Charges = st.integers(min_value=0, max_value=3) | st.integers(min_value=0, max_value=10**5)
Nano = st.integers(min_value=0, max_value=3) | st.integers(min_value=0, max_value=10**6)
Keys = st.sampled_from([KEY, OTHER])


class Spending(RuleBasedStateMachine):
    """Streams of two keys of one owner, beside a model that only knows bills and refused charges."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger([], Clock())
        self.running: list[Running] = []
        self.settled: list[Running] = []
        self.bills: dict[Purse, int] = {}
        self.refused: dict[Purse, int] = {}
        self.budgets: dict[KeyId, Budget] = {KEY: NO_LIMIT, OTHER: NO_LIMIT}
        self.owner_budget = NO_LIMIT

    def accounts(self, key_id: KeyId) -> tuple[Account, ...]:
        return self.ledger.accounts("ada", key_id, self.owner_budget, self.budgets[key_id], NOW)

    def reserved(self) -> list[int]:
        return [account.reserved_nano for key_id in self.budgets for account in self.accounts(key_id)]

    def left(self, key_id: KeyId) -> int:
        """Return what the tightest limit leaves, by the model: bills, overdrafts and reservations taken off."""
        owner = self.owner_budget
        key = self.budgets[key_id]
        lefts = [10**15]
        for accounts, budget in ((self.accounts(key_id)[:2], key), (self.accounts(key_id)[2:], owner)):
            for held, limit in zip(accounts, (budget.day_usd, budget.month_usd), strict=True):
                if limit is not None:
                    keys = {key_id} if held.scope == "key" else set(self.budgets)
                    lefts.append(int(limit * 10**9) - self.spent(keys) - held.reserved_nano)
        return min(lefts)

    def spent(self, keys: set[KeyId]) -> int:
        """Return the bills of settled streams, and of running ones what they were refused."""
        bills = sum(self.bills[one.purse] for one in self.settled if one.key_id in keys)
        return bills + sum(self.refused[one.purse] for one in self.running if one.key_id in keys)

    @rule(key_id=Keys, day=st.none() | Nano, month=st.none() | Nano)
    def change_the_budget_of_a_key(self, key_id: KeyId, day: int | None, month: int | None) -> None:
        self.budgets[key_id] = nano_budget(day, month)
        self.accounts(key_id)

    @rule(day=st.none() | Nano, month=st.none() | Nano)
    def change_the_budget_of_the_owner(self, day: int | None, month: int | None) -> None:
        self.owner_budget = nano_budget(day, month)
        self.accounts(KEY)

    @rule(key_id=Keys)
    def start(self, key_id: KeyId) -> None:
        one = Running(Purse(self.accounts(key_id)), key_id)
        self.running.append(one)
        self.refused[one.purse] = 0

    @precondition(lambda self: self.running)
    @rule(data=st.data(), nano=Nano)
    def reserve(self, data: st.DataObject, nano: int) -> None:
        one = data.draw(st.sampled_from(self.running))
        left, before = self.left(one.key_id), self.reserved()
        is_held = one.purse.reserve(nano)
        assert is_held == (nano == 0 or nano <= left)
        if not is_held:
            assert self.reserved() == before

    @precondition(lambda self: self.running)
    @rule(data=st.data(), nano=Charges)
    def charge(self, data: st.DataObject, nano: int) -> None:
        one = data.draw(st.sampled_from(self.running))
        left, held = self.left(one.key_id), self.accounts(one.key_id)
        spent, reserved = held[0].spent_nano, self.reserved()
        if one.purse.charge(nano):
            took = max(after - before for after, before in zip(self.reserved(), reserved, strict=True))
            assert took == 0 or took <= left
        else:
            refused = held[0].spent_nano - spent
            assert max(left, 0) < refused <= nano
            assert self.reserved() == reserved
            self.refused[one.purse] += refused

    @precondition(lambda self: self.running)
    @rule(data=st.data(), nano=Nano)
    def settle(self, data: st.DataObject, nano: int) -> None:
        one = data.draw(st.sampled_from(self.running))
        one.purse.settle(nano)
        self.running.remove(one)
        self.settled.append(one)
        self.bills[one.purse] = nano

    @precondition(lambda self: self.settled)
    @rule(data=st.data(), nano=Nano)
    def settle_again(self, data: st.DataObject, nano: int) -> None:
        one = data.draw(st.sampled_from(self.settled))
        one.purse.settle(nano)
        self.bills[one.purse] = nano

    @invariant()
    def spent_is_the_bills_and_what_was_refused(self) -> None:
        for key_id in self.budgets:
            key_spent, owner_spent = self.spent({key_id}), self.spent(set(self.budgets))
            assert [held.spent_nano for held in self.accounts(key_id)] == [
                key_spent,
                key_spent,
                owner_spent,
                owner_spent,
            ]
            assert self.ledger.spent_of("ada", key_id) == (key_spent, key_spent)

    @invariant()
    def what_is_charged_is_reserved_or_entered(self) -> None:
        for key_id in self.budgets:
            for held in self.accounts(key_id):
                mine = [one for one in self.running if held.scope == "owner" or one.key_id == key_id]
                charged = sum(one.purse.charged_nano - self.refused[one.purse] for one in mine)
                assert held.reserved_nano >= charged >= 0
                assert held.purses == len(mine)

    def teardown(self) -> None:
        for one in self.running:
            one.purse.settle(one.purse.charged_nano)
        assert set(self.reserved()) == {0}
        total = sum(one.purse.charged_nano for one in self.running) + sum(self.bills.values())
        assert self.ledger.spent_of("ada", KeyId("")) == (total, total)


Spending.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSpending = Spending.TestCase
