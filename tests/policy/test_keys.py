"""Client keys: made once, looked up by digest, rotated with an overlap, revoked for good."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ClientRequestError
from headrace.policy.keys import (
    MAX_LIFE_S,
    MAX_MODELS,
    MAX_OVERLAP_S,
    MAX_TEXT_CHARACTERS,
    KeyTable,
    KeyWish,
    Refusal,
    check_tags,
    digest,
    is_good,
    new_key,
    revoked,
    rotated,
)
from headrace.types.access import MAX_SECRETS, MAX_TAGS, Allowance, Budget, ClientKey, Role

NOW = 1_800_000_000.0
DAY_S = 86400.0


def bytes_in_order() -> Callable[[int], bytes]:
    """Random bytes that are not: every call gives other ones, always the same."""
    calls = itertools.count()
    return lambda count: hashlib.shake_128(str(next(calls)).encode()).digest(count)


def made(*, now: float = NOW, expires_in: float | None = None, **wish: object) -> tuple[ClientKey, str]:
    return new_key(msgspec.convert({"owner": "search", "expires_in": expires_in, **wish}, KeyWish), now=now)


def test_a_key_has_a_name_of_its_own_and_a_text_that_is_not_kept() -> None:
    key, text = new_key(KeyWish(owner="search", name="nightly"), now=NOW, random=bytes_in_order())
    assert re.fullmatch(r"hr_[A-Za-z0-9_-]{43}", text)
    assert re.fullmatch(r"key_[A-Za-z0-9_-]{16}", key.id)
    [secret] = key.secrets
    assert secret.digest == hashlib.sha256(text.encode()).hexdigest()
    assert secret.hint == f"{text[:7]}...{text[-4:]}"
    assert (secret.created_at, secret.expires_at) == (NOW, None)
    kept = msgspec.json.encode(key).decode() + repr(key)
    assert text not in kept
    assert text[7:-4] not in kept


def test_no_two_keys_are_alike() -> None:
    keys = [made() for _ in range(100)]
    assert len({key.id for key, _ in keys}) == len({text for _, text in keys}) == 100


def test_a_key_is_as_it_was_wished() -> None:
    wish = KeyWish(
        owner="ana@example.org",
        name="Ana's notebook",
        role=Role.ADMIN,
        models=("gpt-4o", "sim"),
        limits=Allowance(tokens_per_minute=5),
        budget=Budget(day_usd=Decimal("1.000000001")),
        tags={"team": "search"},
        expires_in=DAY_S,
    )
    key, _ = new_key(wish, now=NOW)
    assert (key.owner, key.name, key.role, key.models) == (wish.owner, wish.name, wish.role, wish.models)
    assert (key.limits, key.budget, key.tags) == (wish.limits, wish.budget, wish.tags)
    assert (key.created_at, key.expires_at, key.revoked_at) == (NOW, NOW + DAY_S, None)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"owner": ""}, "owner"),
        ({"owner": "-search"}, "owner"),
        ({"owner": "a b"}, "owner"),
        ({"owner": "search\n"}, "owner"),
        ({"owner": "x" * 65}, "owner"),
        ({"name": "x" * 129}, "name"),
        ({"name": "a\x1b[31m"}, "name"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": MAX_LIFE_S + 1}, "expires_in"),
        ({"models": []}, "models"),
        ({"models": [""]}, "models"),
        ({"models": ["m" * 257]}, "models"),
        ({"models": ["m"] * (MAX_MODELS + 1)}, "models"),
        ({"budget": {"day_usd": "0.0000000001"}}, "budget.day_usd"),
        ({"budget": {"month_usd": "1.12345678901"}}, "budget.month_usd"),
        ({"tags": {"": "x"}}, "tags"),
        ({"tags": {"a b": "x"}}, "tags"),
        ({"tags": {"a": "x" * 129}}, "tags"),
        ({"tags": {"a": "x\ny"}}, "tags"),
        ({"tags": {f"t{number}": "" for number in range(MAX_TAGS + 1)}}, "tags"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(wish: dict[str, Any], field: str) -> None:
    with pytest.raises(ClientRequestError) as caught:
        made(**wish)
    assert caught.value.param == field
    assert caught.value.message.startswith(f"{field}: ")
    assert caught.value.status == 400


def test_tags_are_named_as_their_sender_calls_them() -> None:
    check_tags({"team": "search", "feature": ""}, "Headrace-Tags")
    with pytest.raises(ClientRequestError, match=r"^Headrace-Tags: the name 'te am'"):
        check_tags({"te am": "x"}, "Headrace-Tags")


def test_a_table_finds_good_keys_only() -> None:
    plain, plain_text = made()
    short, short_text = made(expires_in=10)
    gone, gone_text = made()
    table = KeyTable([plain, short, revoked(gone, now=NOW)])
    assert not table.is_empty
    assert table.find(plain_text, NOW) == plain
    assert table.find(short_text, NOW + 9.9) == short
    assert table.judge(short_text, NOW + 10) is Refusal.EXPIRED
    assert table.judge(gone_text, NOW - 1) is Refusal.REVOKED
    assert table.judge(plain_text[:-1], NOW) is Refusal.UNKNOWN
    assert table.find(plain_text.swapcase(), NOW) is None
    assert table.of_id(gone.id) is not None
    assert table.of_id("key_none") is None
    assert KeyTable().is_empty


@given(
    st.one_of(
        st.text(), st.text(alphabet=st.characters(codec=None)), st.binary().map(lambda data: data.decode("latin-1"))
    )
)
def test_any_text_is_looked_up_without_an_error(text: str) -> None:
    key, _ = made()
    assert KeyTable([key]).find(text, NOW) is None


def test_a_very_long_text_is_not_even_digested() -> None:
    text = "hr_" + "x" * MAX_TEXT_CHARACTERS
    key, _ = made()
    [secret] = key.secrets
    long = msgspec.structs.replace(key, secrets=(msgspec.structs.replace(secret, digest=digest(text)),))
    assert KeyTable([long]).find(text, NOW) is None


def test_a_rotation_lets_the_old_secret_go_on_for_a_while() -> None:
    key, old = made()
    key, new = rotated(key, now=NOW + 5, keep_old_for_s=60)
    table = KeyTable([key])
    assert old != new
    assert table.find(new, NOW + 1e9) == key
    assert table.find(old, NOW + 64.9) == key
    assert table.judge(old, NOW + 65) is Refusal.EXPIRED


def test_a_rotation_without_an_overlap_ends_the_old_secret_now() -> None:
    key, old = made()
    key, new = rotated(key, now=NOW, keep_old_for_s=0)
    table = KeyTable([key])
    assert (table.find(old, NOW), table.find(new, NOW)) == (None, key)


def test_a_rotation_does_not_prolong_a_secret_that_ends_sooner() -> None:
    key, first = made()
    key, _ = rotated(key, now=NOW, keep_old_for_s=60)
    shorter = msgspec.structs.replace(key, secrets=key.secrets[:1])
    key, _ = rotated(shorter, now=NOW, keep_old_for_s=DAY_S)
    assert KeyTable([key]).find(first, NOW + 61) is None


@given(
    steps=st.lists(st.tuples(st.floats(0, 2 * DAY_S), st.sampled_from([0.0, 1.0, DAY_S, MAX_OVERLAP_S])), max_size=8)
)
def test_however_often_it_is_rotated_the_newest_is_good_and_few_others(steps: list[tuple[float, float]]) -> None:
    key, newest = made()
    texts, now, overlap = [newest], NOW, MAX_OVERLAP_S
    for wait_s, overlap in steps:
        now += wait_s
        key, newest = rotated(key, now=now, keep_old_for_s=overlap)
        texts.append(newest)
        assert len(key.secrets) <= MAX_SECRETS
        table = KeyTable([key])
        good = [text for text in texts if table.find(text, now) is not None]
        assert good == (texts[-2:] if overlap else texts[-1:])
        assert table.find(newest, now + 1e9) == key


@pytest.mark.parametrize("keep_s", [-1, MAX_OVERLAP_S + 1, float("nan"), float("inf")])
def test_an_overlap_out_of_range_is_refused(keep_s: float) -> None:
    with pytest.raises(ClientRequestError) as caught:
        rotated(made()[0], now=NOW, keep_old_for_s=keep_s)
    assert caught.value.param == "keep_old_for"


def test_a_key_that_is_good_no_more_cannot_be_rotated() -> None:
    ended = revoked(made()[0], now=NOW)
    expired, _ = made(expires_in=1)
    for key, code in ((ended, "key_revoked"), (expired, "key_expired")):
        with pytest.raises(ClientRequestError) as caught:
            rotated(key, now=NOW + 1, keep_old_for_s=0)
        assert (caught.value.status, caught.value.code) == (409, code)


def test_revoking_twice_keeps_the_first_moment() -> None:
    key = revoked(made()[0], now=NOW)
    assert revoked(key, now=NOW + 5) is key
    assert key.revoked_at == NOW
    assert not is_good(key, NOW)
