"""Prices: what models cost, from the settings and from the price list of the engine's vendor."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from headrace.errors import SettingsError
from headrace.policy.quote import FREE, Quote, Rate
from headrace.types.access import Dollars, check_dollars

if TYPE_CHECKING:
    from headrace.policy.price_list import Listing, PriceList

__all__ = ["Price", "PriceBook", "Quote"]

MAX_REMEMBERED = 1024
"""Model names whose place on the price list is remembered: names are chosen by clients."""

MAX_NAME_CHARACTERS = 256
"""Of a model's name; a longer one is on no list."""


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A model's price in the settings; it replaces the vendor's as a whole.

    Raises:
        ValueError: An amount is negative, endless or out of range; the message begins with its field.
    """

    input: Dollars
    """Per million tokens of prompts."""
    cached_input: Dollars | None = None
    """Per million tokens of prompts that the engine took from a cache; None: as ``input``."""
    output: Dollars
    """Per million tokens of answers."""
    request: Dollars = Decimal(0)
    """Per request."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            amount: Decimal | None = getattr(self, field)
            try:
                if amount is not None:
                    check_dollars(amount)
            except ValueError as error:
                raise ValueError(f"{field}: {error}") from None

    def quote(self) -> Quote:
        """Return it as what a request pays, whenever it comes."""
        cached = self.input if self.cached_input is None else self.cached_input
        return Quote(input=Rate(self.input), cached_input=Rate(cached), output=Rate(self.output), request=self.request)


class PriceBook:
    """Says what models of one engine cost.

    Args:
        provider: The engine's vendor (``engine.provider``), by its name in ``genai-prices``; None: told by the URL.
        upstream: The engine's base URL; None for the engine inside this process, which is free.
        overrides: Prices of the settings, by model.
    """

    def __init__(self, provider: str | None, upstream: str | None, overrides: Mapping[str, Price]) -> None:
        self._provider = provider
        self._upstream = upstream
        self._overrides = {model: price.quote() for model, price in overrides.items()}
        self._is_free = provider is None and upstream is None
        self._is_loaded = self._is_free
        self._list: PriceList | None = None
        self._listings: dict[str, Listing | None] = {}

    def load(self) -> None:
        """Load the vendor's price list, once; some 0.2 s, so call it before clients come (any thread will do).

        A URL of no known vendor is no error: its models have the prices of the settings, or none.

        Raises:
            SettingsError: ``engine.provider`` names no vendor.
        """
        if self._is_loaded:
            return
        from headrace.policy.price_list import VENDORS, PriceList  # noqa: PLC0415 (0.2 s)

        try:
            self._list = PriceList(self._provider, self._upstream)
        except LookupError:
            if self._provider is not None:
                known = ", ".join(VENDORS)
                raise SettingsError(f"engine.provider: no such vendor: {self._provider!r}; known: {known}") from None
        self._is_loaded = True

    def quote(self, model: str, at: datetime) -> Quote | None:
        """Return what a request for ``model`` accepted at that time (UTC) pays; None when no price is known.

        It is never guessed by the name alone: the vendor must be known.

        Raises:
            SettingsError: As ``load``, which is called if it was not.
        """
        overridden = self._overrides.get(model)
        if overridden is not None:
            return overridden
        if self._is_free:
            return FREE
        listing = self._listing(model)
        return None if listing is None else listing.quote(at)

    def _listing(self, model: str) -> Listing | None:
        if model in self._listings:
            return self._listings[model]
        self.load()
        if self._list is None or len(model) > MAX_NAME_CHARACTERS:
            return None
        if len(self._listings) >= MAX_REMEMBERED:
            del self._listings[next(iter(self._listings))]
        found = self._listings[model] = self._list.find(model)
        return found
