"""``Cache-Control`` of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.cache_control import MAX_BYTES, CacheControl

KNOWN = ("no-store", "no-cache", "only-if-cached")
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).filter(
    lambda name: name not in {*KNOWN, "max-age"}
)
SPACES = st.text(" \t", max_size=2)
AGES = st.integers(0, 9_999_999_999)


def in_any_case(text: str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.sampled_from([letter, letter.upper()]) for letter in text)).map("".join)


@st.composite
def headers(draw: st.DrawFn) -> tuple[str, CacheControl]:
    """Return a header that makes sense, and what it says."""
    words = draw(st.sets(st.sampled_from(KNOWN)))
    age = draw(st.none() | AGES)
    parts = [draw(in_any_case(word)) for word in sorted(words)]
    if age is not None:
        name = draw(in_any_case("max-age"))
        parts.append(draw(st.sampled_from([f"{name}={age}", f'{name}="{age}"', f"{name} = {age}"])))
    unknown = NAMES.flatmap(lambda name: st.sampled_from([name, f"{name}=1", f'{name}="a, no-store, max-age=0"']))
    parts += draw(st.lists(unknown, max_size=3))
    parts = draw(st.permutations(parts))
    text = ",".join(draw(SPACES) + part + draw(SPACES) for part in parts)
    return text, CacheControl(
        no_store="no-store" in words,
        no_cache="no-cache" in words,
        only_if_cached="only-if-cached" in words,
        max_age_s=None if age is None else float(age),
    )


@given(headers())
def test_what_makes_sense_is_read_in_any_order_case_and_spacing(header: tuple[str, CacheControl]) -> None:
    text, meant = header
    assert CacheControl.parse(text) == meant


@given(st.text(max_size=200) | st.text('no-store, max-age="=;\t', max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    read = CacheControl.parse(text)
    lowered = text.lower()
    assert not read.no_store or "no-store" in lowered
    assert not read.no_cache or "no-cache" in lowered
    assert not read.only_if_cached or "only-if-cached" in lowered
    assert read.max_age_s is None or read.max_age_s >= 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",,,",
        "max-age",
        "max-age=",
        "max-age=-1",
        "max-age=1.5",
        "max-age=soon",
        "max-age=12345678901",
        "max-age=\u0663",
        "no-storey",
        "xno-store",
        'private="no-store"',
        "min-fresh=1, max-stale, no-transform",
    ],
)
def test_what_makes_no_sense_or_is_not_known_asks_for_nothing(text: str) -> None:
    assert CacheControl.parse(text) == CacheControl()


def test_a_long_header_is_read_up_to_its_bound_only() -> None:
    padding = "x" * (MAX_BYTES - 10)
    assert CacheControl.parse(f"no-store,{padding}, no-cache") == CacheControl(no_store=True)


@given(st.floats(0, 1e6), st.none() | st.floats(0, 1e6), st.booleans(), st.booleans())
def test_an_answer_is_allowed_unless_it_is_too_old_or_none_is_wanted(
    age_s: float, max_age_s: float | None, no_store: bool, no_cache: bool
) -> None:
    control = CacheControl(no_store=no_store, no_cache=no_cache, max_age_s=max_age_s)
    is_young = max_age_s is None or age_s <= max_age_s
    assert control.allows(age_s) == (is_young and not no_store and not no_cache)
