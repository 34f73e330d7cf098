"""Error objects, ours and other people's."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.errors import (
    MAX_MESSAGE_CHARACTERS,
    MAX_WORD_CHARACTERS,
    ErrorBody,
    end_error,
    error_body,
    parse_error_body,
)
from headrace.protocol.status import FAILURES
from headrace.types.outcome import Cause, End, State


def test_error_body_has_openais_fields_and_extra_ones() -> None:
    body = json.loads(error_body(message="m", type="t", code=None, param="p", extra={"state": "failed"}))
    assert body == {"error": {"message": "m", "type": "t", "param": "p", "code": None, "state": "failed"}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"error":{"message":"m","type":"t","param":"p","code":"c"}}',
            ErrorBody("m", "t", "c", "p"),
        ),
        (
            b'{"error":{"code":400,"message":"m","type":"invalid_request_error"}}',
            ErrorBody("m", "invalid_request_error", "400"),
        ),
        (b'[{"error":{"code":400,"message":"m","status":"S"}}]', ErrorBody("m", None, "400")),
        (
            b'{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}',
            ErrorBody("m", "BadRequestError", "400"),
        ),
        (b'{"error":"Input too long","error_type":"validation"}', ErrorBody("Input too long", "validation")),
        (b'{"error":null,"message":"m"}', ErrorBody("m")),
        (b'{"error":{"reason":"x"}}', ErrorBody('{"reason":"x"}')),
        (b'{"detail":"Not Found"}', ErrorBody("Not Found")),
        (b'{"detail":[{"loc":["body"],"msg":"field required"},{"a":1},"x"]}', ErrorBody('field required; {"a":1}; x')),
        (b'{"detail":{"why":"x"}}', ErrorBody('{"why":"x"}')),
        (b'{"other":1}', ErrorBody("")),
        (b'"overloaded"', ErrorBody("overloaded")),
        (b"upstream\x1b[31m connect\r\n\xc2\x9b error\x00", ErrorBody("upstream [31m connect error")),
        (
            b"<html><head><style>p{}</style></head>\n<body><h1>502 Bad&nbsp;Gateway</h1><script>x",
            ErrorBody("502 Bad Gateway"),
        ),
        (b"a < b and c > d", ErrorBody("a < b and c > d")),
        (b"", ErrorBody("")),
        (b"null", ErrorBody("")),
        (b"[" * 100_000, ErrorBody("[" * (MAX_MESSAGE_CHARACTERS - 1) + "…")),
    ],
)
def test_error_bodies_of_engines_are_understood(body: bytes, expected: ErrorBody) -> None:
    assert parse_error_body(body) == expected


def test_fields_are_bounded() -> None:
    parsed = parse_error_body(json.dumps({"error": {"message": "m" * 9999, "code": "c" * 9999}}).encode())
    assert len(parsed.message) == MAX_MESSAGE_CHARACTERS
    assert len(parsed.code or "") == MAX_WORD_CHARACTERS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "detail", "msg", "type"]), inner)
    ),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_gives_printable_bounded_text(body: bytes) -> None:
    message = parse_error_body(body).message
    assert len(message) <= MAX_MESSAGE_CHARACTERS
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in message)


@pytest.mark.parametrize("cause", FAILURES)
def test_each_cause_makes_an_error_that_names_it(cause: Cause) -> None:
    error = end_error(End(state=State.TRUNCATED, cause=cause), stream_id="s", partial_text=None)
    assert error["message"] == f"The stream was truncated: {FAILURES[cause].text}"
    assert (error["type"], error["code"], error["param"]) == (FAILURES[cause].type, cause, None)
    assert (error["state"], error["cause"], error["stream_id"]) == ("truncated", cause, "s")
    assert "partial_text" not in error


def test_engines_own_words_are_passed_on_beside_ours() -> None:
    end = End(
        state=State.FAILED,
        cause=Cause.UPSTREAM_REJECTED,
        message="The prompt is too long.",
        error_type="invalid_request_error",
        error_code="context_length_exceeded",
        error_param="messages",
    )
    error = end_error(end, stream_id="s", partial_text="so far")
    assert error["message"] == "The stream failed: the engine rejected the request: The prompt is too long."
    assert (error["type"], error["code"], error["param"]) == (
        "invalid_request_error",
        "context_length_exceeded",
        "messages",
    )
    assert (error["cause"], error["partial_text"]) == ("upstream_rejected", "so far")
