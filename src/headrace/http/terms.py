"""The terms of one request: what its caller, its model and its engine are held to, and what it costs."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from headrace.http.node import Node
from headrace.http.prices import Prices
from headrace.policy.billing import BillingRules, Counts, bill_of
from headrace.policy.purse import Purse
from headrace.policy.scopes import Scope, ScopeKind
from headrace.settings import Settings, UpstreamSettings
from headrace.types.access import Allowance, Budget, Caller, ClientKey, Owner
from headrace.types.bill import Bill
from headrace.types.record import Record

T = TypeVar("T", Allowance, Budget)

_BOUNDLESS = Allowance()


def key_limits(node: Node, key: ClientKey) -> Allowance:
    """Return a key's limits; what it does not say comes from ``keys.limits``."""
    return _over(key.limits, node.settings.keys.limits)


def key_budget(node: Node, key: ClientKey) -> Budget:
    """Return a key's budget; what it does not say comes from ``keys.budget``."""
    return _over(key.budget, node.settings.keys.budget)


def owner_limits(node: Node, owner: Owner) -> Allowance:
    settings = node.settings.owners.get(owner)
    return settings.limits if settings is not None else _BOUNDLESS


def owner_budget(node: Node, owner: Owner) -> Budget:
    settings = node.settings.owners.get(owner)
    return settings.budget if settings is not None else Budget()


def limits_of(node: Node, kind: ScopeKind, name: str) -> Allowance | None:
    """Return the limits of a key, an owner, a model or the engine; None of a key that is not known any more."""
    match kind:
        case ScopeKind.KEY:
            key = node.gate.table.of_id(name)
            return None if key is None else key_limits(node, key)
        case ScopeKind.OWNER:
            return owner_limits(node, Owner(name))
        case ScopeKind.MODEL:
            return model_limits(node, name)
        case ScopeKind.ENGINE:
            return engine_limits(node, name)


def model_limits(node: Node, model: str) -> Allowance:
    settings = node.settings.models.get(model)
    return settings.limits if settings is not None else _BOUNDLESS


def engine_limits(node: Node, engine: str) -> Allowance:
    return engine_settings(node, engine).limits


def engine_settings(node: Node, engine: str) -> UpstreamSettings:
    """Return the settings of an engine; of one that they name no more, until the restart, those of the default one."""
    if engine == node.engines.default:
        return node.settings.engine
    return node.settings.engines.get(engine) or node.settings.engine


def scopes_of(node: Node, caller: Caller, model: str, engine: str) -> list[Scope]:
    """Return everything that a request counts for.

    Args:
        node: Knows the limits.
        caller: Who asks.
        model: For what.
        engine: The one that is asked first. Another one that steps in is not counted for.
    """
    held = [
        (ScopeKind.OWNER, caller.owner, owner_limits(node, caller.owner)),
        (ScopeKind.MODEL, model, model_limits(node, model)),
        (ScopeKind.ENGINE, engine, engine_limits(node, engine)),
    ]
    if caller.key is None:
        held = [part for part in held if part[2] != _BOUNDLESS]
    else:
        # Also those without a limit, so that one which is set later counts the streams that run by then.
        held.insert(0, (ScopeKind.KEY, caller.key.id, key_limits(node, caller.key)))
    return [node.lobby.admission.scope(kind, name, limits) for kind, name, limits in held]


def most_output_tokens(node: Node, caller: Caller, model: str, engine: str) -> int | None:
    """Return how many tokens each choice of an answer may have by the limits of all that it counts for; None: any number."""
    held = [owner_limits(node, caller.owner), model_limits(node, model), engine_limits(node, engine)]
    if caller.key is not None:
        held.append(key_limits(node, caller.key))
    bounds = (allowance.max_output_tokens for allowance in held)
    return min((bound for bound in bounds if bound is not None), default=None)


def rules_of(settings: Settings, model: str) -> BillingRules:
    """Return what is charged for answers of a model that were cut off."""
    billing, own = settings.billing, settings.models.get(model)
    return BillingRules(
        cancelled=(own.cancelled if own is not None else None) or billing.cancelled,
        truncated=(own.truncated if own is not None else None) or billing.truncated,
    )


def recovered_bill(settings: Settings, prices: Prices, record: Record) -> Bill:
    """Return the bill of a request whose stream a crash has cut off: all that its log holds can still be delivered."""
    counts = Counts(
        prompt_tokens=record.prompt_tokens,
        cached_tokens=0,
        completion_tokens=record.completion_tokens,
        generated_tokens=record.generated_tokens,
        delivered_tokens=record.delivered_tokens,
        is_reported=False,
    )
    quote = prices.quote_of(record.model, record.engine, record.engine_model, record.accepted_at)
    return bill_of(record.state, counts, rules_of(settings, record.model), quote, was_accepted=True)


def purse_of(node: Node, caller: Caller, at: float) -> Purse:
    """Return a hold on the budgets of a caller; on nothing for who shows no key, and is not told apart from others."""
    if caller.key is None:
        return Purse(())
    budgets = owner_budget(node, caller.owner), key_budget(node, caller.key)
    return Purse(node.ledger.accounts(caller.owner, caller.key_id, *budgets, at))


def _over(own: T, default: T) -> T:
    """Return ``own`` with the default's values where it has none."""
    names = own.__struct_fields__
    missing = {name: getattr(default, name) for name in names if getattr(own, name) is None}
    return msgspec.structs.replace(own, **missing) if missing else own
