import pytest

from headrace.engines.openai.request import RequestEncoder
from headrace.engines.openai.url import BaseURL
from headrace.errors import ClientRequestError, SettingsError
from headrace.types.engine import Endpoint

BASE = BaseURL.parse("http://127.0.0.1:9100/v1")
KEY = "sk-0123456789"


def lines(head: bytes) -> list[str]:
    assert head.endswith(b"\r\n\r\n")
    return head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")


def test_head_says_what_is_sent_and_what_is_wanted() -> None:
    request_line, *headers = lines(RequestEncoder(BASE, api_key=KEY).head(Endpoint.CHAT, [("x-request-id", "é7")], 12))
    assert request_line == "POST /v1/chat/completions HTTP/1.1"
    fields = dict(line.split(": ", 1) for line in headers)
    assert fields.pop("User-Agent").startswith("headrace/")
    assert fields == {
        "Host": "127.0.0.1:9100",
        "Content-Type": "application/json",
        "Content-Length": "12",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "Authorization": f"Bearer {KEY}",
        "x-request-id": "é7",
    }


def test_models_request_asks_for_one_answer_only() -> None:
    request_line, *headers = lines(RequestEncoder(BASE, api_key=None).models_request())
    assert request_line == "GET /v1/models HTTP/1.1"
    assert "Connection: close" in headers
    assert not any(line.startswith("Authorization") for line in headers)


def test_client_headers_never_replace_our_own() -> None:
    client = [("host", "evil"), ("content-length", "0"), ("transfer-encoding", "chunked"), ("authorization", "theirs")]
    head = RequestEncoder(BASE, api_key=KEY).head(Endpoint.CHAT, client, 12)
    assert not any(word in head for word in (b"evil", b"chunked", b"theirs"))


def test_without_a_key_a_client_may_bring_its_own() -> None:
    assert b"authorization: theirs\r\n" in RequestEncoder(BASE, api_key=None).head(
        Endpoint.CHAT, [("authorization", "theirs")], 1
    )


@pytest.mark.parametrize(
    "header",
    [("x-a", "1\r\nx-b: 2"), ("x-a", "1\n"), ("x-a\r\n", "1"), ("x a", "1"), ("", "1"), ("x-a", "\0"), ("x", "€")],
)
def test_a_header_that_would_break_the_head_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ClientRequestError):
        RequestEncoder(BASE, api_key=None).head(Endpoint.CHAT, [header], 1)


@pytest.mark.parametrize("key", ["", "hunter2\r\nx: y", "hunter2 x", "hunter2é"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(SettingsError, match=r"^api_key: ") as caught:
        RequestEncoder(BASE, api_key=key)
    assert "hunter2" not in str(caught.value)


def test_the_key_is_not_in_the_repr() -> None:
    assert KEY not in repr(RequestEncoder(BASE, api_key=KEY))
