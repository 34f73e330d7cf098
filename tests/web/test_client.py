"""The browser client in a real Chromium, on a bare page of another origin than the relay's, under a strict CSP."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests.client.scripted_server import ScriptedServer
from tests.dropping_proxy import DroppingProxy
from tests.processes import Relay, Simulator
from tests.system.wire import read_log, wait_for
from tests.web.client.memory import renderer_bytes
from tests.web.client.site import DIST, Site
from tests.web.client.tab import COUNT_REQUESTS, FOLDER, Tab, bare_site, open_tab

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

WORDS = " ".join(f"wort{number}é" for number in range(80))
LONG_WORDS = " ".join(f"wort{number}é" for number in range(300))
ITL_MS = 12
LONG_ITL_MS = 25
IDLE_WITHIN_S = 0.3
CUT_S = 5.0

# A transport: how the client is opened, and how it is asked.
TRANSPORTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fetch, lines": ({"transport": "fetch"}, {"endpoint": "/api/v1/chat/stream", "format": "ndjson"}),
    "fetch, events": ({"transport": "fetch"}, {"endpoint": "/v1/chat/completions", "format": "sse"}),
    "eventsource": ({"transport": "eventsource"}, {"endpoint": "/v1/completions/stream"}),
    "websocket": ({"transport": "websocket"}, {"endpoint": "/api/v1/chat/stream"}),
}
FETCH, WEBSOCKET = "fetch, lines", "websocket"

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)
in_worker_and_page = pytest.mark.parametrize("worker", [True, False], ids=["in a Worker", "in the page"])


@pytest.fixture(scope="module")
def site(require: Callable[[object, str], None]) -> Iterator[Site]:
    require((DIST / "index.js").exists(), "the built client: npm run build --workspace client, in web/")
    with bare_site() as site:
        yield site


@pytest.fixture(scope="module")
def talker() -> Iterator[Simulator]:
    """An engine that says the same to everybody who asks for nothing else: an EventSource cannot."""
    with Simulator("--text", WORDS, "--itl-ms", str(ITL_MS)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def long_talker() -> Iterator[Simulator]:
    """One that says more, so that its answers outlast a line that is cut."""
    with Simulator("--text", LONG_WORDS, "--itl-ms", str(LONG_ITL_MS)) as simulator:
        yield simulator


def relay_for(site: Site, engine: Simulator, folder: Path) -> Relay:
    """Return a relay that the bare page may call."""
    return Relay(engine.url, folder / "streams.db", environ={"HEADRACE_SERVER__CORS_ORIGINS": site.origin})


@pytest.fixture(scope="module")
def relay(site: Site, talker: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relay_for(site, talker, tmp_path_factory.mktemp("relay")) as relay:
        relay.get("/readyz")
        yield relay


@pytest.fixture(scope="module")
def long_relay(site: Site, long_talker: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relay_for(site, long_talker, tmp_path_factory.mktemp("relay")) as relay:
        relay.get("/readyz")
        yield relay


@pytest.fixture(autouse=True)
def forgotten(talker: Simulator, long_talker: Simulator) -> None:
    """Let the engines forget what tests before asked."""
    talker.forget()
    long_talker.forget()


@pytest.fixture
def tab(context: BrowserContext, site: Site, relay: Relay) -> Tab:
    return open_tab(context, site, relay.origin)


def ask(
    tab: Tab, transport: str, *, name: str = "answer", client: dict[str, Any] | None = None, **options: Any
) -> None:
    """Open a client for a transport, and ask."""
    opened, asked = TRANSPORTS[transport]
    tab.open(name, **{**opened, **(client or {})})
    tab.generate(name, client=name, **{**asked, **options})


def check_whole(seen: dict[str, Any], text: str = WORDS) -> None:
    """Check that an answer came whole: nothing is missing, nothing came twice, and it ended well."""
    assert seen["error"] is None, seen["error"]
    assert seen["text"] == text
    assert seen["result"]["text"] == text
    assert seen["result"]["status"]["state"] == "completed"
    assert seen["result"]["status"]["cause"] == "stop"


def states(seen: dict[str, Any]) -> list[str]:
    """Return the names of the states, each once where it follows itself."""
    names = [status["state"] for status in seen["states"]]
    return [name for position, name in enumerate(names) if names[position - 1 : position] != [name]]


def ended(engine: Simulator) -> list[dict[str, Any]]:
    """Return the engine's records, once all its requests have ended."""
    wait_for(lambda: all(request["outcome"] for request in engine.requests()), what="the engine's end")
    return engine.requests()


