"""The price list of ``genai-prices``: what vendors say their models cost, as shipped with the package.

Import this module late: it takes some 0.2 s. Nothing here uses the network; a newer list is a newer package.

Two things of the package are not used. ``calc_price`` without a vendor guesses one by the model's name: an unknown
host that serves ``gpt-4o`` would be billed as OpenAI. And its look-ups by name remember every name they ever saw, while
names come from clients: vendors are looked up through it, once, and models in the vendor, which remembers nothing.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from headrace.policy.quote import Quote, Rate

VENDORS = tuple(sorted(vendor.id for vendor in providers))
"""Names that ``engine.provider`` may have; the package knows a few others for some of them."""

_PER_THOUSAND = -3


class Listing:
    """One model on the price list."""

    __slots__ = ("_model",)

    def __init__(self, model: ModelInfo) -> None:
        self._model = model

    def quote(self, at: datetime) -> Quote | None:
        """Return the prices of that time (prices change by date, some by hour); None when it is not sold by the token."""
        return _quote_of(self._model.get_prices(at))


class PriceList:
    """What one vendor sells.

    Args:
        provider: The vendor's name; None: told by the URL.
        upstream: Base URL of the engine.

    Raises:
        LookupError: There is no such vendor.
    """

    def __init__(self, provider: str | None, upstream: str | None) -> None:
        # A snapshot of our own: what another part of the process may do to the package's own one changes no bill.
        self._vendors = DataSnapshot(providers=providers, from_auto_update=False)
        url = None if provider is not None or upstream is None else upstream.lower()
        self._vendor = self._vendors.find_provider(None, provider, url)

    def find(self, model: str) -> Listing | None:
        """Return the model of that name, dated and other variants of known names included."""
        found = self._vendor.find_model(model, all_providers=self._vendors.providers)
        return None if found is None else Listing(found)


def _quote_of(price: ModelPrice) -> Quote | None:
    if price.input_mtok is None and price.output_mtok is None and _is_priced(price):
        return None  # by the hour, the page or the character
    rate = _rate(price.input_mtok)
    per_request = _rate(price.requests_kcount).base.scaleb(_PER_THOUSAND)
    cached = rate if price.cache_read_mtok is None else _rate(price.cache_read_mtok)
    return Quote(input=rate, cached_input=cached, output=_rate(price.output_mtok), request=per_request)


def _is_priced(price: ModelPrice) -> bool:
    """Whether it costs anything. Models without any price on the list are the free ones."""
    return any(value is not None for value in vars(price).values())


def _rate(price: Decimal | TieredPrices | None) -> Rate:
    if price is None:
        return Rate(Decimal(0))
    if isinstance(price, TieredPrices):
        return Rate(price.base, tuple((tier.start, tier.price) for tier in price.tiers))
    return Rate(price)
