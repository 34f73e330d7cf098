"""A website that a person happens to visit can neither read a stream nor start or stop one: tried in a real browser."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.processes import Relay, Simulator
from tests.system.browser import CHROMIUM, chromium
from tests.system.wire import JSON, Exchange, ask, begin, chat, chat_body, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

FLAGS = [
    *[
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ],
    *["--disable-component-update", "--disable-sync"],
    "--host-resolver-rules=MAP *.example 127.0.0.1",
    # This browser asks a person before a foreign page may reach the machine itself. Others do not, and people agree.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
]

PATIENCE_MS = 5000
"""How long a page waits for what it tries."""

# Each is the body of an async function of a page. ``relay`` is the relay's origin, ``id`` a running stream, ``body`` a
# chat request. It returns true when the page got what it wanted.
ATTACKS = {
    "read by fetch": "return (await fetch(`${relay}/v1/streams/${id}`)).ok",
    "list by fetch": "return (await fetch(`${relay}/v1/streams`)).ok",
    "follow by fetch": "return (await fetch(`${relay}/v1/streams/${id}/events`)).ok",
    "read by fetch no-cors": "return (await fetch(`${relay}/v1/streams/${id}`, {mode: 'no-cors'})).status !== 0",
    "follow by EventSource": """
        const source = new EventSource(`${relay}/v1/streams/${id}/events`);
        return await new Promise((done) => { source.onmessage = () => done(true); source.onerror = () => done(false); })
            .finally(() => source.close())""",
    "follow by WebSocket": """
        const socket = new WebSocket(`${relay.replace('http', 'ws')}/v1/streams/${id}/events`);
        return await new Promise((done) => { socket.onopen = () => done(true); socket.onerror = () => done(false); })""",
    "read as script": "return await loads('script', 'src', `${relay}/v1/streams/${id}`)",
    "read as image": "return await loads('img', 'src', `${relay}/v1/streams/${id}`)",
    "read in a frame": "await loads('iframe', 'src', `${relay}/v1/streams/${id}`); return false",
    "start by fetch": """
        const headers = {'content-type': 'application/json'};
        return (await fetch(`${relay}/v1/chat/completions`, {method: 'POST', headers, body})).ok""",
    "start by fetch as text": "return (await fetch(`${relay}/v1/chat/completions`, {method: 'POST', body})).ok",
    "start by fetch no-cors": """
        const mode = 'no-cors';
        return (await fetch(`${relay}/v1/chat/completions`, {method: 'POST', body, mode})).status !== 0""",
    "start by beacon": "navigator.sendBeacon(`${relay}/v1/chat/completions`, body); return false",
    "start by form, text": "return await submits('text/plain', `${relay}/v1/chat/completions`, body)",
    "start by form, urlencoded": """
        return await submits('application/x-www-form-urlencoded', `${relay}/v1/chat/completions`, body)""",
    "start by form, multipart": "return await submits('multipart/form-data', `${relay}/v1/chat/completions`, body)",
    "start by EventSource": """
        const source = new EventSource(`${relay}/v1/completions/stream?prompt=hi`);
        return await new Promise((done) => { source.onmessage = () => done(true); source.onerror = () => done(false); })
            .finally(() => source.close())""",
    "start by image": "return await loads('img', 'src', `${relay}/v1/completions/stream?prompt=hi`)",
    "start by script": "return await loads('script', 'src', `${relay}/v1/completions/stream?prompt=hi`)",
    "start in a frame": "await loads('iframe', 'src', `${relay}/v1/completions/stream?prompt=hi`); return false",
    "start by form, get": """
        const frame = Object.assign(document.createElement('iframe'), {name: 'get'});
        const action = `${relay}/v1/completions/stream`;
        const form = Object.assign(document.createElement('form'), {action, method: 'get', target: 'get'});
        form.append(Object.assign(document.createElement('input'), {name: 'prompt', value: 'hi'}));
        document.body.append(frame, form);
        form.submit();
        return await new Promise((done) => { frame.onload = () => done(false); })""",
    "start by WebSocket": """
        const socket = new WebSocket(`${relay.replace('http', 'ws')}/v1/stream`, 'headrace.v1');
        return await new Promise((done) => { socket.onopen = () => done(true); socket.onerror = () => done(false); })""",
    "start lines by fetch": """
        const headers = {'content-type': 'application/json', 'accept': 'application/x-ndjson'};
        return (await fetch(`${relay}/api/v1/chat/stream`, {method: 'POST', headers, body})).ok""",
    "ticket by fetch": "return (await fetch(`${relay}/v1/tickets`, {method: 'POST'})).ok",
    "ticket by form": "return await submits('text/plain', `${relay}/v1/tickets`, '')",
    "cancel by fetch": "return (await fetch(`${relay}/v1/streams/${id}/cancel`, {method: 'POST'})).ok",
    "cancel by fetch no-cors": """
        const request = {method: 'POST', mode: 'no-cors'};
        return (await fetch(`${relay}/v1/streams/${id}/cancel`, request)).status !== 0""",
    "cancel by form": "return await submits('text/plain', `${relay}/v1/streams/${id}/cancel`, '')",
    "erase by fetch": "return (await fetch(`${relay}/v1/streams/${id}`, {method: 'DELETE'})).ok",
    "metrics by fetch": "return (await fetch(`${relay}/metrics`)).ok",
}

HELPERS = """
    const loads = (tag, attribute, url) => new Promise((done) => {
        const element = document.createElement(tag);
        element.onload = () => done(true);
        element.onerror = () => done(false);
        element[attribute] = url;
        document.body.append(element);
    });
    const submits = (enctype, action, body) => new Promise((done) => {
        const frame = document.createElement('iframe');
        frame.name = enctype;
        document.body.append(frame);
        const form = Object.assign(document.createElement('form'), {enctype, action, method: 'post', target: enctype});
        // A text/plain form sends NAME=VALUE: cut at a '=' the two make any JSON.
        const [name, value] = body ? [body.slice(0, -1) + ', "x": "', '"}'] : ['x', 'y'];
        form.append(Object.assign(document.createElement('input'), {name, value}));
        document.body.append(form);
        frame.onload = () => { frame.remove(); done(false); };
        form.submit();
    });