# Whole answers


@in_worker_and_page
@every_transport
def test_an_answer_comes_whole(tab: Tab, transport: str, worker: bool) -> None:
    problems: list[str] = []
    tab.page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    ask(tab, transport, client={"worker": worker})
    seen = tab.wait_for_end()
    check_whole(seen)
    assert states(seen) == ["waiting", "streaming", "completed"]
    assert seen["updates"] > 10
    assert transport == "eventsource" or seen["seams"] == []
    assert problems == []


@every_transport
def test_times_are_measured_from_the_call(tab: Tab, transport: str) -> None:
    ask(tab, transport)
    tab.wait_for_end()
    metrics = tab.wait_for("seen.metrics !== null")["metrics"]
    assert 0 < metrics["firstByteMs"] <= metrics["firstTokenMs"] <= metrics["firstVisibleMs"] <= metrics["totalMs"]
    assert metrics["totalMs"] >= 79 * ITL_MS
    assert 0.5 * ITL_MS <= metrics["tpotMs"] <= 2 * ITL_MS
    assert metrics["reconnects"] == 0
    # The EventSource route has no word for it.
    assert metrics["finishReason"] == (None if transport == "eventsource" else "stop")
    assert metrics["transport"] == TRANSPORTS[transport][0]["transport"]


def test_reasoning_and_tool_calls_are_told_apart(tab: Tab) -> None:
    tools = [{"name": "weather", "arguments": '{"city": "Ur"}', "fragment_chars": 3}]
    tab.open()
    tab.generate(simulate={"reasoning": "so it is", "text": "one two", "tool_calls": tools, "itl_ms": 5})
    seen = tab.wait_for_end()
    assert seen["text"] == "one two"
    assert seen["result"]["reasoning"] == "so it is"
    (call,) = seen["result"]["toolCalls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Ur"}'}


# Where it runs


@pytest.mark.parametrize("transport", [FETCH, WEBSOCKET])
def test_a_worker_does_what_the_page_need_not(
    context: BrowserContext, site: Site, relay: Relay, transport: str
) -> None:
    tab = open_tab(context, site, relay.origin, before=COUNT_REQUESTS)
    ask(tab, transport)
    tab.wait_for("seen.text.length > 0")
    assert len(tab.page.workers) == 1
    check_whole(tab.wait_for_end())
    assert tab.page.evaluate("window.requests") == 0


@pytest.mark.parametrize("transport", [FETCH, WEBSOCKET])
def test_without_workers_the_page_does_it_itself(
    context: BrowserContext, site: Site, relay: Relay, transport: str
) -> None:
    tab = open_tab(context, site, relay.origin, before=f"delete window.Worker;{COUNT_REQUESTS}")
    ask(tab, transport)
    check_whole(tab.wait_for_end())
    assert tab.page.evaluate("window.requests") == 1
    assert tab.page.workers == []


# Stop


@in_worker_and_page
@every_transport
def test_stop_reaches_the_engine_at_once(tab: Tab, talker: Simulator, transport: str, worker: bool) -> None:
    ask(tab, transport, client={"worker": worker})
    tab.wait_for("seen.text.includes('wort9é')")
    stopped_s = tab.stop()
    seen = tab.wait_for_end()
    assert seen["ends"] == {"complete": 1, "error": 0}
    assert seen["result"]["status"]["state"] == "cancelled"
    assert seen["result"]["status"]["cause"] == "client_stop"
    assert WORDS.startswith(seen["text"])
    (request,) = ended(talker)
    assert request["outcome"] == "client_closed"
    assert request["client_closed_at"] - stopped_s <= IDLE_WITHIN_S


@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name != "eventsource"])
def test_stop_before_the_first_token_reaches_the_engine(tab: Tab, talker: Simulator, transport: str) -> None:
    ask(tab, transport, simulate={"ttft_ms": 20_000})
    wait_for(talker.requests, what="the request")
    stopped_s = tab.stop()
    seen = tab.wait_for_end()
    assert seen["result"]["status"]["state"] == "cancelled"
    assert seen["text"] == ""
    (request,) = ended(talker)
    assert request["client_closed_at"] - stopped_s <= IDLE_WITHIN_S


