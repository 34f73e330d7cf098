"""Bounds that all backends share."""

from __future__ import annotations

MAX_KEYS = 100_000
"""Client keys in one store, revoked ones included."""

MAX_COUNT = 2**40
"""Most tokens that one request is entered into the usage with: engines report what they like, and sums must fit."""

MAX_NANO_USD = 2**50
"""Likewise of money: over a million dollars."""
