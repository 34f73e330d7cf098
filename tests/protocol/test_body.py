"""Bodies that are not as documented are refused with the name of the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ClientRequestError
from headrace.policy.keys import KeyWish
from headrace.protocol.body import read_body, read_values

DECODER = msgspec.json.Decoder(KeyWish)


def refused(body: bytes, *, max_bytes: int = 1000) -> ClientRequestError:
    with pytest.raises(ClientRequestError) as caught:
        read_body(body, DECODER, max_bytes=max_bytes)
    return caught.value


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "owner"),
        ({"owner": 5}, "owner"),
        ({"owner": "a", "colour": 1}, "colour"),
        ({"owner": "a", "limits": {"colour": 1}}, "limits.colour"),
        ({"owner": "a", "limits": {"tokens_per_minute": 0}}, "limits.tokens_per_minute"),
        ({"owner": "a", "budget": {"day_usd": "-1"}}, "budget"),
        ({"owner": "a", "budget": {"day_usd": "one"}}, "budget.day_usd"),
        ({"owner": "a", "role": "field `owner`"}, "role"),
    ],
)
def test_a_wrong_field_is_named(body: dict[str, Any], field: str) -> None:
    error = refused(msgspec.json.encode(body))
    assert (error.status, error.param) == (400, field)
    assert error.message.startswith(f"{field}: ")
    assert "$." not in error.message
    with pytest.raises(ClientRequestError) as caught:
        read_values(body | ({"owner": {}} if field == "owner" and body else {}), KeyWish)
    assert caught.value.param == field


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"owner":"\xff"}'])
def test_what_is_no_json_is_said_so(body: bytes) -> None:
    assert refused(body).code == "invalid_json"


def test_a_body_that_is_no_object_has_no_field() -> None:
    error = refused(b"[]")
    assert (error.param, error.status) == (None, 400)


def test_a_body_that_is_too_large_is_not_read() -> None:
    assert refused(b"x" * 1001).status == 413
    assert read_body(b'{"owner":"a"}', DECODER, max_bytes=13) == KeyWish(owner="a")


@given(st.binary(max_size=200))
def test_any_body_is_a_value_or_a_request_error(body: bytes) -> None:
    read: KeyWish | ClientRequestError
    try:
        read = read_body(body, DECODER, max_bytes=1000)
    except ClientRequestError as error:
        read = error
    assert isinstance(read, KeyWish | ClientRequestError)
    assert len(str(read)) < 1000