# Lines that break, relays that go down


def test_a_line_cut_for_five_seconds_is_resumed(
    context: BrowserContext, site: Site, long_relay: Relay, long_talker: Simulator
) -> None:
    with DroppingProxy(long_relay.port) as line:
        tab = open_tab(context, site, line.origin)
        for transport in TRANSPORTS:
            ask(tab, transport, name=transport)
        for transport in TRANSPORTS:
            tab.wait_for("seen.text.includes('wort9é')", transport)
        line.refuse()
        line.cut()
        tab.page.wait_for_timeout(CUT_S * 1000)
        line.accept()
        for transport in TRANSPORTS:
            seen = tab.wait_for_end(transport)
            check_whole(seen, LONG_WORDS)
            assert transport == "eventsource" or seen["seams"] == [], transport
            assert "reconnecting" in states(seen), transport
            assert seen["result"]["metrics"]["reconnects"] >= 1, transport
    requests = ended(long_talker)
    assert [request["outcome"] for request in requests] == ["completed"] * len(TRANSPORTS)


def test_the_end_of_a_relay_is_told_with_the_text_so_far(
    context: BrowserContext, site: Site, long_talker: Simulator, tmp_path: Path
) -> None:
    with relay_for(site, long_talker, tmp_path) as relay:
        tab = open_tab(context, site, relay.origin)
        for transport in TRANSPORTS:
            ask(tab, transport, name=transport)
        for transport in TRANSPORTS:
            tab.wait_for("seen.text.includes('wort9é')", transport)
        relay.kill()
        relay.start()
        for transport in TRANSPORTS:
            stream_id = tab.stream_id(transport)
            assert stream_id is not None
            seen = tab.wait_for_end(transport)
            assert seen["ends"]["error"] == 1, transport
            assert seen["result"]["status"]["state"] == "truncated", transport
            assert seen["result"]["status"]["cause"] == "node_lost", transport
            assert seen["text"] == seen["result"]["text"] == read_log(relay.port, stream_id).text, transport
            assert "wort9é" in seen["text"], transport


def test_a_reloaded_page_knows_its_stream_and_goes_on(
    context: BrowserContext, site: Site, long_relay: Relay, long_talker: Simulator
) -> None:
    tab = open_tab(context, site, long_relay.origin)
    ask(tab, FETCH)
    stream_id = tab.stream_id()
    assert stream_id is not None
    tab.wait_for("seen.text.includes('wort9é')")
    tab.page.reload()
    tab.page.wait_for_function("window.drive !== undefined")
    tab.open("client")
    (saved,) = tab.page.evaluate("() => drive.clients.get('client').pending()")
    assert saved["streamId"] == stream_id
    tab.attach(stream_id)
    seen = tab.wait_for_end()
    check_whole(seen, LONG_WORDS)
    assert seen["seams"] == []
    (request,) = ended(long_talker)
    assert request["outcome"] == "completed"
    assert tab.page.evaluate("() => drive.clients.get('client').pending()") == []


def test_two_tabs_follow_one_stream(tab: Tab, context: BrowserContext, site: Site, talker: Simulator) -> None:
    ask(tab, FETCH)
    stream_id = tab.stream_id()
    assert stream_id is not None
    tab.wait_for("seen.text.includes('wort9é')")
    other = open_tab(context, site, tab.relay)
    other.open("client", transport="websocket")
    other.attach(stream_id)
    check_whole(other.wait_for_end())
    check_whole(tab.wait_for_end())
    assert len(talker.requests()) == 1


# Many at once


def test_eight_answers_share_one_websocket(
    context: BrowserContext, site: Site, relay: Relay, talker: Simulator
) -> None:
    names = [f"answer {number}" for number in range(8)]
    with DroppingProxy(relay.port) as line:
        tab = open_tab(context, site, line.origin)
        tab.open("client", transport="websocket")
        for name in names:
            tab.generate(name)
        wait_for(lambda: talker.summary()["active"] == len(names), what="eight answers at once")
        for name in names:
            check_whole(tab.wait_for_end(name))
        assert line.connections == 1


