"""Accounts and purses: how many streams at once spend from one budget without spending more than it holds.

Rules:

1. An *account* is one key's or one owner's money of one UTC day or month: what is spent, what is reserved, a limit or none.
2. A request pays from a *purse*, which reserves on all accounts of the request or on none. A reservation never goes
   beyond a limit, so streams that run side by side cannot spend together what each of them alone could.
3. What was charged has happened, and is entered even beyond a limit: an account is overdrawn by no more than the charge
   that each of its running streams was refused.
4. Purses reserve a little ahead, so that most charges touch the purse alone. How much is a small share of what is left:
   many streams on a nearly empty budget come to its end together, instead of some waiting on what others hold.
5. The bill has the last word: ``settle`` gives the reservation back and enters the bill, and corrects it when it changes.

Money is whole nano-dollars.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.types.bill import dollars

AHEAD_TIMES = 16
"""A purse that needs more reserves at most so many times as much ahead. Of a large charge, a prompt say, that was
reserved before only the rest counts."""

AHEAD_SHARE = 256
"""A purse reserves ahead at most one part in so many of what is left: fewer than that many streams leave some to each."""

_UNBOUNDED = 1 << 100
"""More than any sum of charges."""

Scope = Literal["key", "owner"]


class Period(msgspec.Struct, frozen=True, gc=False):
    """A day or a month of UTC."""

    kind: Literal["day", "month"]
    name: str
    """``2026-11-21``, ``2026-11``."""
    ends_at: float
    """Unix seconds."""


class Account(msgspec.Struct, kw_only=True, eq=False):
    """The money of one key or owner, of one day or month. Amounts are nano-dollars."""

    scope: Scope
    period: Period
    limit_nano: int | None = None
    """None: no limit, for now."""
    spent_nano: int = 0
    """Bills, and what running streams were charged although it was not to be had."""
    reserved_nano: int = 0
    """Held by the purses of running streams."""
    purses: int = 0
    """Purses not yet settled."""

    def remaining(self) -> int | None:
        """Return what can still be reserved, below zero when overdrawn; None: without limit."""
        return None if self.limit_nano is None else self.limit_nano - self.spent_nano - self.reserved_nano

    def explain(self) -> str:
        """Return, for the client, that it is spent."""
        limit = "" if self.limit_nano is None else f" of {dollars(self.limit_nano)} US dollars"
        return f"the {self.scope}'s budget{limit} for the {self.period.kind} {self.period.name} (UTC) is spent"


class Purse:
    """What one request holds of its accounts. It must be settled in the end, whatever becomes of the request.

    Args:
        accounts: From ``Ledger.accounts``.
    """

    __slots__ = (
        "_accounts",
        "_covered_nano",
        "_entered_nano",
        "_is_settled",
        "_reserved_nano",
        "charged_nano",
        "short_of",
    )

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        self.charged_nano = 0
        """Sum of all charges."""
        self.short_of: Account | None = None
        """The account that had not enough when ``reserve`` or ``charge`` was last False."""
        self._accounts = accounts
        self._reserved_nano = 0
        self._entered_nano = 0
        """Of this request, in what the accounts say is spent."""
        self._covered_nano = 0
        """Charges up to this sum need no look at the accounts: they are reserved, or entered already."""
        self._is_settled = False
        for account in accounts:
            account.purses += 1

    def reserve(self, nano: int) -> bool:
        """Hold an amount (0 or more) on all accounts. False, and nothing is held, when one of them has less left.

        Nothing can always be held. Not to be called after ``settle``.
        """
        left, account = self._left()
        if nano and left < nano:
            self.short_of = account
            return False
        self._hold(nano)
        return True

    def charge(self, nano: int) -> bool:
        """Spend an amount (0 or more), first from what is reserved.

        Returns:
            False when an account had not enough left: the stream must end. The amount is charged all the same.
            After ``settle`` charges change no account, and the answer is True.
        """
        self.charged_nano += nano
        return self.charged_nano <= self._covered_nano or self._top_up()

    def settle(self, total_nano: int) -> None:
        """Give back what is reserved, and enter what the request costs in all, whatever was charged on the way.

        May be called again when the bill changes: then the difference is entered.
        """
        for account in self._accounts:
            account.spent_nano += total_nano - self._entered_nano
            account.reserved_nano -= self._reserved_nano
            if not self._is_settled:
                account.purses -= 1
        self._entered_nano = total_nano
        self._reserved_nano = 0
        self._covered_nano = _UNBOUNDED
        self._is_settled = True

    def _top_up(self) -> bool:
        """Cover what was charged: from what is left, and a little ahead; else beyond the limit."""
        missing = self.charged_nano - self._covered_nano
        left, account = self._left()
        if left < missing:
            self.short_of = account
            self._overdraw(missing)
            return False
        self._hold(missing + min(missing * AHEAD_TIMES, (left - missing) // AHEAD_SHARE))
        return True

    def _left(self) -> tuple[int, Account | None]:
        """Return how much can be reserved, and the account that bounds it; None when no account has a limit."""
        least, tightest = _UNBOUNDED, None
        for account in self._accounts:
            remaining = account.remaining()
            if remaining is not None and remaining < least:
                least, tightest = remaining, account
        return least, tightest

    def _hold(self, nano: int) -> None:
        for account in self._accounts:
            account.reserved_nano += nano
        self._reserved_nano += nano
        self._covered_nano += nano

    def _overdraw(self, nano: int) -> None:
        for account in self._accounts:
            account.spent_nano += nano
        self._entered_nano += nano
        self._covered_nano += nano
