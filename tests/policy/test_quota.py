"""What is left of a request's limits, as headers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.quota import go_duration, quota_headers
from headrace.policy.scopes import Scope, ScopeKind
from headrace.types.access import Allowance


def scope(kind: ScopeKind, *, requests: int | None = None, tokens: int | None = None) -> Scope:
    made = Scope(kind, "x")
    made.adopt(Allowance(requests_per_minute=requests, tokens_per_minute=tokens), 0.0)
    return made


def test_no_header_for_what_nothing_limits() -> None:
    assert quota_headers([scope(ScopeKind.KEY), scope(ScopeKind.MODEL)], 0.0) == ()


def test_a_fresh_limit_is_whole() -> None:
    assert quota_headers([scope(ScopeKind.KEY, requests=60)], 0.0) == (
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "60"),
        ("x-ratelimit-reset-requests", "0s"),
    )


def test_each_kind_of_limit_speaks_for_the_scope_with_the_least_share_left() -> None:
    key = scope(ScopeKind.KEY, requests=10, tokens=1000)
    model = scope(ScopeKind.MODEL, requests=600, tokens=100_000)
    # 9 of 10 requests are left to the key, and 540 of 600 to the model; 50% and 20% of the tokens.
    key.enter(500, 0.0)
    for _ in range(61):
        model.enter(0, 0.0)
    model.enter(80_000, 0.0)
    assert dict(quota_headers([key, model], 0.0)) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "538",
        "x-ratelimit-reset-requests": "6.2s",
        "x-ratelimit-limit-tokens": "100000",
        "x-ratelimit-remaining-tokens": "20000",
        "x-ratelimit-reset-tokens": "48s",
    }


def test_nothing_is_left_of_a_limit_that_is_overdrawn_or_holds_half_a_token() -> None:
    overdrawn = scope(ScopeKind.KEY, tokens=60)
    overdrawn.enter(360, 0.0)
    headers = dict(quota_headers([overdrawn], 0.0))
    assert headers["x-ratelimit-remaining-tokens"] == "0"
    assert headers["x-ratelimit-reset-tokens"] == "6m0s"
    assert dict(quota_headers([overdrawn], 300.5))["x-ratelimit-remaining-tokens"] == "0"


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.1 + 0.2, "300ms"),
        (0.9991, "1s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (1.05, "1.05s"),
        (59.999, "59.999s"),
        (59.9999, "1m0s"),
        (60, "1m0s"),
        (60.001, "1m1s"),
        (360, "6m0s"),
        (3599.5, "1h0m0s"),
        (90_061, "25h1m1s"),
    ],
)
def test_durations_are_written_as_go_does(duration_s: float, text: str) -> None:
    assert go_duration(duration_s) == text


@given(st.floats(0, 10**9))
def test_a_duration_is_never_shorter_than_it_is_and_little_longer(duration_s: float) -> None:
    found = re.fullmatch(r"(?:(?:(\d+)h)?(\d+)m)?([\d.]+)(m?)s", go_duration(duration_s))
    assert found is not None
    hours, minutes, rest, milli = found.groups()
    read_s = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest) * (0.001 if milli else 1)
    assert duration_s - 1e-6 <= read_s <= duration_s + (1 if duration_s >= 59 else 0.0011)
