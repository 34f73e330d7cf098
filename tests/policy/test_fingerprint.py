"""Fingerprints: which requests may be given the same answer, and which may not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.fingerprint import answer_digest, is_ambiguous, is_deterministic, offers_tools
from headrace.types.engine import Endpoint

BODY = {"model": "m", "messages": [{"role": "user", "content": "Go on."}], "temperature": 0}
WORTH = {"route": "m", "owner": None, "filters": "", "shape": ()}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=5)


def digest(body: Any = BODY, endpoint: Endpoint = Endpoint.CHAT, **fields: Any) -> str:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answer_digest(text, endpoint, **{**WORTH, **fields})


def turned(value: Any) -> Any:
    """Return the same JSON with the names of all its objects in the opposite order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(part) for part in value] if isinstance(value, list) else value


@given(OBJECTS)
def test_neither_order_nor_white_space_makes_another_request(body: dict[str, Any]) -> None:
    spaced = json.dumps(turned(body), indent=3, ensure_ascii=False).encode()
    assert digest(spaced) == digest(body)


@given(OBJECTS, OBJECTS)
def test_two_bodies_that_differ_are_two_requests(one: dict[str, Any], two: dict[str, Any]) -> None:
    asked = [{f"x{name}": value for name, value in body.items()} for body in (one, two)]
    are_equal = json.dumps(asked[0], sort_keys=True) == json.dumps(asked[1], sort_keys=True)
    assert (digest(asked[0]) == digest(asked[1])) == are_equal


@pytest.mark.parametrize(
    "other",
    [
        {"filters": "secrets:1"},
        {"route": "n"},
        {"owner": ""},
        {"owner": "a"},
        {"shape": (True,)},
        {"shape": (None, [["default", "sim"]])},
        {"endpoint": Endpoint.COMPLETIONS},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_is_filtered_out_or_who_may_have_it_makes_another_answer(other: dict[str, Any]) -> None:
    assert digest(**other) != digest()
    assert digest(**other) == digest(**other)


@given(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))
def test_no_name_can_be_taken_for_a_part_of_another(route: str, owner: str, filters: str, other: str) -> None:
    parts: dict[str, Any] = {"route": route, "owner": owner, "filters": filters}
    for name, value in parts.items():
        if value != other:
            assert digest(**parts) != digest(**{**parts, name: other})
    assert digest(route=route, owner=owner) != digest(route=route + owner, owner="x")


@pytest.mark.parametrize(
    "field",
    ["metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "stream", "user"],
)
def test_how_it_is_delivered_or_whom_it_is_for_makes_no_other_answer(field: str) -> None:
    assert digest({**BODY, field: "x"}) == digest()


def test_of_the_options_of_a_stream_only_usage_is_told_elsewhere() -> None:
    for options in (None, {}, {"include_usage": True}, {"include_usage": False}):
        assert digest({**BODY, "stream_options": options}) == digest()
    assert digest({**BODY, "stream_options": {"continuous_usage_stats": True}}) != digest()


@pytest.mark.parametrize(
    ("fields", "is_settled"),
    [
        ({}, False),
        ({"temperature": None}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": False}, False),
        ({"temperature": "0"}, False),
        ({"temperature": 1e-9}, False),
        ({"temperature": 1, "seed": 0}, True),
        ({"seed": None}, False),
    ],
)
def test_chance_has_no_part_at_temperature_0_or_with_a_seed(fields: dict[str, Any], is_settled: bool) -> None:
    assert is_deterministic(json.dumps(fields).encode()) == is_settled


@pytest.mark.parametrize(
    ("fields", "has_tools"),
    [
        ({}, False),
        ({"tools": []}, False),
        ({"tools": None}, False),
        ({"tools": [{}]}, True),
        ({"functions": [{}]}, True),
    ],
)
def test_tools_are_offered_by_either_name(fields: dict[str, Any], has_tools: bool) -> None:
    assert offers_tools(json.dumps(fields).encode()) == has_tools


@given(OBJECTS)
def test_a_body_with_each_name_once_is_clear(body: dict[str, Any]) -> None:
    assert not is_ambiguous(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": [{"b": 1, "c": 2, "b": 3}]}',
        b'{"a": {"b": 1}, "\\u0061": 2}',
        b'{"a": NaNa}',
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_a_name_that_stands_twice_anywhere_is_not(body: bytes) -> None:
    assert is_ambiguous(body)


def test_long_numbers_are_no_trouble() -> None:
    assert not is_ambiguous(b'{"seed": ' + b"9" * 10_000 + b"}")
