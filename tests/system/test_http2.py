"""HTTP/2 and TLS as clients meet them: a relay as a process, an engine behind it, stock clients and a real browser."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import h2.config
import h2.connection
import h2.events
import hpack
import httpx2
import pytest
import trustme
from tests.processes import START_S, Relay, Simulator
from tests.system.browser import CHROMIUM, chromium
from tests.system.wire import JSON, chat_body, wait_for
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from headrace.http.negotiation import PREFACE

pytestmark = pytest.mark.alone

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]

CHAT = "/v1/chat/completions"

TABS = 8
"""More than the six connections that a browser opens to one HTTP/1.1 origin."""

ABORT_S = 0.05
"""How soon the engine learns that a client has left."""


# --- relays


class Tls:
    """A certificate for 127.0.0.1, and who trusts it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.path = str(folder / "both.pem")
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(self.path)
        self.options = ("--tls-cert", self.path, "--tls-key", self.path)
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)


class TlsRelay(Relay):
    """A relay behind a certificate of its own."""

    @property
    def origin(self) -> str:
        return super().origin.replace("http:", "https:")

    def _wait_until_ready(self) -> None:
        ready = "listens on https://127.0.0.1:"
        wait_for(lambda: ready in self.output or not self.is_running, within_s=START_S, what=self.output)
        self.port = int(self.output.partition(ready)[2].split()[0])


@pytest.fixture(scope="module")
def relay(simulator: Simulator) -> Iterator[Relay]:
    """A relay that speaks HTTP/2 without TLS."""
    with Relay(simulator.url, "memory:", "--http2", "--slow-client-timeout", "1") as relay:
        yield relay


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_relay(simulator: Simulator, tls: Tls) -> Iterator[Relay]:
    """A relay that speaks both over TLS."""
    with TlsRelay(simulator.url, "memory:", "--http2", "--slow-client-timeout", "1", *tls.options) as relay:
        yield relay


# --- a client that does what it likes


class Client:
    """One HTTP/2 connection. It opens windows only when it is told to."""

    def __init__(self, port: int, *, window: int = 65_535, trust: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        if trust is not None:
            trust.set_alpn_protocols(["h2"])
            self._socket = trust.wrap_socket(self._socket, server_hostname="127.0.0.1")
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._h2.update_settings({4: window})
        self._h2.increment_flow_control_window(2**30)
        self.heads: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.goaway: int | None = None
        self.is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def chat(self, *, stream_id: str | None = None, **fields: Any) -> int:
        """Begin a chat and return its HTTP/2 stream."""
        number = self._h2.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "http"), (":authority", "127.0.0.1"), (":path", CHAT)]
        headers.append(("content-type", "application/json"))
        if stream_id is not None:
            headers.append(("headrace-stream-id", stream_id))
        self._h2.send_headers(number, headers)
        self._h2.send_data(number, chat_body(**fields), end_stream=True)
        self.bodies[number] = bytearray()
        self.flush()
        return number

    def open_window(self, number: int, size: int) -> None:
        self._h2.increment_flow_control_window(size, number)
        self.flush()

    def reset(self, number: int) -> None:
        self._h2.reset_stream(number, 8)
        self.flush()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def until(self, condition: Callable[[], object]) -> None:
        """Read until something is true."""
        while not condition():
            assert not self.is_closed, (self.resets, self.goaway)
            data = self._socket.recv(65_536)
            self.is_closed = not data
            for event in self._h2.receive_data(data):
                self._note(event)
            self.flush()

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.heads[event.stream_id] = {str(name): str(value) for name, value in event.headers or ()}
            case h2.events.DataReceived():
                self.bodies[event.stream_id] += event.data or b""
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.resets[event.stream_id] = int(event.error_code)
            case h2.events.ConnectionTerminated():
                self.goaway = int(event.error_code or 0)


def text_of(body: bytes) -> str:
    """Return the text of an event stream that came whole."""
    events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    assert events.pop() == b"[DONE]"
    chunks = [json.loads(event) for event in events]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def engine_saw(simulator: Simulator, outcome: str) -> dict[str, Any]:
    """Wait for the only request that ended so, and return what the engine knows of it."""
    found = wait_for(
        lambda: [seen for seen in simulator.requests() if seen["outcome"] == outcome], what=f"the engine's {outcome}"
    )
    assert len(found) == 1
    request: dict[str, Any] = found[0]
    return request


