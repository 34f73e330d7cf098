"""What a request is charged: tokens, money, and how sure both are.

Money is whole nano-dollars (10**-9 US dollars): sums of many small prices stay exact.
"""

from __future__ import annotations

import enum
from decimal import ROUND_HALF_UP, Decimal

import msgspec

NANO = 10**9


class BillRule(enum.StrEnum):
    """What is charged for an answer that was cut off."""

    DELIVERED = "delivered"
    """What clients were given."""
    GENERATED = "generated"
    """What the engine had sent by then."""
    VENDOR = "vendor"
    """What the engine's vendor says: the engine is read to its end, unheard, for its usage."""


class Basis(enum.StrEnum):
    """Where the tokens of a bill come from."""

    REPORTED = "reported"
    """The engine's own usage."""
    ESTIMATED = "estimated"
    """Our count, in full or in part."""


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What one request is charged."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Those of the prompt that the engine took from a cache; part of ``prompt_tokens``."""
    completion_tokens: int = 0
    nano_usd: int | None = 0
    """The cost; None when no price of the model is known."""
    basis: Basis = Basis.ESTIMATED
    rule: BillRule | None = None
    """The rule that decided; None for whole answers, and for those that cost nothing."""


def nano_usd(dollars: Decimal) -> int:
    """Return an amount in nano-dollars, half of one rounded up."""
    return int((dollars * NANO).to_integral_value(ROUND_HALF_UP))


def dollars(nano: int) -> str:
    """Return an amount in dollars as people and JSON write it: ``"0.0034875"``, without needless zeros."""
    sign, rest = ("-", -nano) if nano < 0 else ("", nano)
    whole, part = divmod(rest, NANO)
    fraction = f"{part:09d}".rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
