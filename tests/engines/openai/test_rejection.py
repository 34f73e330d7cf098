import pytest

from headrace.engines.openai.rejection import (
    cleaned,
    last_word,
    looks_like_events,
    no_key,
    not_a_stream,
    parse_retry_after,
    rejection,
)
from headrace.engines.openai.response import Response
from headrace.types.outcome import Cause

KEY = "sk-0123456789"
BODY = b'{"error":{"message":"too long","type":"invalid_request_error","code":"context","param":"messages"}}'
NOW = 1_700_000_000.0


def response(status: int, *headers: bytes) -> Response:
    result = Response(max_head_bytes=1000)
    result.receive_data(b"HTTP/1.1 %d X\r\n%s\r\n" % (status, b"".join(line + b"\r\n" for line in headers)))
    return result


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429])
def test_what_the_client_can_mend_is_passed_on(status: int) -> None:
    end = rejection(response(status, b"Retry-After: 7"), BODY, secrets=[KEY], wall_time=NOW)
    assert (end.cause, end.status, end.message) == (Cause.UPSTREAM_REJECTED, status, "too long")
    assert end.upstream_status == status
    assert (end.error_type, end.error_code, end.error_param) == ("invalid_request_error", "context", "messages")
    assert end.retry_after_s == 7


@pytest.mark.parametrize("status", [402, 405, 408, 418, 500, 502, 503, 504, 529, 599])
def test_everything_else_is_a_bad_gateway_that_says_what_was_answered(status: int) -> None:
    end = rejection(response(status, b"Retry-After: 7"), BODY, secrets=[KEY], wall_time=NOW)
    assert (end.cause, end.status, end.upstream_status) == (Cause.UPSTREAM_REJECTED, 502, status)
    assert end.message == f"The engine answered {status}: too long"
    assert end.retry_after_s == 7


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403])
def test_bodies_that_may_hold_a_key_are_withheld(status: int) -> None:
    end = rejection(response(status, b"Location: http://other/?hunter2"), b"hunter2", secrets=[], wall_time=NOW)
    assert (end.cause, end.status, end.upstream_status) == (Cause.UPSTREAM_REJECTED, 502, status)
    assert str(status) in (end.message or "")
    assert "hunter2" not in repr(end)


def test_a_key_that_the_engine_repeats_is_removed() -> None:
    body = BODY.replace(b"too long", f"bad {KEY}".encode()).replace(b"context", KEY.encode())
    end = rejection(response(400), body, secrets=[KEY], wall_time=NOW)
    assert KEY not in repr(end)
    assert end.message == "bad ***"


@pytest.mark.parametrize("is_escaped", [True, False])
def test_a_key_is_removed_however_it_is_written_and_wherever_it_is_cut(is_escaped: bool) -> None:
    key = f"\\u{ord(KEY[0]):04x}{KEY[1:]}" if is_escaped else KEY
    for filler in range(1980, 2001):
        body = b'{"error":{"message":"%s%s"}}' % (b"x" * (10 if is_escaped else filler), key.encode())
        assert KEY[:4] not in repr(rejection(response(400), body, secrets=[KEY], wall_time=NOW))


def test_of_keys_that_contain_each_other_nothing_is_left() -> None:
    body = BODY.replace(b"too long", f"{KEY}-b and {KEY} and other".encode())
    end = rejection(response(400), body, secrets=[f"{KEY}-b", KEY, "other"], wall_time=NOW)
    assert end.message == "*** and *** and ***"


def test_without_a_key_a_request_may_come_back_when_one_has_rested() -> None:
    end = no_key(1.2)
    assert (end.cause, end.status, end.retry_after_s) == (Cause.UPSTREAM_REJECTED, 429, 1.2)
    assert end.upstream_status is None, "nobody was asked"
    assert (end.error_type, end.error_code) == ("rate_limit_error", "rate_limit_exceeded")
    assert "in 2 s" in (end.message or "")


def test_without_a_key_that_will_come_back_the_relay_is_at_fault() -> None:
    end = no_key(None)
    assert (end.cause, end.status, end.retry_after_s) == (Cause.UPSTREAM_REJECTED, 502, None)
    assert "check the keys" in (end.message or "")


def test_the_last_word_is_that_waiting_helps_if_it_does() -> None:
    refused = rejection(response(401), b"", secrets=[], wall_time=NOW)
    limited = rejection(response(429, b"Retry-After: 7"), BODY, secrets=[], wall_time=NOW)
    assert last_word(refused, None, None) == refused
    assert last_word(refused, None, 3.0) == no_key(3.0)
    assert last_word(refused, limited, None) == limited
    found = last_word(refused, limited, 3.0)
    assert (found.status, found.message, found.retry_after_s) == (429, "too long", 3.0)


@pytest.mark.parametrize("status", [400, 500])
def test_an_empty_body_still_says_what_was_answered(status: int) -> None:
    end = rejection(response(status), b"", secrets=[], wall_time=NOW)
    assert str(status) in (end.message or "")


@pytest.mark.parametrize(
    ("value", "delay_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("0", 0.0),
        ("-3", 0.0),
        ("1.5", 1.5),
        ("999999999999", 86400.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("Tue, 99 Nov 2023 22:13:10 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, delay_s: float | None) -> None:
    assert parse_retry_after(value, wall_time=NOW) == delay_s


@pytest.mark.parametrize(
    ("headers", "flaw"),
    [
        ([b"Content-Type: text/event-stream"], None),
        ([b"Content-Type: TEXT/Event-Stream; charset=utf-8", b"Content-Encoding: identity"], None),
        ([], None),
        ([b"Content-Type: application/json"], "application/json"),
        ([b"Content-Type: text/event-stream", b"Content-Encoding: gzip"], "compressed"),
    ],
)
def test_a_stream_is_known_by_its_head(headers: list[bytes], flaw: str | None) -> None:
    found = not_a_stream(response(200, *headers), secrets=[])
    assert found is None if flaw is None else flaw in (found or "")


def test_success_without_content_is_no_stream() -> None:
    assert "204" in (not_a_stream(response(204), secrets=[]) or "")


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b"", None),
        (b"\r\n", None),
        (b"\xef\xbb", None),
        (b"\xef\xbb\xbf", None),
        (b"\n" * 2000, False),
        (b"data: x", True),
        (b"\xef\xbb\xbf\n: ping", True),
        (b"event", True),
        (b'{"choices"', False),
        (b"<html>", False),
    ],
)
def test_a_body_of_unknown_type_is_judged_by_its_first_byte(body: bytes, verdict: bool | None) -> None:
    assert looks_like_events(body) is verdict


def test_errors_inside_a_stream_lose_our_keys_however_deep_they_stand() -> None:
    secret = 'sk-"odd\\one"'
    error = {"message": f"bad key {secret}", "details": [{"key": secret}, 5, None]}
    assert cleaned(error, [secret]) == {"message": "bad key ***", "details": [{"key": "***"}, 5, None]}
    assert cleaned(f"{secret}!", [secret]) == "***!"


def test_a_content_type_that_repeats_a_key_is_shown_without_it() -> None:
    response = Response(max_head_bytes=1000)
    response.receive_data(b"HTTP/1.1 200 OK\r\nContent-Type: text/sk-1\r\nContent-Length: 0\r\n\r\n")
    flaw = not_a_stream(response, secrets=["sk-1"])
    assert flaw == "The engine answered with text/*** instead of text/event-stream"
