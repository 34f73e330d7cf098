"""Budgets: what keys and owners have spent today and this month, and what they may.

A request belongs to the UTC day and month in which it was accepted, however long it runs. How streams share an account
is in ``headrace.policy.purse``. Nothing here is saved: at the start a ledger is filled from the usage in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Protocol

from headrace.policy.purse import Account, Period, Purse, Scope
from headrace.types.access import Budget
from headrace.types.bill import nano_usd
from headrace.types.ids import KeyId

__all__ = ["Account", "Ledger", "Period", "Purse", "SpentOnDay", "since"]

GRACE_S = 3600.0
"""How long the accounts of a day or month are kept after its end, for requests that were accepted just before."""


class SpentOnDay(Protocol):
    """What one key of one owner spent on one day; ``headrace.stream.store.Spent`` is one."""

    @property
    def owner(self) -> str: ...
    @property
    def key_id(self) -> KeyId: ...
    @property
    def day(self) -> str:
        """Of UTC: ``2026-11-21``."""

    @property
    def nano_usd(self) -> int: ...


class Ledger:
    """All accounts of the present day and month, and past ones as long as streams pay from them.

    Args:
        spent: What was spent since ``since(wall_time())``, from the store.
        wall_time: Unix seconds.
    """

    def __init__(self, spent: Iterable[SpentOnDay], wall_time: Callable[[], float]) -> None:
        self._wall_time = wall_time
        self._accounts: dict[tuple[Scope, str, str], Account] = {}
        for row in spent:
            for account in self._of(row.owner, row.key_id, date.fromisoformat(row.day)):
                account.spent_nano += row.nano_usd
        self._next_sweep_at = 0.0
        self._sweep()

    def accounts(
        self, owner: str, key_id: KeyId, owner_budget: Budget, key_budget: Budget, at: float
    ) -> tuple[Account, ...]:
        """Return the accounts that a request pays from: day and month of its key, if it has one, and of its owner.

        Those without a limit are among them: what is spent counts when a limit is set later. The limits given here
        hold from now on; streams that run already come to them once they have used up what they hold.

        Args:
            owner: Empty while nobody has to show a key.
            key_id: Empty without a key.
            owner_budget: Of the owner.
            key_budget: Of the key.
            at: When the request was accepted, Unix seconds.
        """
        self._sweep()
        accounts = self._of(owner, key_id, _day(at))
        budgets = (key_budget, owner_budget) if key_id else (owner_budget,)
        limits = (limit for budget in budgets for limit in (budget.day_usd, budget.month_usd))
        for account, limit in zip(accounts, limits, strict=True):
            account.limit_nano = _nano(limit)
        return accounts

    def spent_of(self, owner: str, key_id: KeyId) -> tuple[int, int]:
        """Return what a key has spent today and this month, in nano-dollars; without a key, what its owner has.

        Streams that run count when they end.
        """
        holder = _holders(owner, key_id)[0]
        found = (self._accounts.get((*holder, period.name)) for period in _periods(_day(self._wall_time())))
        today, this_month = (0 if account is None else account.spent_nano for account in found)
        return today, this_month

    def _of(self, owner: str, key_id: KeyId, day: date) -> tuple[Account, ...]:
        """Return all accounts of a request accepted on that day, opened where they were not."""
        periods = _periods(day)
        return tuple(self._account(holder, period) for holder in _holders(owner, key_id) for period in periods)

    def _account(self, holder: tuple[Scope, str], period: Period) -> Account:
        key = (*holder, period.name)
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(scope=holder[0], period=period)
        return account

    def _sweep(self) -> None:
        """Once a day, drop accounts whose time is over, unless a purse is not settled yet."""
        now = self._wall_time() - GRACE_S
        if now < self._next_sweep_at:
            return
        self._next_sweep_at = _periods(_day(now))[0].ends_at
        kept = {
            key: account for key, account in self._accounts.items() if account.purses or account.period.ends_at > now
        }
        self._accounts = kept


def since(wall_time: float) -> float:
    """Return from when on spending matters at that time: the first of the month. All in Unix seconds."""
    return _midnight(_day(wall_time - GRACE_S).replace(day=1))


def _holders(owner: str, key_id: KeyId) -> tuple[tuple[Scope, str], ...]:
    return (("key", key_id), ("owner", owner)) if key_id else (("owner", owner),)


def _periods(day: date) -> tuple[Period, Period]:
    next_month = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    name = day.isoformat()
    return (
        Period("day", name, _midnight(day + timedelta(days=1))),
        Period("month", name[: len("2026-11")], _midnight(next_month)),
    )


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()


def _midnight(day: date) -> float:
    """Return when a day of UTC begins, Unix seconds."""
    return datetime.combine(day, time(), UTC).timestamp()


def _nano(limit: Decimal | None) -> int | None:
    return None if limit is None else nano_usd(limit)
