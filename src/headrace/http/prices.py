"""Prices of all engines: each has its vendor, and a model of a route may have a price of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from headrace.errors import SettingsError
from headrace.policy.prices import PriceBook
from headrace.policy.quote import Quote
from headrace.policy.routing import Target
from headrace.settings import DEFAULT_ENGINE, Settings
from headrace.settings.engine_checks import engine_path


class Prices:
    """The price books of a node.

    Args:
        books: By the engine's name.
        default_engine: Whose book counts for an engine that is known no more.
        own: Models whose price the settings say.
    """

    def __init__(self, books: Mapping[str, PriceBook], *, default_engine: str, own: frozenset[str]) -> None:
        self._books = books
        self._default_engine = default_engine
        self._own = own

    def quote(self, model: str, target: Target, at: float) -> Quote | None:
        """Return what a request pays.

        Args:
            model: The name that the client uses; its price in the settings counts first.
            target: Who answers.
            at: When it was accepted, Unix seconds.
        """
        return self.quote_of(model, target.engine, target.model, at)

    def quote_of(self, model: str, engine: str, engine_model: str, at: float) -> Quote | None:
        """Return what a request pays whose model is called ``engine_model`` by its engine."""
        book = self._books.get(engine) or self._books[self._default_engine]
        name = model if model in self._own else engine_model or model
        return book.quote(name, datetime.fromtimestamp(at, UTC))


async def prices_of(settings: Settings, *, default_engine: str) -> Prices:
    """Return the prices that the settings name, loaded.

    Raises:
        SettingsError: There is no such vendor.
    """
    overrides = {name: model.price for name, model in settings.models.items() if model.price is not None}
    engines = {**settings.engines, default_engine: settings.engine}
    books = {name: PriceBook(engine.provider, engine.upstream, overrides) for name, engine in engines.items()}
    for name, book in books.items():
        try:
            await asyncio.to_thread(book.load)
        except SettingsError as error:
            path = engine_path(DEFAULT_ENGINE if name == default_engine else name)
            raise SettingsError(error.message.replace("engine.", f"{path}.", 1)) from error
    return Prices(books, default_engine=default_engine, own=frozenset(overrides))
