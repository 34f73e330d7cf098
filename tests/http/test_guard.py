from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.http.asgi import Headers, Message, Scope
from headrace.http.guard import PASS, Guard, GuardedApp

GUARD = Guard(allowed_hosts=["relay.example", "other.example:8443"], cors_origins=["https://app.example"])
JSON = {"content-type": "application/json", "content-length": "2"}
LISTED = {"origin": "https://app.example"}


def scope_of(
    headers: dict[str, str] | None = None,
    *,
    host: str | None = "127.0.0.1:8080",
    method: str = "GET",
    path: str = "/v1/streams",
    kind: str = "http",
) -> Scope:
    given_headers = ({} if host is None else {"host": host}) | (headers or {})
    scope: dict[str, Any] = {
        "type": kind,
        "scheme": "ws" if kind == "websocket" else "http",
        "path": path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given_headers.items()],
    }
    return scope if kind == "websocket" else scope | {"method": method}


def status_of(scope: Scope) -> int | None:
    refusal = GUARD.decide(scope).refusal
    return None if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.9.9.9:1",
        "localhost",
        "LocalHost:8080",
        "app.localhost:8080",
        "[::1]",
        "[::1]:8080",
        "relay.example",
        "RELAY.example:9",
        "other.example:8443",
    ],
)
def test_own_hosts_pass(host: str) -> None:
    assert GUARD.decide(scope_of(host=host)) is PASS


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.1",
        "0.0.0.0",
        "[::2]",
        "[127.0.0.1]",
        "::1",
        "127.0.0.1:",
        "127.0.0.1:123456",
        "127.0.0.1:80x",
        "a@localhost",
        "other.example",
        "localhost/",
        "localhost ",
        "[::1%25lo]",
        "ÿ",
        "sub.relay.example",
        "2130706433",
        "127.1",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_foreign_hosts_are_misdirected(host: str, kind: str) -> None:
    assert status_of(scope_of(host=host, kind=kind)) == 421


def test_a_request_without_host_is_bad() -> None:
    assert status_of(scope_of(host=None)) == 400


@pytest.mark.parametrize("name", ["host", "origin", "sec-fetch-site", "content-type", "content-length"])
def test_a_repeated_header_is_bad(name: str) -> None:
    scope = scope_of(JSON | {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}, method="POST")
    assert status_of(scope) is None
    scope["headers"].append(next(header for header in scope["headers"] if header[0] == name.encode()))
    assert status_of(scope) == 400


