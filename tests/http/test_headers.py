"""Shared response headers."""

from __future__ import annotations

import pytest

from headrace.http.headers import retry_after


@pytest.mark.parametrize(("seconds", "value"), [(0.0, b"1"), (0.4, b"1"), (1.6, b"2"), (86400.0, b"86400")])
def test_retry_after_is_whole_seconds_and_never_at_once(seconds: float, value: bytes) -> None:
    assert retry_after(seconds) == (b"retry-after", value)
