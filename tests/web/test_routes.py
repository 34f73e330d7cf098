"""Answers that several engines gave, or none anew, in a real browser: one text in the chat, and how it came about in Streams."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from tests.processes import Relay, Simulator
from tests.system.wire import chat
from tests.web.driver import PHONE, ChatPage, stream_ids
from tests.web.test_accessibility import THEMES, check

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, ViewportSize

TEXT = " ".join(f"word{number}" for number in range(60))
CONTINUES = ("--script", json.dumps({"continues": "assistant"}), "--itl-ms", "4", "--text", TEXT)

ROUTE = """
[engine]
continuation = "assistant"
[engines.backup]
upstream = "{backup}"
continuation = "assistant"
[models.sim]
cache = "owner"
[models.sim.engines.default]
order = 1
[models.sim.engines.backup]
model = "large"
order = 2
"""


@pytest.fixture(scope="module")
def backup() -> Iterator[Simulator]:
    with Simulator("--model", "large", *CONTINUES) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(*CONTINUES) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def relay(simulator: Simulator, backup: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    folder = tmp_path_factory.mktemp("relay")
    config = folder / "headrace.toml"
    config.write_text(ROUTE.replace("{backup}", backup.url))
    with Relay(simulator.url, folder / "streams.db", "--config", str(config)) as relay:
        yield relay


def test_an_answer_that_broke_off_is_one_text_and_its_stream_tells_of_the_seam(
    context: BrowserContext, relay: Relay, simulator: Simulator
) -> None:
    play(simulator, {"fault": {"kind": "status", "code": 503}}, {"fault": {"kind": "fin", "at": 20}})
    view = ChatPage(context, relay.origin)
    view.send("Go on.")
    view.wait_for_status("Complete")
    assert view.answer() == TEXT
    answer = view.answers.last
    answer.get_by_text("Details", exact=True).click()
    answer.get_by_text("3; it broke off once, and went on").wait_for()
    answer.get_by_text("backup, as large").wait_for()
    stream_id = stream_ids(relay)[0]
    (seam,) = relay.stream(stream_id)["seams"]
    answer.get_by_text("View stream").click()
    view.page.locator(".timeline-seams").wait_for()
    assert f"Offset {seam['offset']}, at" in told(view.page.locator(".timeline-seams"))
    assert "the engine broke off; backup (large) goes on" in told(view.page.locator(".timeline-seams"))
    assert view.page.locator('.timeline-picture [data-mark="seam"]').count() == 1
    assert view.page.locator(".timeline-pause").count() == 1
    rows = view.page.locator(".streams-attempts tbody tr")
    assert [told(rows.nth(row).locator('[data-label="Why"]')) for row in range(rows.count())] == [
        "First try",
        "Tried again",
        "To go on where it broke off",
    ]
    assert told(view.page.locator(".streams-text")) == TEXT
    assert view.errors.seen == []


def test_an_answer_from_the_cache_says_so_and_leads_to_the_stream_it_is_of(
    context: BrowserContext, relay: Relay, simulator: Simulator
) -> None:
    play(simulator)
    for stream_id in ("made", "kept"):
        with chat(relay.port, headers={"Headrace-Stream-Id": stream_id}, temperature=0) as exchange:
            exchange.read()
    view = ChatPage(context, relay.origin, path="/#/streams/kept")
    view.page.get_by_text("From the cache").wait_for()
    view.page.get_by_text("nothing was generated for it").wait_for()
    view.page.get_by_text("times are counted from its first flush").wait_for()
    view.page.get_by_role("link", name="made", exact=True).click()
    view.page.get_by_role("heading", name="Stream made").wait_for()
    assert view.page.get_by_text("From the cache").count() == 0
    assert view.errors.seen == []


@pytest.mark.parametrize("theme", THEMES)
def test_attempts_and_engines_are_for_everybody_also_on_a_phone(
    browser: Browser, relay: Relay, simulator: Simulator, web: Path, theme: Literal["light", "dark"]
) -> None:
    play(simulator, {"fault": {"kind": "status", "code": 503}}, {"fault": {"kind": "fin", "at": 20}})
    with chat(relay.port, headers={"Headrace-Stream-Id": f"rescued-{theme}"}) as exchange:
        exchange.read()
    size: ViewportSize = {"width": PHONE["width"], "height": PHONE["height"]}
    with browser.new_context(color_scheme=theme, viewport=size, bypass_csp=True, reduced_motion="reduce") as context:
        view = ChatPage(context, relay.origin, path="/#/streams")
        view.page.add_script_tag(content=(web / "node_modules" / "axe-core" / "axe.min.js").read_text())
        view.page.get_by_text("Engines:").click()
        view.page.get_by_text("TTFT p50").first.wait_for()
        check(view, "the engines")
        view.page.evaluate("id => { location.hash = `#/streams/${id}` }", f"rescued-{theme}")
        view.page.locator(".timeline-seams").wait_for()
        check(view, "a stream that was rescued")
        assert view.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def play(simulator: Simulator, *scripts: dict[str, Any]) -> None:
    """Let these scripts be those of its next requests."""
    body = json.dumps({"scripts": scripts}).encode()
    request = urllib.request.Request(f"{simulator.origin}/simulator/scripts", data=body, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def told(part: Locator) -> str:
    return " ".join((part.text_content() or "").split())