SITES = [
    # what the browser says, and whether it may pass
    ({"origin": "http://127.0.0.1:8080"}, True),
    ({"origin": "HTTP://127.0.0.1:8080"}, True),
    ({"origin": "https://127.0.0.1:8080"}, False),
    ({"origin": "http://127.0.0.1"}, False),
    ({"origin": "http://127.0.0.1:8081"}, False),
    ({"origin": "http://localhost:8080"}, False),
    ({"origin": "http://127.0.0.1:8080.evil.example"}, False),
    ({"origin": "http://evil.example"}, False),
    ({"origin": "null"}, False),
    ({"origin": ""}, False),
    ({"sec-fetch-site": "same-origin"}, True),
    ({"sec-fetch-site": "none"}, True),
    ({"sec-fetch-site": "same-site"}, False),
    ({"sec-fetch-site": "cross-site"}, False),
    ({"sec-fetch-site": "something-new"}, False),
    ({"origin": "http://127.0.0.1:8080", "sec-fetch-site": "cross-site"}, False),
    ({"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, False),
    ({"origin": "https://app.example", "sec-fetch-site": "cross-site"}, True),
    ({"origin": "https://app.example:443"}, False),
    ({"origin": "https://APP.example"}, False),
    ({"origin": "http://app.example"}, False),
    # behind a proxy that ends TLS
    ({"origin": "https://127.0.0.1:8080", "x-forwarded-proto": "https"}, True),
    ({"origin": "https://127.0.0.1:8080", "x-forwarded-proto": "HTTPS"}, True),
    ({"origin": "http://127.0.0.1:8080", "x-forwarded-proto": "https"}, False),
    ({"origin": "http://127.0.0.1:8080", "x-forwarded-proto": "http"}, True),
    ({"origin": "http://127.0.0.1:8080", "x-forwarded-proto": "gopher"}, True),
    ({"origin": "https://evil.example", "x-forwarded-proto": "https"}, False),
]


@pytest.mark.parametrize(("headers", "may_pass"), SITES, ids=[str(list(headers.values())) for headers, _ in SITES])
@pytest.mark.parametrize(
    ("method", "kind"), [("GET", "http"), ("POST", "http"), ("DELETE", "http"), ("OPTIONS", "http"), ("", "websocket")]
)
def test_foreign_pages_are_forbidden(headers: dict[str, str], may_pass: bool, method: str, kind: str) -> None:
    assert status_of(scope_of(headers, method=method, kind=kind)) == (None if may_pass else 403)


VISIT = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def test_a_link_to_the_front_page_may_be_followed() -> None:
    assert status_of(scope_of(VISIT, path="/")) is None


ASSETS = ["/assets/main-AbCdEfGh.js", "/favicon.svg"]


@pytest.mark.parametrize("path", ASSETS)
@pytest.mark.parametrize(
    ("site", "mode", "dest"),
    [("same-origin", "cors", "script"), ("same-origin", "no-cors", "style"), ("none", "navigate", "document")],
)
def test_the_page_loads_its_own_files(path: str, site: str, mode: str, dest: str) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert status_of(scope_of(headers, path=path)) is None


@pytest.mark.parametrize("path", ASSETS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("dest", ["script", "style", "font", "image", "worker", "iframe", "document", "empty"])
def test_foreign_pages_use_none_of_them(path: str, method: str, site: str, dest: str) -> None:
    mode = "navigate" if dest in {"iframe", "document"} else "no-cors"
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert status_of(scope_of(headers, path=path, method=method)) == 403


@pytest.mark.parametrize(
    "scope",
    [
        scope_of(VISIT, path="/v1/streams"),
        scope_of(VISIT, path="//"),
        scope_of(VISIT, path="/", method="HEAD"),
        scope_of(VISIT | {"sec-fetch-dest": "object"}, path="/"),
        scope_of(VISIT | {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}, path="/"),
        scope_of(VISIT, path="/", method="POST"),
        scope_of(VISIT | {"sec-fetch-mode": "cors"}, path="/"),
        scope_of(VISIT | {"sec-fetch-dest": "iframe"}, path="/"),
        scope_of(VISIT | {"origin": "http://evil.example"}, path="/"),
        scope_of(VISIT, path="/", kind="websocket"),
    ],
)
def test_nothing_else_passes_as_a_visit(scope: Scope) -> None:
    assert status_of(scope) == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"content-length": "0"}, None),
        ({"content-length": "0", "content-type": "text/plain"}, None),
        (JSON, None),
        (JSON | {"content-type": "Application/JSON; charset=utf-8"}, None),
        (JSON | {"content-encoding": "identity"}, None),
        ({"transfer-encoding": "chunked", "content-type": "application/json"}, None),
        ({"content-length": "2"}, 415),
        ({"transfer-encoding": "chunked"}, 415),
        (JSON | {"content-type": "text/plain"}, 415),
        (JSON | {"content-type": "text/plain; application/json"}, 415),
        (JSON | {"content-type": "application/jsonp"}, 415),
        (JSON | {"content-type": "application/x-www-form-urlencoded"}, 415),
        (JSON | {"content-type": "multipart/form-data; boundary=x"}, 415),
        (JSON | {"content-encoding": "gzip"}, 415),
        (JSON | {"content-encoding": "identity, br"}, 415),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_bodies_are_plain_json(headers: dict[str, str], status: int | None, method: str) -> None:
    assert status_of(scope_of(headers, method=method)) == status
    assert status_of(scope_of(headers | LISTED, method=method)) == status


def test_a_preflight_of_a_listed_origin_is_answered_with_what_it_asks() -> None:
    asked = "authorization,content-type,x-stainless-retry-count"
    headers = LISTED | {"access-control-request-method": "POST", "access-control-request-headers": asked}
    verdict = GUARD.decide(scope_of(headers, method="OPTIONS"))
    assert verdict.is_preflight
    answer = dict(verdict.cors)
    assert answer[b"access-control-allow-origin"] == b"https://app.example"
    assert answer[b"access-control-allow-headers"] == asked.encode()
    assert b"POST" in answer[b"access-control-allow-methods"]
    assert int(answer[b"access-control-max-age"]) > 0
    assert b"Origin" in answer[b"vary"]
    assert b"access-control-allow-private-network" not in answer


def test_a_preflight_echoes_header_names_only() -> None:
    headers = LISTED | {"access-control-request-method": "POST", "access-control-request-headers": 'a: "b"'}
    assert b"access-control-allow-headers" not in dict(GUARD.decide(scope_of(headers, method="OPTIONS")).cors)


def test_a_page_on_the_public_network_may_be_listed() -> None:
    headers = LISTED | {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
    answer = dict(GUARD.decide(scope_of(headers, method="OPTIONS")).cors)
    assert answer[b"access-control-allow-private-network"] == b"true"


def test_only_so_many_hosts_are_remembered() -> None:
    guard = Guard()
    for port in range(1000):
        assert guard.decide(scope_of(host=f"localhost:{port}")) is PASS
        assert guard.decide(scope_of(host=f"evil.example:{port}")) is not PASS
    assert len(guard._known_hosts) == 64


NAMES = ["host", "origin", "sec-fetch-site", "content-type", "content-length", "content-encoding", "x-other"]


@given(st.lists(st.tuples(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=40)), max_size=8))
@example([(b"host", b"localhost\n")])
def test_any_bytes_are_passed_or_refused_with_a_status(headers: Headers) -> None:
    scope = {"type": "http", "scheme": "http", "method": "POST", "path": "/", "headers": headers}
    verdict = GUARD.decide(scope)
    assert verdict.refusal is None or verdict.refusal.status in {400, 403, 415, 421}


@given(st.one_of(st.text("abcdelochst.0123789:[]@/-", max_size=30), st.ip_addresses().map(str)), st.booleans())
def test_who_passes_is_loopback(host: str, bracketed: bool) -> None:
    host = f"[{host}]" if bracketed else host
    if Guard().decide(scope_of(host=host)) is PASS:
        name = host.rpartition(":")[0] if host[-1] != "]" and ":" in host else host
        assert (
            name == "localhost"
            or name.endswith(".localhost")
            or ipaddress.ip_address(name.strip("[]")) in ipaddress.ip_network("127.0.0.0/8")
            or ipaddress.ip_address(name.strip("[]")) == ipaddress.ip_address("::1")
        )


class Answers:
    """An application that says yes, and what came of it."""

    def __init__(self) -> None:
        self.calls = 0
        self.sent: list[Message] = []
        self.refused: list[int] = []

    async def app(self, scope: Scope, receive: Any, send: Any) -> None:
        self.calls += 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"yes", "more_body": False})

    async def ask(self, scope: Scope) -> tuple[int, dict[bytes, bytes], bytes]:
        async def send(message: Message) -> None:
            self.sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        await GuardedApp(self.app, GUARD, on_refused=self.refused.append)(scope, receive, send)
        start, body = self.sent
        return start["status"], dict(start["headers"]), body["body"]


