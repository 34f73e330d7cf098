"""Prices of several engines: the settings' own first, then the list of the vendor whose engine answers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from headrace.errors import SettingsError
from headrace.http.prices import prices_of
from headrace.policy.prices import Price
from headrace.policy.routing import Target
from headrace.settings import EngineSettings, ModelSettings, Settings, StoreSettings, UpstreamSettings

NOW = 1_795_255_200.0
"""2026-11-21 10:00 UTC."""
CLAUDE = "claude-sonnet-4-5"
OWN = Price(input=Decimal(7), output=Decimal(0))


def settings_with(**models: ModelSettings) -> Settings:
    return Settings(
        store=StoreSettings(url="memory:"),
        engine=EngineSettings(upstream="http://127.0.0.1:9/v1", provider="openai"),
        engines={"claude": UpstreamSettings(kind="anthropic", upstream="https://api.anthropic.com/v1")},
        models=models,
    )


async def test_the_list_of_the_engine_that_answers_counts_and_its_own_name_of_the_model() -> None:
    prices = await prices_of(settings_with(), default_engine="openai")
    by_alias = prices.quote("chat", Target(name="claude", engine="claude", model=CLAUDE), NOW)
    assert by_alias is not None
    assert by_alias == prices.quote_of(CLAUDE, "claude", "", NOW)
    assert by_alias.cost(1_000, 0, 0) > 0
    # The other vendor sells no such model.
    assert prices.quote_of("chat", "openai", CLAUDE, NOW) is None
    assert prices.quote_of("chat", "openai", "gpt-4o", NOW) is not None


async def test_a_price_of_the_settings_counts_for_the_name_that_clients_use_whoever_answers() -> None:
    prices = await prices_of(settings_with(chat=ModelSettings(price=OWN)), default_engine="openai")
    for engine, model in (("openai", "gpt-4o"), ("claude", CLAUDE)):
        quote = prices.quote_of("chat", engine, model, NOW)
        assert quote is not None
        assert quote.cost(1_000_000, 0, 5) == 7 * 10**9


async def test_a_price_of_the_engines_own_name_counts_where_clients_name_has_none() -> None:
    prices = await prices_of(settings_with(**{CLAUDE: ModelSettings(price=OWN)}), default_engine="openai")
    quote = prices.quote_of("chat", "claude", CLAUDE, NOW)
    assert quote is not None
    assert quote.cost(1_000_000, 0, 0) == 7 * 10**9


async def test_an_engine_that_is_known_no_more_has_the_default_ones_prices() -> None:
    """Records outlive the settings that they were made with."""
    prices = await prices_of(settings_with(), default_engine="openai")
    assert prices.quote_of("x", "gone", "gpt-4o", NOW) == prices.quote_of("x", "openai", "gpt-4o", NOW)


async def test_a_vendor_that_there_is_not_is_an_error() -> None:
    settings = Settings(
        store=StoreSettings(url="memory:"),
        engines={"one": UpstreamSettings(upstream="http://127.0.0.1:9/v1", provider="nobody")},
    )
    with pytest.raises(SettingsError, match=r"nobody"):
        await prices_of(settings, default_engine="embedded")
