"""Response headers that several answers share."""

from __future__ import annotations


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    """Return ``Retry-After`` in whole seconds, at least 1: 0 would ask for a retry at once (RFC 9110 10.2.3)."""
    return b"retry-after", b"%d" % max(1, round(seconds))
