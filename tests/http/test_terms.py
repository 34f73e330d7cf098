"""The terms of a request: whose limits, budgets, prices and rules it is held to."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.http.lobby import Lobby
from headrace.http.prices import Prices
from headrace.http.terms import (
    key_budget,
    key_limits,
    owner_budget,
    owner_limits,
    purse_of,
    recovered_bill,
    rules_of,
    scopes_of,
)
from headrace.policy.admission import Admission, QueueLimits
from headrace.policy.budgets import Ledger
from headrace.policy.prices import Price, PriceBook
from headrace.policy.queueing import Waiting
from headrace.settings import Settings, StoreSettings
from headrace.settings.tree import BillingSettings, EngineSettings, KeysSettings, ModelSettings, OwnerSettings
from headrace.types.access import ANYBODY, Allowance, Budget, Caller, ClientKey, Owner, Role
from headrace.types.bill import Basis, BillRule
from headrace.types.ids import KeyId, RequestId, StreamId
from headrace.types.outcome import Cause, State, TokenSource
from headrace.types.record import Record

NOW = 1_795_255_200.0
"""2026-11-21 10:00 UTC."""
PRICE = Price(input=Decimal(1), output=Decimal(2), request=Decimal(0))


def caller(**fields: Any) -> Caller:
    key = ClientKey(id=KeyId("key_1"), name="", owner=Owner("search"), secrets=(), created_at=NOW, **fields)
    return Caller(owner=key.owner, role=Role.MEMBER, key=key)


def node_with(**sections: Any) -> Any:
    settings = Settings(store=StoreSettings(url="memory:"), **sections)
    overrides = {name: model.price for name, model in settings.models.items() if model.price is not None}
    return SimpleNamespace(
        settings=settings,
        lobby=Lobby(Admission(QueueLimits(), lambda: 0.0)),
        engines=SimpleNamespace(default="vllm"),
        ledger=Ledger((), lambda: NOW),
        prices=Prices(
            {"vllm": PriceBook(None, "http://127.0.0.1:9/v1", overrides)},
            default_engine="vllm",
            own=frozenset(overrides),
        ),
    )


def key_of(who: Caller) -> ClientKey:
    assert who.key is not None
    return who.key


# Limits


def test_a_key_has_its_own_limits_and_where_it_has_none_those_of_all_keys() -> None:
    node = node_with(keys=KeysSettings(limits=Allowance(requests_per_minute=60, tokens_per_minute=1000)))
    key = key_of(caller(limits=Allowance(requests_per_minute=5, concurrent_streams=2)))
    assert key_limits(node, key) == Allowance(requests_per_minute=5, tokens_per_minute=1000, concurrent_streams=2)


def test_an_owner_without_settings_has_no_limit_and_no_budget() -> None:
    node = node_with(owners={"others": OwnerSettings(limits=Allowance(concurrent_streams=1))})
    assert owner_limits(node, Owner("search")) == Allowance()
    assert owner_budget(node, Owner("search")) == Budget()
    assert owner_limits(node, Owner("others")) == Allowance(concurrent_streams=1)


def test_a_request_is_held_to_its_key_its_owner_its_model_and_its_engine() -> None:
    one = Allowance(concurrent_streams=1)
    node = node_with(
        keys=KeysSettings(limits=one),
        owners={"search": OwnerSettings(limits=one)},
        models={"m": ModelSettings(limits=one)},
        engine=EngineSettings(limits=one),
    )
    scopes = scopes_of(node, caller(), "m", "vllm")
    assert [(scope.kind, scope.name) for scope in scopes] == [
        ("key", "key_1"),
        ("owner", "search"),
        ("model", "m"),
        ("engine", "vllm"),
    ]
    assert [scope.allowance for scope in scopes] == [one] * 4


def test_a_limit_that_is_set_later_counts_the_streams_that_run_by_then() -> None:
    node = node_with()
    scopes = scopes_of(node, caller(), "m", "vllm")
    assert [scope.allowance for scope in scopes] == [Allowance()] * 4
    slot = node.lobby.admission.ask("search", scopes, 10)
    node.settings = node_with(owners={"search": OwnerSettings(limits=Allowance(concurrent_streams=1))}).settings
    assert isinstance(node.lobby.admission.ask("search", scopes_of(node, caller(), "m", "vllm"), 10), Waiting)
    slot.release()


def test_whoever_needs_no_key_is_held_to_what_has_a_limit_only() -> None:
    assert scopes_of(node_with(), ANYBODY, "m", "vllm") == []
    one = Allowance(concurrent_streams=1)
    node = node_with(keys=KeysSettings(limits=one), engine=EngineSettings(limits=one))
    assert [scope.kind for scope in scopes_of(node, ANYBODY, "m", "vllm")] == ["engine"]


# Money


def test_budgets_of_a_key_and_of_its_owner_hold_both() -> None:
    node = node_with(
        keys=KeysSettings(budget=Budget(day_usd=Decimal(3), month_usd=Decimal(30))),
        owners={"search": OwnerSettings(budget=Budget(day_usd=Decimal(2)))},
    )
    who = caller(budget=Budget(day_usd=Decimal(1)))
    assert key_budget(node, key_of(who)) == Budget(day_usd=Decimal(1), month_usd=Decimal(30))
    purse = purse_of(node, who, NOW)
    assert purse.reserve(10**9)
    another = purse_of(node, caller(), NOW)
    assert another.reserve(10**9 + 1) is False
    assert another.short_of is not None
    assert "owner" in another.short_of.explain()
    # The day of the key is spent as well, but for what the first gives back.
    again = purse_of(node, who, NOW)
    assert again.reserve(1) is False
    assert again.short_of is not None
    assert "key" in again.short_of.explain()
    purse.settle(0)
    assert again.reserve(10**9)


def test_whoever_shows_no_key_spends_nobodys_budget() -> None:
    node = node_with(owners={"search": OwnerSettings(budget=Budget(day_usd=Decimal(0)))})
    assert purse_of(node, ANYBODY, NOW).reserve(10**12)


def test_prices_of_the_settings_count_and_others_are_not_guessed() -> None:
    node = node_with(models={"m": ModelSettings(price=PRICE)})
    quote = node.prices.quote_of("m", "vllm", "m", NOW)
    assert quote is not None
    assert quote.cost(1000, 0, 500) == 1000 * 1000 + 500 * 2000
    assert node.prices.quote_of("gpt-4o", "vllm", "gpt-4o", NOW) is None


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (ModelSettings(), (BillRule.DELIVERED, BillRule.GENERATED)),
        (ModelSettings(cancelled=BillRule.VENDOR), (BillRule.VENDOR, BillRule.GENERATED)),
        (ModelSettings(truncated=BillRule.DELIVERED), (BillRule.DELIVERED, BillRule.DELIVERED)),
    ],
)
def test_a_model_may_have_rules_of_its_own(own: ModelSettings, expected: tuple[BillRule, BillRule]) -> None:
    node = node_with(models={"m": own}, billing=BillingSettings(cancelled=BillRule.DELIVERED))
    rules = rules_of(node.settings, "m")
    assert (rules.cancelled, rules.truncated) == expected


def test_a_stream_that_a_crash_cut_off_is_billed_for_what_its_log_holds() -> None:
    node = node_with(models={"m": ModelSettings(price=PRICE)})
    record = Record(
        id=RequestId("req_1"),
        stream_id=StreamId("strm_1"),
        owner=Owner("search"),
        key_id=KeyId("key_1"),
        model="m",
        engine="vllm",
        state=State.TRUNCATED,
        cause=Cause.NODE_LOST,
        accepted_at=NOW,
        prompt_tokens=100,
        completion_tokens=7,
        tokens_source=TokenSource.COUNTED,
        generated_tokens=7,
        delivered_tokens=3,
    )
    bill = recovered_bill(node.settings, node.prices, record)
    assert (bill.basis, bill.rule) == (Basis.ESTIMATED, BillRule.GENERATED)
    assert (bill.prompt_tokens, bill.completion_tokens) == (100, 7)
    assert bill.nano_usd == 100 * 1000 + 7 * 2000
