"""JSON objects that a strict parser refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from headrace.errors import UpstreamProtocolError
from headrace.protocol.json_object import decode_object, encode_object, well_formed


def test_half_surrogate_pairs_survive_decoding() -> None:
    assert decode_object(rb'{"a":"x\ud83d"}') == {"a": "x\ud83d"}


def test_numbers_out_of_range_become_infinite() -> None:
    assert decode_object(b'{"a":1e999}') == {"a": math.inf}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"1", b"null", b"{", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000]
)
def test_anything_else_is_no_object(data: bytes) -> None:
    assert decode_object(data) is None


def test_two_halves_side_by_side_become_one_character() -> None:
    assert json.loads(encode_object({"a": "\ud83d" + "\ude00"})) == {"a": "😀"}
    assert well_formed("\ud83d" + "\ude00" + "\ud83d!") == "😀\ufffd!"


def test_too_deep_a_value_cannot_be_encoded() -> None:
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = {"a": value}
    with pytest.raises(UpstreamProtocolError, match="deep"):
        encode_object(value)
