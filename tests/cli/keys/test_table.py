from __future__ import annotations

import msgspec
import pytest

from headrace.cli.keys.table import line_of, state_of, table
from headrace.policy.keys import KeyWish, new_key, revoked, rotated
from headrace.types.access import ClientKey

NOW = 1_800_000_000.0


def made(name: str = "", *, expires_in: float | None = None) -> ClientKey:
    return new_key(KeyWish(owner="search", name=name, expires_in=expires_in), now=NOW)[0]


def test_names_lose_their_control_characters() -> None:
    # A store may hold what an older version, or somebody else, wrote there.
    key = msgspec.structs.replace(made(), name="a\x1b]0;title\x07b\nc")
    assert "ab c" in table([key], now=NOW)[1]
    assert "(ab c, member, good)" in line_of(key, now=NOW)


@pytest.mark.parametrize(
    ("key", "state"),
    [(made(), "good"), (made(expires_in=10), "expired"), (revoked(made(expires_in=10), now=NOW), "revoked")],
)
def test_a_key_is_good_expired_or_revoked(key: ClientKey, state: str) -> None:
    assert state_of(key, NOW + 10) == state
    assert state in table([key], now=NOW + 10)[1].split()


def test_both_secrets_are_shown_while_a_rotation_lasts() -> None:
    key, _ = rotated(made(), now=NOW, keep_old_for_s=60)
    assert table([key], now=NOW + 59)[1].count("...") == 2
    assert table([key], now=NOW + 60)[1].count("...") == 1
    assert key.secrets[1].hint in table([key], now=NOW + 60)[1]


def test_no_keys_are_headings_alone() -> None:
    assert len(table([], now=NOW)) == 1
