"""Chat requests: what is read of them, what the engine gets, and how bad ones are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ClientRequestError
from headrace.protocol.request import engine_body, parse_chat_request

MESSAGES = [{"role": "user", "content": "hi"}]


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"messages": MESSAGES, **fields})


def for_engine(sent: bytes, *, model: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.json.decode(engine_body(sent, parse_chat_request(sent, max_choices=16), model=model))
    return made


def test_the_values_of_a_request_that_already_asks_for_all_of_it_are_passed_on_byte_for_byte() -> None:
    sent = (
        b'{"model":"m", "stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user"}], "x": 1e999}'
    )
    sent = sent.replace(b"1e999", b"1.50")
    made = engine_body(sent, parse_chat_request(sent, max_choices=1), model=None)
    assert made == sent.replace(b" ", b"")


def test_the_engine_is_always_asked_to_stream_and_for_usage() -> None:
    made = for_engine(body(model="m", stream=False, stream_options={"include_usage": False, "own": 1}))
    assert made["stream"] is True
    assert made["stream_options"] == {"include_usage": True, "own": 1}


def test_null_stream_options_are_no_options() -> None:
    assert for_engine(body(model="m", stream_options=None))["stream_options"] == {"include_usage": True}


def test_what_is_not_ours_passes_through_verbatim() -> None:
    sent = b'{"model":"m","messages":[{"role":"user","content":"\\u00e9"}],"seed":12345678901234567890,"vendor":{"b":1,"a":[1.10]}}'
    made = engine_body(sent, parse_chat_request(sent, max_choices=1), model=None)
    assert b'"seed":12345678901234567890' in made
    assert b'"vendor":{"b":1,"a":[1.10]}' in made
    assert b"\\u00e9" in made


def test_a_request_without_a_model_gets_the_default_one() -> None:
    assert for_engine(body(), model="default")["model"] == "default"
    assert "model" not in for_engine(body(), model=None)


def test_a_model_gets_the_name_that_the_engine_knows_it_by() -> None:
    assert for_engine(body(model="own"), model="theirs")["model"] == "theirs"
    assert for_engine(body(model="own"), model=None)["model"] == "own"


@pytest.mark.parametrize(
    ("sent", "param", "says"),
    [
        (b"", None, "not valid JSON"),
        (b"{", None, "not valid JSON"),
        (b"[]", None, "the body: Expected `object`"),
        (b"{}", None, "missing required field `messages`"),
        (body(messages=[]), "messages", "at least one"),
        (body(messages=["hi"]), "messages[0]", "Expected `object`"),
        (body(messages="hi"), "messages", "Expected `array`"),
        (body(model=5), "model", "Expected `str | null`"),
        (body(stream="yes"), "stream", "Expected `bool | null`"),
        (body(stream_options={"include_usage": 1}), "stream_options.include_usage", "Expected `bool | null`"),
        (body(n=0), "n", "between 1 and 16"),
        (body(n=17), "n", "between 1 and 16"),
        (b"[" * 100_000, None, "the body: Expected `object`"),
        (b'{"messages":[' + b'{"a":' * 100_000, None, "not valid JSON"),
        (b'{"messages":[{"role":"\xff"}]}', None, "not valid JSON"),
        (b'{"messages":[{"role":"user"}],"\xff":1}', None, "not valid JSON"),
        (b'{"messages":[{"role":"user"}],"user":"\xff"}', None, "not valid JSON"),
    ],
)
def test_a_bad_request_is_refused_with_the_field_and_the_fix(sent: bytes, param: str | None, says: str) -> None:
    with pytest.raises(ClientRequestError) as caught:
        parse_chat_request(sent, max_choices=16)
    assert caught.value.status == 400
    assert caught.value.param == param
    assert says in caught.value.message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_documented_error(sent: bytes) -> None:
    try:
        request = parse_chat_request(sent, max_choices=16)
    except ClientRequestError:
        return
    msgspec.json.decode(engine_body(sent, request, model="m"))


@pytest.mark.parametrize("name", ["MODEL", "Max_Tokens", "N", "Messages", "STREAM"])
def test_a_name_in_another_case_is_refused(name: str) -> None:
    sent = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}], name: 1})
    with pytest.raises(ClientRequestError, match=f"{name}: the name of this field is {name.lower()}") as caught:
        parse_chat_request(sent, max_choices=1)
    assert caught.value.param == name


def test_of_a_name_that_stands_there_twice_the_engine_gets_what_was_looked_at() -> None:
    sent = (
        b'{"model":"free","stream":true,"stream_options":{"include_usage":true},'
        b'"messages":[{"role":"user","content":"hi"}],"model":"dear"}'
    )
    request = parse_chat_request(sent, max_choices=1)
    body = engine_body(sent, request, model=None)
    assert body.count(b'"model"') == 1
    assert msgspec.json.decode(body)["model"] == request.model


def test_a_bound_is_filled_in_where_there_is_none_and_usage_asked_for_as_it_grows() -> None:
    sent = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    request = parse_chat_request(sent, max_choices=1)
    body = msgspec.json.decode(engine_body(sent, request, model=None, max_tokens=7, continuous_usage=True))
    assert body["max_tokens"] == 7
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    other = engine_body(sent, request, model=None, max_tokens=7, max_tokens_as="max_completion_tokens")
    assert msgspec.json.decode(other)["max_completion_tokens"] == 7
    own = msgspec.json.encode(
        {"model": "m", "max_completion_tokens": 3, "messages": [{"role": "user", "content": "hi"}]}
    )
    kept = msgspec.json.decode(engine_body(own, parse_chat_request(own, max_choices=1), model=None, max_tokens=7))
    assert kept["max_completion_tokens"] == 3
    assert "max_tokens" not in kept
