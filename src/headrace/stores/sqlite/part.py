"""What the stores of one database have in common: entering one of them enters the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self


class DatabasePart:
    """One store of a ``SqliteDatabase``.

    Args:
        enter: Opens the database, unless somebody has it open.
        leave: Closes it when nobody else needs it.
    """

    def __init__(self, *, enter: Callable[[], Awaitable[object]], leave: Callable[[], Awaitable[None]]) -> None:
        self._enter = enter
        self._leave = leave

    async def __aenter__(self) -> Self:
        await self._enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()
