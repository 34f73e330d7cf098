"""``GET /v1/me``: who the relay takes its caller for, and what that may do."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.http.exchange import Exchange
from headrace.http.terms import key_budget, key_limits
from headrace.protocol.key_object import BudgetObject, SpentObject, budget_object, spent_object
from headrace.types.access import Allowance, Budget, Owner, Role, Tags
from headrace.types.ids import KeyId


class CallerView(msgspec.Struct, frozen=True, kw_only=True):
    """A caller. Without keys it is the admin of everything, and has no owner and no key."""

    object: Literal["caller"] = "caller"
    owner: Owner
    role: Role
    key_id: KeyId | None
    name: str | None
    keys_required: bool
    models: tuple[str, ...] | None
    """Models it may ask for; None: all."""
    tags: Tags
    limits: Allowance
    """Of its key, with the relay's defaults."""
    budget: BudgetObject
    """The same."""
    spent: SpentObject
    """With its key."""
    expires_at: float | None
    """When the key ends, Unix seconds; None: never."""


async def show_caller(exchange: Exchange) -> None:
    """``GET /v1/me``."""
    node, caller = exchange.node, exchange.caller
    key = caller.key
    view = CallerView(
        owner=caller.owner,
        role=caller.role,
        key_id=None if key is None else key.id,
        name=None if key is None else key.name,
        keys_required=node.gate.is_shut,
        models=None if key is None else key.models,
        tags={} if key is None else key.tags,
        limits=Allowance() if key is None else key_limits(node, key),
        budget=budget_object(Budget() if key is None else key_budget(node, key)),
        spent=spent_object(node.ledger.spent_of(caller.owner, caller.key_id)),
        expires_at=None if key is None else key.expires_at,
    )
    await exchange.respond_json(view, headers=[(b"cache-control", b"no-store")])
