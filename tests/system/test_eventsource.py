"""A real browser's EventSource on a line that breaks a hundred times: one answer, each token once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from tests.dropping_proxy import DroppingProxy
from tests.processes import Relay, Simulator
from tests.system.wire import wait_for

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

DROPS = 100
WORDS = " ".join(f"mot{number}" for number in range(400))

# Collects what a page sees, and when it is over: the whole answer, or that the browser gave up.
SCRIPT = """async (query) => {
    const source = new EventSource('/v1/completions/stream?' + query);
    const tokens = [], ids = [];
    let reconnects = 0, done = 0;
    const closed = new Promise((over) => {
        source.onopen = () => { reconnects += 1; };
        source.onmessage = ({data, lastEventId}) => {
            if (data === '[DONE]') { done += 1; return; }
            tokens.push(JSON.parse(data).token);
            ids.push(lastEventId);
        };
        source.onerror = () => { if (source.readyState === EventSource.CLOSED) over(); };
    });
    await closed;
    return {text: tokens.join(''), ids, reconnects, done};
}"""


@pytest.fixture(scope="module")
def browser(require: Callable[[object, str], None]) -> Iterator[Any]:
    require(CHROMIUM.exists(), f"Chromium as {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def talker() -> Iterator[Simulator]:
    """An engine that says the same words to everybody, slowly enough to be cut off."""
    with Simulator("--text", WORDS, "--itl-ms", "10") as simulator:
        yield simulator


@pytest.fixture(scope="module")
def quick_relay(talker: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay that asks browsers to come back at once."""
    environ = {"HEADRACE_STREAM__RETRY_MS": "1"}
    with Relay(talker.url, tmp_path_factory.mktemp("relay") / "streams.db", environ=environ) as relay:
        yield relay


def read(browser: Any, proxy: DroppingProxy, query: str = "prompt=hi&max_tokens=1000") -> dict[str, Any]:
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(100_000)
        page.goto(f"{proxy.origin}/healthz")
        seen: dict[str, Any] = page.evaluate(SCRIPT, query)
        return seen


class Cutter:
    """Cuts a proxy's connections at random moments, once a stream runs, until it has done so often enough.

    A browser that is cut off before the first event has no id, and rightly asks anew.
    """

    def __init__(self, proxy: DroppingProxy, talker: Simulator, *, cuts: int, seed: int) -> None:
        self._proxy = proxy
        self._talker = talker
        self._cuts = cuts
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        spoken = self._talker.summary()["requests"]
        while self._talker.summary()["requests"] == spoken and not self._over.wait(0.05):
            pass
        self._over.wait(0.1)
        begun = self._proxy.cuts
        while self._proxy.cuts - begun < self._cuts and not self._over.wait(self._chance.uniform(0.005, 0.06)):
            self._proxy.cut(reset=self._chance.random() < 0.5)


def test_a_hundred_cuts_give_one_answer_from_one_request(browser: Any, talker: Simulator, quick_relay: Relay) -> None:
    cuts = tokens_twice = 0
    talker.forget()
    readings = 0
    while cuts < DROPS:
        with DroppingProxy(quick_relay.port) as proxy, Cutter(proxy, talker, cuts=DROPS, seed=readings):
            seen = read(browser, proxy)
            cuts += proxy.cuts
        readings += 1
        assert seen["text"] == WORDS
        assert seen["done"] == 1
        tokens_twice += len(seen["ids"]) - len(set(seen["ids"]))
    assert tokens_twice == 0
    assert len(talker.requests()) == readings
    assert {found["outcome"] for found in talker.requests()} == {"completed"}


def test_a_merged_answer_over_a_line_that_breaks_is_the_same(
    browser: Any, talker: Simulator, quick_relay: Relay
) -> None:
    with DroppingProxy(quick_relay.port) as proxy, Cutter(proxy, talker, cuts=20, seed=7):
        seen = read(browser, proxy, "prompt=hi&max_tokens=1000&merge=true&coalesce_tokens=20")
    assert seen["text"] == WORDS
    assert seen["reconnects"] > 1


def test_an_engine_stops_when_its_page_is_closed_and_linger_is_over(
    browser: Any, talker: Simulator, quick_relay: Relay
) -> None:
    talker.forget()
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{quick_relay.origin}/healthz")
        start = "window.kept = new EventSource('/v1/completions/stream?prompt=hi&max_tokens=1000&linger=1')"
        page.evaluate(f"() => new Promise((begun) => {{ {start}; window.kept.onmessage = () => begun(); }})")
        left_at = time.monotonic()
    wait_for(lambda: talker.requests()[0]["outcome"], what="the stop")
    (request,) = talker.requests()
    assert request["outcome"] == "client_closed"
    assert 0.9 <= request["client_closed_at"] - left_at <= 3
