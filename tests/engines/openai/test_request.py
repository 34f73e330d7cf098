import pytest

from headrace.engines.openai.dialect import OPENAI, Dialect
from headrace.engines.openai.request import RequestEncoder
from headrace.engines.openai.url import BaseURL
from headrace.errors import ClientRequestError
from headrace.types.engine import Endpoint

BASE = BaseURL.parse("http://127.0.0.1:9100/v1")


def lines(head: bytes) -> list[str]:
    assert head.endswith(b"\r\n")
    assert b"\r\n\r\n" not in head, "the key's lines come last"
    return head.decode("latin-1").removesuffix("\r\n").split("\r\n")


def chat_head(headers: list[tuple[str, str]], *, is_keyed: bool) -> bytes:
    return RequestEncoder(BASE).head(Endpoint.CHAT, headers, 12, is_keyed=is_keyed)


def test_head_says_what_is_sent_and_what_is_wanted() -> None:
    request_line, *headers = lines(chat_head([("x-request-id", "é7")], is_keyed=True))
    assert request_line == "POST /v1/chat/completions HTTP/1.1"
    fields = dict(line.split(": ", 1) for line in headers)
    assert fields.pop("User-Agent").startswith("headrace/")
    assert fields == {
        "Host": "127.0.0.1:9100",
        "Content-Type": "application/json",
        "Content-Length": "12",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "x-request-id": "é7",
    }


def test_models_request_asks_for_one_answer_only() -> None:
    request_line, *headers = lines(RequestEncoder(BASE).models_request())
    assert request_line == "GET /v1/models HTTP/1.1"
    assert "Connection: close" in headers
    assert not any(line.startswith("Authorization") for line in headers)


def test_a_dialect_has_paths_headers_and_a_place_for_the_key() -> None:
    other = Dialect(
        paths={Endpoint.CHAT: "messages"}, models="models?limit=9", key_header="x-key: ", headers=(("X-Version", "1"),)
    )
    encoder = RequestEncoder(BASE, other)
    request_line, *headers = lines(encoder.head(Endpoint.CHAT, [("x-version", "2"), ("x-a", "3")], 0, is_keyed=True))
    assert request_line == "POST /v1/messages HTTP/1.1"
    assert "X-Version: 1" in headers
    assert "x-version: 2" not in headers, "a client cannot replace it"
    assert "x-a: 3" in headers
    assert lines(encoder.models_request())[0] == "GET /v1/models?limit=9 HTTP/1.1"
    assert lines(encoder.models_request("a/b c"))[0] == "GET /v1/models?limit=9&after_id=a%2Fb%20c HTTP/1.1"
    assert other.head_end("sk-1") == b"x-key: sk-1\r\n\r\n"


def test_the_last_lines_of_a_head_are_the_key_and_the_blank_line() -> None:
    assert OPENAI.head_end("sk-1") == b"Authorization: Bearer sk-1\r\n\r\n"
    assert OPENAI.head_end(None) == b"\r\n"


def test_client_headers_never_replace_our_own() -> None:
    client = [
        ("host", "evil"),
        ("content-length", "0"),
        ("transfer-encoding", "chunked"),
        ("authorization", "theirs"),
        ("x-api-key", "theirs"),
    ]
    head = chat_head(client, is_keyed=True)
    assert not any(word in head for word in (b"evil", b"chunked", b"theirs"))


def test_without_a_key_a_client_may_bring_its_own() -> None:
    assert b"authorization: theirs\r\n" in chat_head([("authorization", "theirs")], is_keyed=False)


@pytest.mark.parametrize(
    "header",
    [("x-a", "1\r\nx-b: 2"), ("x-a", "1\n"), ("x-a\r\n", "1"), ("x a", "1"), ("", "1"), ("x-a", "\0"), ("x", "€")],
)
def test_a_header_that_would_break_the_head_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ClientRequestError):
        chat_head([header], is_keyed=False)
