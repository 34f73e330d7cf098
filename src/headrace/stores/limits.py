"""Bounds that all backends share."""

from __future__ import annotations

MAX_KEYS = 100_000
"""Client keys in one store, revoked ones included."""

MAX_CLAIMS = 1_000_000
"""Claims in one file."""

CACHE_MAX_ENTRIES = 10_000
"""Cache entries kept unless told otherwise."""

CACHE_MAX_BYTES = 256 * 1024 * 1024
"""Likewise bytes of the logs that they refer to."""

MAX_COUNT = 2**40
"""Most tokens that one request is entered into the usage with: engines report what they like, and sums must fit."""

MAX_NANO_USD = 2**50
"""Likewise of money: over a million dollars."""


def too_many_claims(count: int) -> str:
    """Return what a client is told whose claim finds no room."""
    return f"the store holds {count} idempotency keys, as many as it takes; try again later, or without a key"
