"""What a stream pays with: how limits and money act on a pump, and what its bill says in the end."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.pump.fakes import Bench, ManualClock, text

from headrace.policy.admission import Admission, QueueLimits
from headrace.policy.billing import BillingRules
from headrace.policy.meter import Meter
from headrace.policy.prices import Price
from headrace.policy.purse import Account, Period, Purse
from headrace.policy.quote import Quote
from headrace.policy.scopes import ScopeKind
from headrace.policy.slots import Slot
from headrace.policy.timeouts import Timeouts
from headrace.pump.charge import Charge
from headrace.types.access import Allowance
from headrace.types.bill import Basis, Bill, BillRule
from headrace.types.engine import EngineEnd
from headrace.types.ids import Offset
from headrace.types.outcome import Cause, State

DOLLAR_A_TOKEN = Price(input=Decimal(0), output=Decimal(10**6)).quote()
DOLLAR = 10**9
ORDERLY = EngineEnd()
USAGE = {"prompt_tokens": 7, "completion_tokens": 40, "prompt_tokens_details": {"cached_tokens": 3}}


class Reader:
    position = Offset(0)

    def wake(self) -> None: ...


def metered(
    clock: ManualClock,
    *,
    limits: Allowance | None = None,
    dollars: int | None = None,
    rules: BillingRules | None = None,
    quote: Quote | None = DOLLAR_A_TOKEN,
) -> tuple[Charge, Slot, Account]:
    """A charge on one key with limits and a budget."""
    admission = Admission(QueueLimits(), clock)
    slot = admission.ask("ann", [admission.scope(ScopeKind.KEY, "k", limits or Allowance())], 0)
    assert isinstance(slot, Slot)
    limit = None if dollars is None else dollars * DOLLAR
    account = Account(scope="key", period=Period("day", "2026-11-21", 0.0), limit_nano=limit)
    meter = Meter(slot, Purse((account,)), quote, max_output_tokens=None)
    return Charge(meter, rules=rules, quote=quote), slot, account


def streamed(bench: Bench, *pieces: dict[str, Any], end: EngineEnd | None = None) -> None:
    """Bring the first piece at once, the others by ticks."""
    first, *others = pieces
    bench.generation.bring(first)
    for piece in others:
        bench.generation.bring(piece)
        bench.pump.tick(bench.clock())
    if end is not None:
        bench.generation.bring(end=end)
        bench.pump.tick(bench.clock())


def bill_of(bench: Bench) -> Bill:
    assert bench.pump.reckoning.bill is not None
    return bench.pump.reckoning.bill


def test_a_stream_without_a_charge_is_unbounded_and_its_bill_has_no_price() -> None:
    bench = Bench()
    streamed(bench, text("a"), text("b", finish="stop"), end=ORDERLY)
    bill = bill_of(bench)
    assert (bill.completion_tokens, bill.nano_usd, bill.basis) == (2, None, Basis.ESTIMATED)


def test_what_comes_is_charged_as_it_comes_and_settled_by_the_bill() -> None:
    clock = ManualClock()
    charge, slot, account = metered(clock)
    bench = Bench(charge=charge, clock=clock)
    streamed(bench, text("a"), text("b"))
    assert account.reserved_nano >= 2 * DOLLAR
    assert not slot.is_over
    bench.generation.bring({"choices": [], "usage": USAGE})
    bench.generation.bring(text(finish="stop"), end=ORDERLY)
    bench.pump.tick(clock())
    bench.pump.tick(clock())
    bill = bill_of(bench)
    assert (bill.prompt_tokens, bill.cached_tokens, bill.completion_tokens) == (7, 3, 40)
    assert (bill.basis, bill.nano_usd) == (Basis.REPORTED, 40 * DOLLAR)
    assert (account.spent_nano, account.reserved_nano) == (40 * DOLLAR, 0)
    assert slot.is_over


def test_a_budget_ends_the_stream_with_the_tokens_that_passed_it() -> None:
    clock = ManualClock()
    charge, _, account = metered(clock, dollars=3)
    bench = Bench(charge=charge, clock=clock)
    streamed(bench, text("a"), text("b"), text("c"), text("d"))
    end = bench.log.end
    assert end is not None
    assert (end.state, end.cause) == (State.CANCELLED, Cause.BUDGET)
    assert end.message == "the key's budget of 3 US dollars for the day 2026-11-21 (UTC) is spent"
    assert bench.generation.aborted == 1
    assert account.spent_nano == 4 * DOLLAR


def test_an_answer_that_is_whole_is_completed_though_it_spends_the_last_of_a_budget() -> None:
    clock = ManualClock()
    charge, _, _ = metered(clock, dollars=1)
    bench = Bench(charge=charge, clock=clock)
    streamed(bench, text("a"), text("b", finish="stop"))
    assert bench.log.state is State.COMPLETED


def test_a_rate_of_tokens_paces_the_stream_and_does_not_count_as_silence() -> None:
    clock = ManualClock()
    charge, _, _ = metered(clock, limits=Allowance(tokens_per_minute=2))
    bench = Bench(charge=charge, clock=clock, timeouts=Timeouts(idle_s=30))
    streamed(bench, text("a"), text("b"), text("c"), text("d"))
    assert bench.log.tokens == 3  # the third overdrew the bucket
    for _ in range(29):
        clock.now_s += 1
        bench.pump.tick(clock())
        bench.pump.expire(clock())
    assert bench.log.tokens == 3
    clock.now_s += 2
    bench.pump.tick(clock())
    assert (bench.log.tokens, bench.log.end) == (4, None)


def test_a_stream_that_waits_for_its_rate_lets_others_of_the_tick_go_first() -> None:
    clock = ManualClock()
    charge, _, _ = metered(clock, limits=Allowance(tokens_per_minute=1))
    bench = Bench(charge=charge, clock=clock)
    bench.generation.bring(text("a"))
    bench.generation.bring(text("b"))
    bench.pump.tick(clock())
    calls: list[str] = []
    bench.scheduler.leave = lambda _: calls.append("leave")  # type: ignore[assignment, method-assign]
    bench.scheduler.join = lambda _: calls.append("join")  # type: ignore[assignment, method-assign]
    bench.generation.bring(text("c"))
    bench.pump.tick(clock())
    assert calls == ["leave", "join"]


def test_a_stream_on_a_rate_takes_no_more_than_the_rate_has_left() -> None:
    clock = ManualClock()
    charge, slot, _ = metered(clock, limits=Allowance(tokens_per_minute=60))
    bench = Bench(charge=charge, clock=clock)
    streamed(bench, text("a"), text("b"))
    bench.pump.tick(clock())
    left = slot.tokens_left(clock())
    assert left == 58
    asked = bench.generation.asked_bytes
    assert asked is not None
    a_token = asked / left
    # A chunk of these tests and what frames it.
    assert 60 < a_token < 200
    clock.now_s += 1
    slot.take(50, clock())
    bench.pump.tick(clock())
    assert bench.generation.asked_bytes == pytest.approx(9 * a_token, abs=1)


def test_a_stream_far_from_its_rate_reads_all_there_is() -> None:
    clock = ManualClock()
    charge, _, _ = metered(clock, limits=Allowance(tokens_per_minute=10**9))
    bench = Bench(charge=charge, clock=clock)
    streamed(bench, text("a"), text("b"))
    bench.pump.tick(clock())
    assert bench.generation.asked_bytes is None


def test_a_stopped_stream_pays_for_what_the_engine_had_sent_and_nobody_read() -> None:
    bench = Bench(charge=Charge(quote=DOLLAR_A_TOKEN))
    streamed(bench, text("a"), text("b"))
    bench.generation.bring(text("c"), text("d"))
    bench.pump.stop(Cause.CLIENT_STOP)
    bill = bill_of(bench)
    assert (bill.completion_tokens, bill.rule, bill.basis) == (4, BillRule.GENERATED, Basis.ESTIMATED)
    assert bench.log.tokens == 2
    assert bench.pump.record().generated_tokens == 4


def test_a_finish_that_nobody_read_makes_no_stopped_stream_whole() -> None:
    bench = Bench()
    streamed(bench, text("a"))
    bench.generation.bring(text("b", finish="stop"), end=ORDERLY)
    # Its tick has not come.
    bench.pump.stop(Cause.CLIENT_STOP)
    assert bench.log.state is State.CANCELLED


def test_delivered_tokens_are_the_bill_where_the_rule_says_so_and_settled_when_the_client_has_left() -> None:
    rules = BillingRules(cancelled=BillRule.DELIVERED)
    bench = Bench(charge=Charge(rules=rules, quote=DOLLAR_A_TOKEN))
    streamed(bench, text("a"), text("b"), text("c"))
    bench.log.delivered(1)
    bench.pump.stop(Cause.CLIENT_STOP)
    assert bill_of(bench).completion_tokens == 1
    bench.log.delivered(3)
    settlement = bench.pump.reckoning.settlement(bench.clock())
    assert settlement is not None
    assert (settlement.delivered_tokens, settlement.bill.completion_tokens) == (3, 3)
    assert bench.pump.reckoning.settlement(bench.clock()) is None


def test_who_follows_to_the_end_is_taken_to_get_all_of_it_until_it_leaves_with_less() -> None:
    bench = Bench(charge=Charge(rules=BillingRules(cancelled=BillRule.DELIVERED)))
    reader = Reader()
    bench.log.follow(reader)
    streamed(bench, text("a"), text("b"), text("c"))
    bench.log.delivered(1)
    bench.pump.stop(Cause.CLIENT_STOP)
    assert (bench.pump.record().delivered_tokens, bill_of(bench).completion_tokens) == (3, 3)
    bench.log.unfollow(reader, Cause.CLIENT_GONE)
    settlement = bench.pump.reckoning.settlement(bench.clock())
    assert settlement is not None
    assert (settlement.delivered_tokens, settlement.bill.completion_tokens) == (1, 1)


def test_a_stream_whose_client_got_all_needs_no_settlement() -> None:
    bench = Bench()
    reader = Reader()
    bench.log.follow(reader)
    streamed(bench, text("a"), text("b", finish="stop"), end=ORDERLY)
    bench.log.delivered(2)
    bench.log.unfollow(reader, Cause.CLIENT_GONE)
    assert bench.pump.reckoning.settlement(bench.clock()) is None
    assert bench.pump.record().delivered_tokens == 2


def test_a_running_stream_has_nothing_to_settle() -> None:
    bench = Bench()
    streamed(bench, text("a"))
    assert bench.pump.reckoning.settlement(bench.clock()) is None
    assert bench.pump.record().bill is None


def test_the_vendor_is_heard_to_its_end_unheard_by_clients() -> None:
    rules = BillingRules(cancelled=BillRule.VENDOR)
    bench = Bench(charge=Charge(rules=rules, quote=DOLLAR_A_TOKEN))
    streamed(bench, text("a"))
    bench.pump.stop(Cause.CLIENT_STOP)
    assert bench.log.state is State.CANCELLED
    assert bench.generation.aborted == 0
    assert bench.generation.watcher is None
    assert bill_of(bench).basis is Basis.ESTIMATED
    assert not bench.pump.reckoning.hear_vendor()
    bench.generation.bring(text("b"))
    bench.generation.bring({"choices": [], "usage": USAGE}, end=ORDERLY)
    assert not bench.pump.reckoning.hear_vendor()
    assert bench.pump.reckoning.hear_vendor()
    settlement = bench.pump.reckoning.settlement(bench.clock())
    assert settlement is not None
    bill = settlement.bill
    assert (bill.completion_tokens, bill.basis, bill.rule) == (40, Basis.REPORTED, BillRule.VENDOR)
    assert bench.log.appended == 1


def test_a_vendor_that_says_nothing_is_left_at_last() -> None:
    bench = Bench(charge=Charge(rules=BillingRules(cancelled=BillRule.VENDOR)))
    streamed(bench, text("a"))
    bench.pump.stop(Cause.CLIENT_STOP)
    bench.pump.reckoning.leave_vendor()
    bench.pump.reckoning.leave_vendor()
    assert bench.generation.aborted == 1
    assert bench.pump.reckoning.hear_vendor()


def test_an_engine_that_never_took_the_request_is_paid_nothing() -> None:
    clock = ManualClock()
    charge, slot, account = metered(clock)
    bench = Bench(charge=charge, clock=clock)
    bench.pump.stop(Cause.CLIENT_GONE)
    assert bill_of(bench) == Bill()
    assert (account.spent_nano, account.reserved_nano, slot.is_over) == (0, 0, True)


@pytest.mark.parametrize("hides", [True, False])
def test_usage_with_every_chunk_is_hidden_from_clients_that_did_not_ask(*, hides: bool) -> None:
    bench = Bench(hides_running_usage=hides)
    running = {"prompt_tokens": 1, "completion_tokens": 1}
    streamed(bench, text("a") | {"usage": running}, text("b") | {"usage": running | {"completion_tokens": 2}})
    bench.pump.stop(Cause.CLIENT_STOP)
    bill = bill_of(bench)
    assert (bill.completion_tokens, bill.basis) == (2, Basis.REPORTED)
    segment = bench.log.take().segment
    assert segment is not None
    assert (b'"usage"' in segment.data) is not hides
