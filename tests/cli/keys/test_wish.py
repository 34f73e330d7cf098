from __future__ import annotations

import pytest

from headrace.cli.keys.wish import seconds_of, tags_of
from headrace.errors import ClientRequestError


def test_tags_are_names_and_values() -> None:
    assert tags_of([]) == {}
    assert tags_of(["team=search", "empty=", "sum=a=b"]) == {"team": "search", "empty": "", "sum": "a=b"}


def test_durations_have_units() -> None:
    assert (seconds_of("30d", "--x"), seconds_of("1.5", "--x")) == (30 * 86400.0, 1.5)
    with pytest.raises(ClientRequestError, match=r"^--x: expected seconds"):
        seconds_of("soon", "--x")
