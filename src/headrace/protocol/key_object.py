"""Client keys as JSON: what the API answers, and what the command prints. Never a secret."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from headrace.types.access import Allowance, Budget, ClientKey, Owner, Role, Secret, Tags
from headrace.types.bill import dollars, nano_usd
from headrace.types.ids import KeyId


class SecretObject(msgspec.Struct, frozen=True, kw_only=True):
    """One secret, as far as anybody may see it. Times are Unix seconds."""

    hint: str
    created_at: float
    expires_at: float | None


class BudgetObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A budget in decimal dollars; what is left out has no bound."""

    day_usd: str | None = None
    month_usd: str | None = None


class SpentObject(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent on the current day and in the current month (UTC), in decimal dollars."""

    day_usd: str
    month_usd: str


class KeyObject(msgspec.Struct, frozen=True, kw_only=True):
    """A key as clients see it. Times are Unix seconds."""

    object: Literal["key"] = "key"
    id: KeyId
    name: str
    owner: Owner
    role: Role
    models: tuple[str, ...] | None
    limits: Allowance
    budget: BudgetObject
    tags: Tags
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    secrets: tuple[SecretObject, ...]
    """Oldest first."""
    spent: SpentObject | msgspec.UnsetType = msgspec.UNSET
    """Left out where no relay is asked."""


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """All keys, oldest first."""

    object: Literal["list"] = "list"
    data: list[KeyObject]


def key_object(key: ClientKey, *, spent: tuple[int, int] | None = None) -> KeyObject:
    """Return a key as JSON shows it.

    Args:
        key: The key.
        spent: Nano-dollars of this day and this month; None when they are not known.
    """
    return KeyObject(
        id=key.id,
        name=key.name,
        owner=key.owner,
        role=key.role,
        models=key.models,
        limits=key.limits,
        budget=budget_object(key.budget),
        tags=key.tags,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        secrets=tuple(_secret_object(secret) for secret in key.secrets),
        spent=msgspec.UNSET if spent is None else spent_object(spent),
    )


def budget_object(budget: Budget) -> BudgetObject:
    """Return a budget as JSON shows it."""
    return BudgetObject(day_usd=_dollars(budget.day_usd), month_usd=_dollars(budget.month_usd))


def spent_object(spent: tuple[int, int]) -> SpentObject:
    """Return what was spent, given in nano-dollars of the day and the month, as JSON shows it."""
    day, month = spent
    return SpentObject(day_usd=dollars(day), month_usd=dollars(month))


def _dollars(amount: Decimal | None) -> str | None:
    return None if amount is None else dollars(nano_usd(amount))


def _secret_object(secret: Secret) -> SecretObject:
    return SecretObject(hint=secret.hint, created_at=secret.created_at, expires_at=secret.expires_at)