async def test_what_passes_is_answered_by_the_app_as_it_is() -> None:
    answers = Answers()
    assert await answers.ask(scope_of()) == (200, {b"a": b"b"}, b"yes")
    assert answers.refused == []


async def test_a_listed_origin_may_read_the_answer() -> None:
    status, headers, body = await Answers().ask(scope_of(LISTED))
    assert (status, body) == (200, b"yes")
    assert headers[b"access-control-allow-origin"] == b"https://app.example"
    assert b"Headrace-Stream-Id" in headers[b"access-control-expose-headers"]
    assert headers[b"a"] == b"b"


async def test_a_refusal_never_reaches_the_app_and_has_the_shape_of_openai() -> None:
    answers = Answers()
    status, headers, body = await answers.ask(scope_of({"origin": "http://evil.example"}))
    assert status == 403
    assert headers[b"content-type"] == b"application/json"
    assert int(headers[b"content-length"]) == len(body)
    assert b"access-control-allow-origin" not in headers
    error = msgspec.json.decode(body)["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "origin_not_allowed")
    assert (answers.calls, answers.refused) == (0, [403])


async def test_a_listed_origin_may_read_its_refusal() -> None:
    status, headers, _ = await Answers().ask(scope_of(LISTED | {"content-length": "2"}, method="POST"))
    assert status == 415
    assert headers[b"access-control-allow-origin"] == b"https://app.example"


async def test_a_preflight_never_reaches_the_app() -> None:
    answers = Answers()
    status, headers, body = await answers.ask(
        scope_of(LISTED | {"access-control-request-method": "GET"}, method="OPTIONS")
    )
    assert (status, body, answers.calls) == (204, b"", 0)
    assert headers[b"access-control-allow-origin"] == b"https://app.example"


async def test_a_foreign_handshake_is_closed() -> None:
    answers = Answers()
    app = GuardedApp(answers.app, GUARD, on_refused=answers.refused.append)

    async def send(message: Message) -> None:
        answers.sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await app(scope_of({"origin": "http://evil.example"}, kind="websocket"), receive, send)
    assert [message["type"] for message in answers.sent] == ["websocket.close"]
    assert (answers.calls, answers.refused) == (0, [403])


async def test_lifespan_is_nobodys_request() -> None:
    answers = Answers()

    async def nothing(*_: Any) -> Any:
        return None

    await GuardedApp(answers.app, GUARD, on_refused=answers.refused.append)({"type": "lifespan"}, nothing, nothing)
    assert answers.calls == 1