"""

PAGES = {
    "cross-site": "http://evil.example:{port}/",
    "localhost": "http://localhost:{port}/",
    "same-site": "http://127.0.0.1:{port}/",
    "sandboxed": "http://evil.example:{port}/sandboxed",
}


class _Pages(http.server.BaseHTTPRequestHandler):
    """Empty pages; one of an opaque origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        if self.path == "/sandboxed":
            self.send_header("content-security-policy", "sandbox allow-scripts allow-forms")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>page</title><body></body>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page_port() -> Iterator[int]:
    """Where the foreign pages are served."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(require: Callable[[object, str], None]) -> Iterator[Browser]:
    require(CHROMIUM.exists(), f"Chromium as {CHROMIUM}")
    with chromium(FLAGS) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def live(relay: Relay) -> Iterator[str]:
    """A stream that runs as long as the tests do."""
    with chat(relay.port, simulate={"tokens": 1_000_000, "itl_ms": 50}) as exchange:
        exchange.read_until(b'"content":"')
        yield exchange.headers["headrace-stream-id"]


@pytest.fixture
def untouched(relay: Relay, simulator: Simulator, live: str) -> Iterator[None]:
    """Assert that a test neither started a stream nor stopped the one that runs."""
    requests, streams = len(simulator.requests()), relay.get_json("/v1/streams?limit=100")["data"]
    yield
    assert len(simulator.requests()) == requests
    assert len(relay.get_json("/v1/streams?limit=100")["data"]) == len(streams)
    assert relay.stream(live)["state"] == "in_progress"


def run(page: Page, relay: Relay, stream_id: str, script: str) -> Any:
    """Run the body of an async function in a page; an exception there counts as false, one that hangs as "hung"."""
    function = f"""async ([relay, id, body]) => {{
        {HELPERS}
        const attack = async () => {{ {script} }};
        const watch = new Promise((done) => setTimeout(() => done("hung"), {PATIENCE_MS}));
        return await Promise.race([attack().catch(() => false), watch]);
    }}"""
    return page.evaluate(function, [relay.origin, stream_id, chat_body().decode()])


def _note(statuses: list[int], response: Response) -> None:
    statuses.append(response.status)


def _has_refused(relay: Relay, before: float) -> bool:
    return relay.metric("headrace_requests_rejected_total") > before


@pytest.mark.parametrize("where", PAGES)
@pytest.mark.usefixtures("untouched")
def test_a_foreign_page_is_refused(page: Page, page_port: int, relay: Relay, live: str, where: str) -> None:
    page.goto(PAGES[where].format(port=page_port))
    for name, script in ATTACKS.items():
        before = relay.metric("headrace_requests_rejected_total")
        statuses: list[int] = []
        page.on("response", partial(_note, statuses))
        assert run(page, relay, live, script) is False, name
        # The relay was asked, and said no: the browser alone did not do it.
        wait_for(partial(_has_refused, relay, before), what=f"the refusal of {name}")
        assert set(statuses) <= {403}, name


@pytest.mark.parametrize("where", PAGES)
@pytest.mark.usefixtures("untouched")
def test_a_link_on_a_foreign_page_opens_nothing(
    page: Page, page_port: int, relay: Relay, live: str, where: str
) -> None:
    start = "/v1/completions/stream?prompt=hi"
    for path in ("/v1/streams", f"/v1/streams/{live}/events", "/v1/models", "/metrics", start):
        page.goto(PAGES[where].format(port=page_port))
        url = relay.origin + path
        with page.expect_response(url) as response, page.expect_navigation():
            page.evaluate("url => { location.href = url; }", url)
        assert response.value.status == 403


@pytest.mark.usefixtures("untouched")
def test_a_rebound_name_is_refused(page: Page, relay: Relay, live: str) -> None:
    for path in ("/v1/streams", f"/v1/streams/{live}/events", "/"):
        response = page.goto(f"http://rebound.example:{relay.port}{path}")
        assert response is not None
        assert response.status == 421


def test_the_same_page_may_when_its_origin_is_listed(
    page: Page, page_port: int, simulator: Simulator, tmp_path: Path
) -> None:
    origin = f"http://evil.example:{page_port}"
    with Relay(simulator.url, tmp_path / "s.db", environ={"HEADRACE_SERVER__CORS_ORIGINS": origin}) as relay:
        with chat(relay.port, simulate={"tokens": 1}) as exchange:
            exchange.read()
        page.goto(origin)
        for name in ("read by fetch", "list by fetch", "follow by fetch", "start by fetch", "erase by fetch"):
            assert run(page, relay, exchange.headers["headrace-stream-id"], ATTACKS[name]) is True, name


def test_a_page_of_the_relay_itself_may_do_everything(page: Page, relay: Relay) -> None:
    page.goto(f"{relay.origin}/healthz")
    assert run(page, relay, "", "return (await fetch('/v1/models')).status") == 200
    script = """
        const send = (path, method, value) =>
            fetch(path, {method, body: value, headers: value && {'content-type': 'application/json'}});
        const started = await send('/v1/chat/completions', 'POST', id);
        const reader = started.body.getReader();
        await reader.read();
        const path = `/v1/streams/${started.headers.get('headrace-stream-id')}`;
        const read = await fetch(path);
        const cancelled = await (await send(`${path}/cancel`, 'POST')).json();
        const followed = await new Promise((done) => {
            const source = new EventSource(`${path}/events`);
            source.addEventListener('end', (event) => { source.close(); done(JSON.parse(event.data).state); });
        });
        const erased = await send(path, 'DELETE');
        return [started.status, read.status, cancelled.cause, followed, erased.status, (await fetch(path)).status]"""
    body = chat_body(simulate={"tokens": 1000, "itl_ms": 20}).decode()
    seen = page.evaluate(f"async (id) => {{ {script} }}", body)
    assert seen == [200, 200, "client_stop", "cancelled", 204, 404]


def test_a_page_of_the_relay_itself_may_start_by_eventsource_and_websocket(page: Page, relay: Relay) -> None:
    page.goto(f"{relay.origin}/healthz")
    script = """
        const {ticket} = await (await fetch('/v1/tickets', {method: 'POST'})).json();
        const streamed = await new Promise((done) => {
            const source = new EventSource(`/v1/completions/stream?prompt=hi&max_tokens=3&ticket=${ticket}`);
            let tokens = 0;
            source.onmessage = ({data}) => { if (data === '[DONE]') { source.close(); done(tokens); } else tokens += 1; };
            source.onerror = () => done('failed');
        });
        const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/v1/stream`, 'headrace.v1');
        await new Promise((done, fail) => { socket.onopen = done; socket.onerror = fail; });
        const state = await new Promise((done) => {
            socket.onmessage = ({data}) => { const message = JSON.parse(data); if (message.end) done(message.end.state); };
            socket.send(JSON.stringify({type: 'start', stream: crypto.randomUUID(), request: JSON.parse(id)}));
        });
        return [streamed, state, socket.protocol]"""
    body = chat_body(simulate={"tokens": 3}).decode()
    assert page.evaluate(f"async (id) => {{ {script} }}", body) == [3, "completed", "headrace.v1"]


def test_an_eventsource_stops_after_the_end_without_being_told(page: Page, relay: Relay) -> None:
    page.goto(f"{relay.origin}/healthz")
    script = """
        const source = new EventSource('/v1/completions/stream?prompt=hi&max_tokens=3');
        let done = 0;
        source.onmessage = ({data}) => { if (data === '[DONE]') done += 1; };
        await new Promise((closed) => {
            source.onerror = () => { if (source.readyState === EventSource.CLOSED) closed(); };
        });
        return done"""
    before = len(relay.get_json("/v1/streams?limit=100")["data"])
    assert page.evaluate(f"async () => {{ {script} }}") == 1
    assert len(relay.get_json("/v1/streams?limit=100")["data"]) == before + 1


FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example",
    "localhost.evil.example:{port}",
    "evil-localhost:{port}",
    "169.254.169.254",
    "192.168.1.10:{port}",
    "0.0.0.0:{port}",
    "[::]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "2130706433:{port}",
    "127.1:{port}",
    "user@127.0.0.1:{port}",
    "127.0.0.1:{port}:80",
    "",
)


def requests_of(relay: Relay, live: str, headers: dict[str, str]) -> list[Exchange]:
    """Return one request of every kind, begun with these headers."""
    stream = f"/v1/streams/{live}"
    return [
        begin(relay.port, "GET", "/v1/models", headers=headers),
        begin(relay.port, "GET", "/v1/streams", headers=headers),
        begin(relay.port, "GET", stream, headers=headers),
        begin(relay.port, "GET", f"{stream}/events", headers=headers),
        begin(relay.port, "GET", "/metrics", headers=headers),
        begin(relay.port, "GET", "/", headers=headers),
        begin(relay.port, "POST", f"{stream}/cancel", headers=headers),
        begin(relay.port, "DELETE", stream, headers=headers),
        begin(relay.port, "POST", "/v1/chat/completions", headers={**headers, **JSON}, body=chat_body()),
        begin(relay.port, "POST", "/api/v1/chat/stream", headers={**headers, **JSON}, body=chat_body()),
        begin(relay.port, "GET", "/v1/completions/stream?prompt=hi", headers=headers),
        begin(relay.port, "POST", "/v1/completions/stream", headers={**headers, **JSON}, body=b'{"prompt": "hi"}'),
        begin(relay.port, "POST", "/v1/tickets", headers=headers),
    ]


def statuses_of(relay: Relay, live: str, headers: dict[str, str]) -> set[int]:
    statuses: set[int] = set()
    for exchange in requests_of(relay, live, headers):
        with exchange:
            statuses.add(exchange.status)
    return statuses


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.usefixtures("untouched")
def test_a_foreign_host_is_misdirected(relay: Relay, live: str, host: str) -> None:
    assert statuses_of(relay, live, {"host": host.format(port=relay.port)}) == {421}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1"},
        {"origin": "https://127.0.0.1:{port}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
@pytest.mark.usefixtures("untouched")
def test_a_foreign_origin_is_forbidden(relay: Relay, live: str, headers: dict[str, str]) -> None:
    named = {name: value.format(port=relay.port) for name, value in headers.items()}
    assert statuses_of(relay, live, named) == {403}


HANDSHAKE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 101),
        ({"origin": "http://127.0.0.1:{port}"}, 101),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://127.0.0.1:{port}"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"host": "evil.example"}, 403),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else str(value),
)
@pytest.mark.usefixtures("untouched")
def test_a_websocket_handshake_of_a_foreign_page_is_forbidden(
    relay: Relay, headers: dict[str, str], status: int
) -> None:
    named = {name: value.format(port=relay.port) for name, value in headers.items()}
    with begin(relay.port, "GET", "/v1/stream", headers={**HANDSHAKE, **named}) as exchange:
        assert exchange.status == status


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "app.localhost:{port}", "[::1]"])
def test_loopback_hosts_are_served(relay: Relay, host: str) -> None:
    own = host.format(port=relay.port)
    headers = {**JSON, "host": own, "origin": f"http://{own}"}
    body = chat_body(stream=False, simulate={"tokens": 1})
    assert ask(relay.port, "POST", "/v1/chat/completions", headers=headers, body=body).status == 200
    assert ask(relay.port, "GET", "/v1/streams", headers={"host": own}).status == 200


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_body_that_a_form_can_send_is_no_request(relay: Relay, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    answer = ask(relay.port, "POST", "/v1/chat/completions", headers=headers, body=chat_body())
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
