from __future__ import annotations

import traceback

import httpx2
import pytest

from headrace.client import Client, Patience
from headrace.client.http import Secret
from headrace.errors import ClientRequestError, ConnectionLost

KEY = "sk-very-secret"


@pytest.mark.parametrize("key", ["", "a\nb", "a b\x00", "schlüssel"])
def test_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="api_key must be printable ASCII") as caught:
        Secret(key)
    assert not key or key not in str(caught.value)


def answering(status: int, body: bytes) -> Client:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        return httpx2.Response(status, content=body)

    return Client(api_key=KEY, http_client=httpx2.Client(transport=httpx2.MockTransport(handler)))


def test_key_is_sent_and_shown_nowhere() -> None:
    client = answering(401, f'{{"error": {{"message": "bad key {KEY}", "code": null}}}}'.encode())
    with pytest.raises(ClientRequestError, match=r"bad key \*\*\*") as caught:
        client.models()
    shown = "".join(traceback.format_exception(caught.value)) + repr(client) + repr(vars(client))
    assert KEY not in shown
    with pytest.raises(ClientRequestError) as streamed, client.chat("hi"):
        pass
    assert KEY not in "".join(traceback.format_exception(streamed.value)) + repr(streamed.value.result)


def test_own_http_client_stays_open() -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json={"data": [{"id": "m"}]})))
    with Client(http_client=http) as client:
        assert client.models() == ["m"]
    assert not http.is_closed
    http.close()


@pytest.mark.parametrize(
    "error", [httpx2.ConnectError("refused"), httpx2.ReadTimeout(""), httpx2.RemoteProtocolError("cut")]
)
def test_no_answer_is_a_lost_connection_that_names_the_server(error: httpx2.TransportError) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise error

    client = Client("http://relay:1/v1", http_client=httpx2.Client(transport=httpx2.MockTransport(handler)))
    with pytest.raises(ConnectionLost, match="http://relay:1"):
        client.models()


def test_prompt_or_messages() -> None:
    client = Client()
    for arguments in ({}, {"prompt": "a", "messages": []}):
        with pytest.raises(ValueError, match="either a prompt or messages"):
            client.chat(**arguments)  # type: ignore[arg-type]
    client.close()


def test_negative_patience_is_refused() -> None:
    with pytest.raises(ValueError, match="idle_s"):
        Patience(idle_s=-1)
    with pytest.raises(ValueError, match="connect_s"):
        Patience(connect_s=float("nan"))