def hold_up(relay: Relay) -> None:
    """Assert that a relay serves on, and said nothing of a fault of its own."""
    with httpx2.Client(http1=False, http2=True) as client:
        assert client.get(f"{relay.origin}/healthz").status_code == 200
    assert "Traceback" not in relay.output
    assert "ERROR" not in relay.output


# --- streams


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("is_secure", [False, True])
def test_a_stream_is_whole_whatever_carries_it(
    relay: Relay, tls_relay: Relay, tls: Tls, version: str, is_secure: bool
) -> None:
    origin = (tls_relay if is_secure else relay).origin
    body = chat_body(simulate={"tokens": 2000, "itl_ms": 0.1, "seed": 5})
    with httpx2.Client(http1=version == "HTTP/1.1", http2=version == "HTTP/2", verify=tls.trust) as client:
        for _ in range(2):
            response = client.post(origin + CHAT, content=body, headers={"content-type": "application/json"})
            assert response.http_version == version
            assert len(text_of(response.content).split()) == 2000


def test_a_reset_stops_the_engine_and_no_other_stream(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    with Client(relay.port) as client:
        left = client.chat(simulate={"tokens": 10_000, "itl_ms": 20})
        other = client.chat(simulate={"tokens": 20, "itl_ms": 20, "text": "whole " * 20})
        client.until(lambda: b"content" in client.bodies[left])
        client.reset(left)
        left_at = time.monotonic()
        client.until(lambda: other in client.ended)
        assert text_of(bytes(client.bodies[other])).split() == ["whole"] * 20
    assert engine_saw(simulator, "client_closed")["client_closed_at"] - left_at < ABORT_S


def test_a_lost_connection_stops_the_engine(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    with Client(relay.port) as client:
        number = client.chat(simulate={"tokens": 10_000, "itl_ms": 20})
        client.until(lambda: b"content" in client.bodies[number])
        left_at = time.monotonic()
    assert engine_saw(simulator, "client_closed")["client_closed_at"] - left_at < ABORT_S


def test_a_reset_before_the_first_token_stops_the_engine(relay: Relay, simulator: Simulator) -> None:
    simulator.forget()
    with Client(relay.port) as client:
        number = client.chat(simulate={"fault": {"kind": "silence_before"}})
        wait_for(simulator.requests, what="the engine's request")
        client.reset(number)
        left_at = time.monotonic()
        assert engine_saw(simulator, "client_closed")["client_closed_at"] - left_at < ABORT_S


def test_a_stream_that_is_not_taken_is_a_slow_client_and_no_other_stream_is(relay: Relay, simulator: Simulator) -> None:
    with Client(relay.port, window=1000) as client:
        slow = client.chat(stream_id="not-taken", simulate={"tokens": 100_000, "itl_ms": 5})
        other = client.chat(simulate={"tokens": 60, "itl_ms": 50})
        while other not in client.ended:
            before = len(client.bodies[other])
            client.until(lambda: len(client.bodies[other]) > before or other in client.ended)  # noqa: B023
            if other not in client.ended:
                client.open_window(other, len(client.bodies[other]) - before)
        assert len(text_of(bytes(client.bodies[other])).split()) == 60
        client.until(lambda: slow in client.resets)
        assert len(client.bodies[slow]) == 1000
    seen = relay.stream("not-taken")
    assert (seen["state"], seen["cause"]) == ("cancelled", "slow_client")


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_connection_that_is_not_read_is_a_slow_client(
    relay: Relay, tls_relay: Relay, tls: Tls, is_secure: bool
) -> None:
    port, trust = (tls_relay.port, tls.trust) if is_secure else (relay.port, None)
    with Client(port, window=2**31 - 1, trust=trust) as client:
        names = [f"not-read-{number}-{is_secure}" for number in range(3)]
        for name in names:
            client.chat(stream_id=name, simulate={"tokens": 1_000_000, "pad_bytes": 2000})
        with httpx2.Client(verify=tls.trust) as observer:
            for name in names:
                url = f"{(tls_relay if is_secure else relay).origin}/v1/streams/{name}"
                wait_for(lambda: observer.get(url).json()["cause"], within_s=20, what="the end")  # noqa: B023
                seen = observer.get(url).json()
                assert (seen["state"], seen["cause"]) == ("cancelled", "slow_client")


# --- hostile peers


def _frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream_id.to_bytes(4) + payload


HEAD = hpack.Encoder().encode(
    [(":method", "POST"), (":scheme", "http"), (":authority", "127.0.0.1"), (":path", CHAT), *JSON.items()]
)

HOSTILE: Mapping[str, bytes] = {
    "rapid resets": b"".join(
        _frame(1, 4, number, HEAD) + _frame(3, 0, number, struct.pack(">I", 8)) for number in range(1, 4000, 2)
    ),
    "endless head": _frame(1, 0, 1, b"\x82") + _frame(9, 0, 1) * 1000,
    "large endless head": _frame(1, 0, 1, b"\x82") + _frame(9, 0, 1, b"\x00" * 16_000) * 100,
    "pings": _frame(6, 0, 0, b"12345678") * 100_000,
    "settings": _frame(4, 0, 0, struct.pack(">HI", 4, 1)) * 100_000,
    "nonsense": b"\xff" * 300_000,
    "a frame too large": _frame(0, 0, 1, b"x" * 100_000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_peer_is_dismissed_and_counted(relay: Relay, simulator: Simulator, kind: str) -> None:
    before = relay.metric("headrace_requests_rejected_total")
    with socket.create_connection(("127.0.0.1", relay.port), timeout=20) as peer:
        try:
            peer.sendall(PREFACE + _frame(4, 0, 0) + HOSTILE[kind])
            while peer.recv(65_536):
                pass
        except ConnectionError:
            # It was dropped while it went on sending.
            pass
    assert relay.metric("headrace_requests_rejected_total") == before + 1
    wait_for(lambda: relay.metric("headrace_streams_active") == 0, what="the end of all streams")
    wait_for(lambda: simulator.summary()["active"] == 0, what="the end of all requests")
    hold_up(relay)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
    ],
    ids=["host", "origin", "site", "body"],
)
def test_who_may_talk_is_decided_as_ever(relay: Relay, headers: dict[str, str], status: int) -> None:
    with httpx2.Client(http1=False, http2=True) as client:
        headers = {"content-type": "application/json"} | headers
        # Its length is not known beforehand.
        response = client.post(relay.origin + CHAT, content=iter([chat_body()]), headers=headers)
        assert response.status_code == status


# --- the end of the relay


def test_a_shutdown_lets_streams_finish(simulator: Simulator) -> None:
    with Relay(simulator.url, "memory:", "--http2") as relay, Client(relay.port) as client:
        number = client.chat(simulate={"tokens": 30, "itl_ms": 20})
        client.until(lambda: b"content" in client.bodies[number])
        relay.signal_end()
        client.until(lambda: number in client.ended)
        assert len(text_of(bytes(client.bodies[number])).split()) == 30
        client.until(lambda: client.goaway is not None)
        assert client.goaway == 0
        assert relay.wait() == 0


# --- TLS


def test_tls_alone_serves_http_1(simulator: Simulator, tls: Tls) -> None:
    with (
        TlsRelay(simulator.url, "memory:", *tls.options) as relay,
        httpx2.Client(http2=True, verify=tls.trust) as client,
    ):
        response = client.post(relay.origin + CHAT, content=chat_body(), headers={"content-type": "application/json"})
        assert response.http_version == "HTTP/1.1"
        assert text_of(response.content)
        # Its own pages may call it.
        assert client.get(f"{relay.origin}/v1/models", headers={"origin": relay.origin}).status_code == 200


def test_what_is_no_tls_does_not_hurt(tls_relay: Relay, tls: Tls) -> None:
    with socket.create_connection(("127.0.0.1", tls_relay.port), timeout=20) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"200" not in peer.recv(65_536)
    with httpx2.Client(verify=tls.trust) as client:
        assert client.get(f"{tls_relay.origin}/healthz").status_code == 200


def test_websockets_are_served_beside_http_2(tls_relay: Relay, tls: Tls) -> None:
    url = tls_relay.origin.replace("https:", "wss:") + "/v1/stream"
    with connect(url, ssl=tls.trust, subprotocols=[Subprotocol("headrace.v1")], proxy=None) as door:
        door.send(json.dumps({"type": "ping", "id": 7}))
        assert json.loads(door.recv(timeout=10)) == {"type": "pong", "id": 7}


# --- settings that cannot be


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tls-cert", "none.pem", "--tls-key", "none.pem"], "server.tls_cert: cannot read none.pem"),
        (["--tls-cert", "{path}"], "server.tls_key: must be set, since server.tls_cert is"),
        (["--tls-key", "{path}"], "server.tls_cert: must be set, since server.tls_key is"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start(tls: Tls, options: list[str], complaint: str) -> None:
    named = [option.format(path=tls.path) for option in options]
    code, output = Relay("http://127.0.0.1:9/v1", "memory:", *named).run_to_end()
    assert code == 2
    assert output.startswith(f"headrace: {complaint}")


def test_without_its_library_http_2_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "h2.py").write_text("raise ModuleNotFoundError(\"No module named 'h2'\", name='h2')")
    environ = {"PYTHONPATH": str(tmp_path)}
    code, output = Relay("http://127.0.0.1:9/v1", "memory:", "--http2", environ=environ).run_to_end()
    assert code == 2
    assert (
        output
        == "headrace: server.http2: the package h2 is missing; install the extra: pip install 'headrace[http2]'\n"
    )


# --- a browser


READ = """async ([body, began]) => {
    const headers = {'content-type': 'application/json'};
    const response = await fetch('/v1/chat/completions', {method: 'POST', headers, body});
    const reader = response.body.getReader();
    let first = null;
    for (;;) {
        const {done, value} = await reader.read();
        if (done) break;
        if (first === null && new TextDecoder().decode(value).includes('content')) first = Date.now() - began;
    }
    const last = Date.now() - began;
    // The browser notes how it fetched something a moment after it has.
    let entry;
    for (let tries = 0; !entry && tries < 100; tries += 1) {
        entry = performance.getEntriesByName(response.url).pop();
        await new Promise((later) => setTimeout(later, 20));
    }
    window.seen = {first, last, protocol: entry && entry.nextHopProtocol};
}"""


@pytest.fixture(scope="module")
def browser(require: Callable[[object, str], None]) -> Iterator[Browser]:
    require(CHROMIUM.exists(), f"Chromium as {CHROMIUM}")
    with chromium(FLAGS) as browser:
        yield browser


def watch_in_tabs(browser: Browser, relay: Relay) -> list[dict[str, Any]]:
    """Read a stream of five seconds in each of eight tabs; returns when each had its first text and its last."""
    with browser.new_context(ignore_https_errors=True) as context:
        tabs = [context.new_page() for _ in range(TABS)]
        for tab in tabs:
            tab.goto(f"{relay.origin}/healthz")
        body = chat_body(simulate={"tokens": 50, "itl_ms": 100}).decode()
        began = tabs[0].evaluate("Date.now()")
        for tab in tabs:
            # Not awaited: all of them read at once.
            tab.evaluate(f"(given) => {{ ({READ})(given); }}", [body, began])
        return [_seen(tab) for tab in tabs]


def _seen(tab: Page) -> dict[str, Any]:
    found: dict[str, Any] = tab.wait_for_function("window.seen", timeout=60_000).json_value()
    return found


def tell(tabs: list[dict[str, Any]]) -> None:
    first = ", ".join(f"{tab['first']:.0f}" for tab in tabs)
    sys.stdout.write(f"{tabs[0]['protocol']}, first text of eight tabs after {first} ms\n")


def test_eight_tabs_stream_at_once_over_http_2(
    browser: Browser, tls_relay: Relay, record_property: Callable[[str, object], None]
) -> None:
    seen = watch_in_tabs(browser, tls_relay)
    record_property("tabs", seen)
    tell(seen)
    assert {tab["protocol"] for tab in seen} == {"h2"}
    first = [tab["first"] for tab in seen]
    assert max(first) - min(first) < 1000
    assert max(first) < min(tab["last"] for tab in seen)


def test_over_http_1_a_browser_makes_tabs_wait(
    browser: Browser, simulator: Simulator, tls: Tls, record_property: Callable[[str, object], None]
) -> None:
    """What HTTP/2 is for. How many connections a browser opens is its own affair: measured, and not demanded."""
    with TlsRelay(simulator.url, "memory:", *tls.options) as relay:
        seen = watch_in_tabs(browser, relay)
    record_property("tabs", seen)
    tell(seen)
    assert {tab["protocol"] for tab in seen} == {"http/1.1"}
    assert all(tab["first"] is not None for tab in seen)