def test_over_http_1_1_the_browser_lets_six_run_and_two_wait(tab: Tab, talker: Simulator) -> None:
    names = [f"answer {number}" for number in range(8)]
    tab.open("client", transport="fetch")
    for name in names:
        tab.generate(name)
    most = 0
    while any(tab.page.evaluate("(name) => !drive.isOver(name)", name) for name in names):
        most = max(most, talker.summary()["active"])
    assert most == 6
    for name in names:
        check_whole(tab.seen(name))


# A page that does not read

DELTA_CHARS = 10_240
DELTAS = 5_120
DELTA_MS = 1.5
HEAP_FLAT_BYTES = 20_000_000
"""How much more memory all pages may take while the rest of 50 MB waits for them."""


def big_script() -> tuple[dict[str, Any], str]:
    """Return a script that sends 50 MB, and the SHA-256 of its text."""
    # No two of 31 are alike, so that a piece lost, doubled or out of place changes the sum.
    deltas = [(f"<{number:02}>" + chr(97 + number % 26) * DELTA_CHARS)[:DELTA_CHARS] for number in range(31)]
    digest = hashlib.sha256()
    for number in range(DELTAS):
        digest.update(deltas[number % len(deltas)].encode())
    return {"text": None, "deltas": deltas, "tokens": DELTAS, "itl_ms": DELTA_MS}, digest.hexdigest()


