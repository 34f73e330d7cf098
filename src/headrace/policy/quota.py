"""What is left of a request's limits, as headers in OpenAI's names.

Source: OpenAI, "Rate limits in headers": ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}``; the reset is the
time until the limit is back in its initial state, written as Go writes durations: ``120ms``, ``1.5s``, ``6m0s``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from headrace.policy.rates import Bucket
from headrace.policy.scopes import Scope

Headers = tuple[tuple[str, str], ...]


def quota_headers(scopes: Sequence[Scope], now_s: float) -> Headers:
    """Return the headers for the scope that has the least share left, separately for requests and tokens.

    Six headers, three or none: what no scope limits has none.
    """
    requests = _tightest([scope.requests for scope in scopes], now_s)
    tokens = _tightest([scope.tokens for scope in scopes], now_s)
    return _headers("requests", requests, now_s) + _headers("tokens", tokens, now_s)


def _tightest(buckets: Sequence[Bucket | None], now_s: float) -> Bucket | None:
    found = [bucket for bucket in buckets if bucket is not None]
    return min(found, key=lambda bucket: bucket.level(now_s) / bucket.per_minute, default=None)


def _headers(what: str, bucket: Bucket | None, now_s: float) -> Headers:
    if bucket is None:
        return ()
    # A bucket that is full but for a rounding error counts as full.
    left = bucket.per_minute if bucket.is_full(now_s) else max(0, math.floor(bucket.level(now_s)))
    return (
        (f"x-ratelimit-limit-{what}", str(bucket.per_minute)),
        (f"x-ratelimit-remaining-{what}", str(left)),
        (f"x-ratelimit-reset-{what}", go_duration(bucket.full_in_s(now_s))),
    )


def go_duration(duration_s: float) -> str:
    """Return a duration as Go writes it, rounded up: to milliseconds below a minute, to seconds from there on."""
    # Rounded before rounding up, so that 0.1 + 0.2 is 300 and not 301 milliseconds.
    milliseconds = math.ceil(round(duration_s * 1000, 6))
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    if milliseconds < 60_000:
        whole, part = divmod(milliseconds, 1000)
        fraction = f"{part:03d}".rstrip("0")
        return f"{whole}.{fraction}s" if fraction else f"{whole}s"
    minutes, seconds = divmod(-(-milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s"
