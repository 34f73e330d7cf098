"""A real browser's EventSource on a line that breaks a hundred times: one answer, each token once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.dropping_proxy import DroppingProxy
from tests.processes import Relay, Simulator
from tests.system.browser import CHROMIUM, Cutter, chromium, read
from tests.system.wire import wait_for

DROPS = 100
WORDS = " ".join(f"mot{number}" for number in range(400))


@pytest.fixture(scope="module")
def browser(require: Callable[[object, str], None]) -> Iterator[Any]:
    require(CHROMIUM.exists(), f"Chromium as {CHROMIUM}")
    with chromium() as browser:
        yield browser


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


def more_than(talker: Simulator, asked: int) -> Callable[[], bool]:
    """Return whether the engine has been asked more often than that."""
    return lambda: talker.summary()["requests"] > asked


def test_a_hundred_cuts_give_one_answer_from_one_request(browser: Any, talker: Simulator, quick_relay: Relay) -> None:
    cuts = tokens_twice = 0
    talker.forget()
    readings = 0
    while cuts < DROPS:
        asked = talker.summary()["requests"]
        with (
            DroppingProxy(quick_relay.port) as proxy,
            Cutter(proxy, more_than(talker, asked), cuts=DROPS, seed=readings),
        ):
            seen = read(browser, proxy, "prompt=hi&max_tokens=1000")
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
    asked = talker.summary()["requests"]
    with DroppingProxy(quick_relay.port) as proxy, Cutter(proxy, more_than(talker, asked), cuts=20, seed=7):
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