@pytest.mark.parametrize("transport", [FETCH, WEBSOCKET])
def test_a_page_that_stops_reading_lags_and_keeps_flat_then_catches_up(tab: Tab, relay: Relay, transport: str) -> None:
    script, digest = big_script()
    ask(tab, transport, simulate=script)
    stream_id = tab.stream_id()
    assert stream_id is not None
    tab.wait_for("seen.offsets > 20")
    tab.pause()
    tab.page.wait_for_timeout(500)
    taken, memory = tab.seen(chars=0)["offsets"], renderer_bytes()
    lags, growth = [], []
    while (stream := relay.stream(stream_id))["state"] == "in_progress":
        lags.append(stream["lag"])
        growth.append(renderer_bytes() - memory)
        tab.page.wait_for_timeout(250)
    assert stream["state"] == "completed"
    assert tab.seen(chars=0)["offsets"] == taken, "a paused generation was given more"
    assert max(growth) < HEAP_FLAT_BYTES
    # What sockets swallow is a few MB; all else waits at the relay.
    late = lags[len(lags) // 2 :]
    assert all(before < after for before, after in itertools.pairwise(late)), lags
    assert late[-1] > DELTAS / 2
    tab.resume()
    seen = tab.wait_for("seen.ends.complete + seen.ends.error > 0")
    assert seen["error"] is None
    assert seen["length"] == DELTAS * DELTA_CHARS
    assert seen["seams"] == []
    assert tab.sha256() == digest


# A page that nobody sees


@in_worker_and_page
def test_a_hidden_page_has_the_whole_answer_when_it_is_shown(
    context: BrowserContext, site: Site, relay: Relay, worker: bool
) -> None:
    tab = open_tab(context, site, relay.origin, before=(FOLDER / "hidden.js").read_text())
    assert tab.page.evaluate("document.hidden")
    ask(tab, FETCH, client={"worker": worker})
    seen = tab.wait_for_end()
    check_whole(seen)
    assert seen["seams"] == []
    tab.page.evaluate("window.setHidden(false)")
    assert tab.wait_for("seen.metrics !== null")["text"] == WORDS


def test_a_page_hidden_in_mid_answer_is_given_the_rest(context: BrowserContext, site: Site, relay: Relay) -> None:
    tab = open_tab(context, site, relay.origin, before=(FOLDER / "hidden.js").read_text())
    tab.page.evaluate("window.setHidden(false)")
    ask(tab, WEBSOCKET)
    tab.wait_for("seen.text.includes('wort9é')")
    tab.page.evaluate("window.setHidden(true)")
    seen = tab.wait_for_end()
    check_whole(seen)
    assert seen["seams"] == []


# Servers that are no Headrace, and servers that do not want this page


def answer_of_another_server(site: Site, pieces: list[str], then: str) -> list[dict[str, Any]]:
    """Return the connections of an OpenAI-compatible server that lets the page's origin in."""
    chat = {"method": "POST", "path": "/v1/chat/completions"}
    head = {**cors_of(site), "Content-Type": "text/event-stream"}
    answer = {"expect": chat, "reply": {"status": 200, "headers": head, "body": pieces}, "then": then}
    return [preflight(site, allows="*"), answer]


def cors_of(site: Site) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": site.origin}


def preflight(site: Site, *, allows: str) -> dict[str, Any]:
    """Return a connection that answers what the browser asks before the page's request (Fetch standard 3.2.4)."""
    headers = {**cors_of(site), "Access-Control-Allow-Headers": allows}
    return {
        "expect": {"method": "OPTIONS", "path": "/v1/chat/completions"},
        "reply": {"status": 200, "headers": headers, "body": []},
        "then": "end",
    }


def piece(text: str, finish: str = "null") -> str:
    head = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices"'
    return f'data: {head}:[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{finish}}}]}}\n\n'


def test_another_openai_compatible_server_answers(context: BrowserContext, site: Site) -> None:
    pieces = [piece("one"), piece(" two"), piece("", '"stop"'), "data: [DONE]\n\n"]
    with ScriptedServer(answer_of_another_server(site, pieces, "end")) as server:
        tab = open_tab(context, site, server.origin)
        tab.open()
        tab.generate(endpoint="/v1/chat/completions", format="sse")
        check_whole(tab.wait_for_end(), "one two")
        assert tab.stream_id() is None
        server.check()


def test_another_server_that_forbids_the_relays_headers_answers_too(context: BrowserContext, site: Site) -> None:
    """As Ollama does, whose rules name the headers of the stock SDKs only."""
    no_such_path = {
        "expect": {"method": "GET", "path": "/v1/streams/*"},
        "reply": {"status": 404, "headers": cors_of(site), "body": ["404 page not found"]},
        "then": "end",
    }
    pieces = [piece("one two"), piece("", '"stop"'), "data: [DONE]\n\n"]
    forbids = preflight(site, allows="content-type")
    answer = answer_of_another_server(site, pieces, "end")[1]
    with ScriptedServer([forbids, no_such_path, forbids, answer]) as server:
        tab = open_tab(context, site, server.origin)
        tab.open()
        tab.generate(endpoint="/v1/chat/completions", format="sse")
        check_whole(tab.wait_for_end(), "one two")
        assert tab.stream_id() is None
        server.check()


@pytest.mark.parametrize("then", ["clean end", "FIN", "RST"])
def test_another_server_cut_in_the_middle_is_truncated_and_cannot_resume(
    context: BrowserContext, site: Site, then: str
) -> None:
    how = "end" if then == "clean end" else "hang"
    with (
        ScriptedServer(answer_of_another_server(site, [piece("one"), piece(" two")], how)) as server,
        DroppingProxy(urlsplit(server.origin).port or 0) as line,
    ):
        tab = open_tab(context, site, line.origin)
        tab.open()
        tab.generate(endpoint="/v1/chat/completions", format="sse")
        tab.wait_for("seen.text === 'one two'")
        if how == "hang":
            line.cut(reset=then == "RST")
        seen = tab.wait_for_end()
        assert seen["ends"]["error"] == 1
        assert seen["text"] == seen["result"]["text"] == "one two"
        assert seen["result"]["status"]["state"] == "truncated"
        assert seen["result"]["status"]["canResume"] is False
        server.check()


@pytest.mark.parametrize("transport", [FETCH, WEBSOCKET])
def test_a_relay_that_does_not_list_the_origin_is_a_clear_error(
    context: BrowserContext, site: Site, talker: Simulator, tmp_path: Path, transport: str
) -> None:
    with Relay(talker.url, tmp_path / "streams.db") as relay:
        tab = open_tab(context, site, relay.origin)
        started_s = time.monotonic()
        ask(tab, transport)
        seen = tab.wait_for_end()
        assert time.monotonic() - started_s < 15
        assert seen["ends"]["error"] == 1
        assert seen["result"]["status"]["state"] == "failed"
        assert seen["error"]["kind"] == "lost"
        assert "does not let pages of" in seen["error"]["message"]
    assert talker.requests() == []
