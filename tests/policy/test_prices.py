"""Prices: exact to the nano-dollar, the vendor's own at the time, never guessed, and bounded in memory."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import floor

import msgspec
import pytest
from genai_prices.data import providers
from genai_prices.types import ModelPrice, Usage
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import SettingsError
from headrace.policy import prices
from headrace.policy.price_list import Listing
from headrace.policy.prices import MAX_NAME_CHARACTERS, MAX_REMEMBERED, Price, PriceBook
from headrace.policy.quote import MAX_COST, Quote, Rate

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"

Rates = st.decimals(min_value=0, max_value=10**5, places=6)
Tokens = st.integers(min_value=0, max_value=10**7)


def quote(book: PriceBook, model: str, at: datetime = AT) -> Quote:
    found = book.quote(model, at)
    assert found is not None
    return found


@pytest.fixture
def openai() -> PriceBook:
    return PriceBook(None, OPENAI, {})


@pytest.mark.parametrize(
    ("prompt", "cached", "completion", "nano"),
    [
        (1_000_000, 0, 0, 2_500_000_000),
        (1_000_000, 1_000_000, 0, 1_250_000_000),
        (0, 0, 1_000_000, 10_000_000_000),
        (1000, 400, 100, 600 * 2500 + 400 * 1250 + 100 * 10_000),
    ],
)
def test_gpt_4o_costs_what_its_vendor_says(
    openai: PriceBook, prompt: int, cached: int, completion: int, nano: int
) -> None:
    assert quote(openai, "gpt-4o").cost(prompt, cached, completion) == nano
    assert quote(openai, "gpt-4o").output_nano(prompt) == 10_000


def test_a_long_prompt_pays_the_rates_of_its_tier_for_all_tokens() -> None:
    gemini = quote(PriceBook("google", None, {}), "gemini-2.5-pro")
    assert gemini.cost(200_000, 50_000, 1000) == 150_000 * 1250 + 50_000 * 125 + 1000 * 10_000
    assert gemini.cost(200_001, 50_000, 1000) == 150_001 * 2500 + 50_000 * 250 + 1000 * 15_000
    assert (gemini.output_nano(200_000), gemini.output_nano(200_001)) == (10_000, 15_000)


def test_a_price_per_request_comes_on_top() -> None:
    sonar = quote(PriceBook("perplexity", None, {}), "sonar")
    assert sonar.cost(0, 0, 0) == 12_000_000
    assert sonar.cost(1000, 0, 1000) == 12_000_000 + 2 * 1_000_000


def test_a_price_that_changes_by_the_hour_is_that_of_the_time_of_the_request() -> None:
    book = PriceBook("deepseek", None, {})
    by_hour = {
        quote(book, "deepseek-chat", AT.replace(year=2025, month=5, hour=hour)).cost(10**6, 0, 0) for hour in range(24)
    }
    assert by_hour == {270_000_000, 135_000_000}


def is_sold_by_the_token(price: ModelPrice) -> bool:
    listed = {key for key, value in vars(price).items() if value is not None}
    return not listed or bool(listed & {"input_mtok", "output_mtok"})


@pytest.mark.parametrize(("prompt", "cached", "completion"), [(1000, 300, 200), (150_000, 0, 9), (3_000_000, 7, 10**6)])
def test_every_model_of_every_vendor_costs_what_the_price_list_itself_makes_of_it(
    prompt: int, cached: int, completion: int
) -> None:
    usage = Usage(input_tokens=prompt, cache_read_tokens=cached, output_tokens=completion)
    seen = 0
    for vendor in providers:
        for model in vendor.models:
            found = Listing(model).quote(AT)
            if not is_sold_by_the_token(model.get_prices(AT)):
                assert found is None
                continue
            assert found is not None
            theirs = model.calc_price(usage, vendor, genai_request_timestamp=AT).total_price
            assert abs(Fraction(found.cost(prompt, cached, completion)) - Fraction(theirs) * 10**9) <= Fraction(1, 2)
            seen += 1
    assert seen > 2000


Prices = st.builds(Price, input=Rates, cached_input=Rates, output=Rates, request=Rates)


@given(Prices, Tokens, Tokens, Tokens)
def test_a_cost_is_the_exact_sum_rounded_once_half_up(price: Price, fresh: int, cached: int, completion: int) -> None:
    assert price.cached_input is not None
    per_million = Fraction(price.input) * fresh + Fraction(price.cached_input) * cached
    per_million += Fraction(price.output) * completion
    exact = Fraction(price.request) * 10**9 + per_million * 1000
    assert price.quote().cost(fresh + cached, cached, completion) == floor(exact + Fraction(1, 2))


def test_half_a_nano_dollar_is_rounded_up() -> None:
    paid = Price(input=Decimal(0), output=Decimal("0.0005")).quote()
    assert [paid.cost(0, 0, tokens) for tokens in (1, 2, 3)] == [1, 1, 2]


def test_cached_tokens_without_a_price_of_their_own_cost_what_others_cost() -> None:
    assert Price(input=Decimal(3), output=Decimal(0)).quote().cost(1000, 600, 0) == 3_000_000


def test_an_engine_that_claims_more_cached_tokens_than_the_prompt_has_is_billed_for_the_prompt() -> None:
    paid = Price(input=Decimal(3), cached_input=Decimal(1), output=Decimal(0)).quote()
    assert paid.cost(1000, 5000, 0) == 1_000_000


def test_no_claim_of_an_engine_costs_more_than_64_bits_hold() -> None:
    paid = Price(input=Decimal(0), output=Decimal(10**9)).quote()
    assert paid.cost(0, 0, 10**300) == MAX_COST < 2**63


def test_tiers_apply_beyond_their_start() -> None:
    rate = Rate(Decimal(1), ((10, Decimal(2)), (20, Decimal(3))))
    assert [rate.at(tokens) for tokens in (0, 10, 11, 20, 21, 10**9)] == [1, 1, 2, 2, 3, 3]


def test_the_engine_of_our_own_is_free_unless_the_settings_say_otherwise() -> None:
    book = PriceBook(None, None, {"small": Price(input=Decimal(0), output=Decimal(1))})
    assert quote(book, "other").cost(10**6, 0, 10**6) == 0
    assert quote(book, "small").cost(0, 0, 10**6) == 10**9


def test_the_settings_price_replaces_the_vendors() -> None:
    book = PriceBook("openai", None, {"gpt-4o": Price(input=Decimal(1), output=Decimal(0))})
    assert quote(book, "gpt-4o").cost(10**6, 10**6, 10**6) == 10**9


def test_an_unknown_host_has_no_price_even_for_a_known_name() -> None:
    book = PriceBook(None, "http://127.0.0.1:8000/v1", {"mine": Price(input=Decimal(0), output=Decimal(2))})
    book.load()
    assert book.quote("gpt-4o", AT) is None
    assert quote(book, "mine").cost(0, 0, 1) == 2000


def test_a_known_vendor_behind_another_host_is_named_in_the_settings() -> None:
    book = PriceBook("anthropic", "http://gateway.internal/v1", {})
    assert quote(book, "claude-sonnet-4-5").cost(1000, 0, 0) == 3_000_000
    assert book.quote("gpt-4o", AT) is None


def test_a_host_is_known_in_capitals_too() -> None:
    assert PriceBook(None, "HTTPS://API.OpenAI.com/v1", {}).quote("gpt-4o", AT) is not None


def test_models_that_are_not_sold_by_the_token_have_no_price(openai: PriceBook) -> None:
    assert PriceBook("elevenlabs", None, {}).quote("scribe_v1", AT) is None
    assert openai.quote("no-such-model", AT) is None


def test_a_vendor_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(SettingsError, match=r"engine\.provider: no such vendor: 'opnai'; known: .*openai"):
        PriceBook("opnai", OPENAI, {}).load()


def test_names_of_clients_fill_no_memory(openai: PriceBook) -> None:
    for number in range(MAX_REMEMBERED + 10):
        openai.quote(f"name-{number}", AT)
    assert len(openai._listings) == MAX_REMEMBERED
    assert openai.quote("gpt-4o-" + "x" * MAX_NAME_CHARACTERS, AT) is None
    assert all(len(name) <= MAX_NAME_CHARACTERS for name in openai._listings)


def test_no_look_up_is_remembered_by_the_package_itself(openai: PriceBook) -> None:
    openai.load()
    assert openai._list is not None
    snapshot = openai._list._vendors
    before = len(snapshot._provider_cache)
    for number in range(100):
        openai.quote(f"gpt-4o-{number}", AT)
    assert (len(snapshot._lookup_cache), len(snapshot._provider_misses)) == (0, 0)
    assert len(snapshot._provider_cache) == before


def test_a_model_is_looked_up_once(openai: PriceBook, monkeypatch: pytest.MonkeyPatch) -> None:
    openai.quote("gpt-4o", AT)
    monkeypatch.setattr(openai, "_list", None)
    assert openai.quote("gpt-4o", AT) is not None


def test_the_price_list_is_not_loaded_with_the_module() -> None:
    code = "import sys, headrace.policy.prices as p; p.PriceBook(None, None, {}).load(); print('genai_prices' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
    assert not hasattr(prices, "PriceList")


@pytest.mark.parametrize("field", ["input", "cached_input", "output", "request"])
@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity", "1000000001"])
def test_amounts_that_make_no_sense_are_refused_by_name(field: str, amount: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"{field}: expected US dollars from 0"):
        msgspec.convert({"input": 1, "output": 1, field: amount}, Price)


def test_settings_give_prices_as_numbers_or_text() -> None:
    price = msgspec.convert({"input": 0.15, "cached_input": "0.075", "output": 1}, Price)
    assert price == Price(input=Decimal("0.15"), cached_input=Decimal("0.075"), output=Decimal(1))
    with pytest.raises(msgspec.ValidationError, match="inptu"):
        msgspec.convert({"inptu": 1, "input": 1, "output": 1}, Price)
