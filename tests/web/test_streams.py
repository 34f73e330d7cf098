"""The Streams view in a real browser: the list, a stream's timeline, following it, stopping it, erasing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.processes import Relay, Simulator
from tests.system.wire import chat, wait_for
from tests.web.driver import ChatPage, logged_text, outcome, stream_ids

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator("--itl-ms", "20", "--tokens", "2000") as simulator:
        yield simulator


@pytest.fixture
def relay(simulator: Simulator, tmp_path: Path) -> Iterator[Relay]:
    simulator.forget()
    with Relay(simulator.url, tmp_path / "streams.db") as relay:
        yield relay


def test_the_list_shows_streams_as_they_begin_and_end(context: BrowserContext, relay: Relay) -> None:
    view = ChatPage(context, relay.origin, path="/#/streams")
    view.page.get_by_text("No streams").first.wait_for()
    with chat(relay.port, simulate={"tokens": 400, "itl_ms": 10}) as exchange:
        exchange.read_events(2)
        view.page.get_by_text("Running", exact=True).first.wait_for()
        exchange.read()
    view.page.get_by_text("Complete").first.wait_for()
    assert view.errors.seen == []


def test_a_stream_is_followed_live_and_can_be_stopped(
    context: BrowserContext, relay: Relay, simulator: Simulator
) -> None:
    with chat(relay.port, headers={"Headrace-Stream-Id": "watched"}) as exchange:
        exchange.read_events(2)
        view = ChatPage(context, relay.origin, path="/#/streams/watched")
        view.page.get_by_text("Flushes").first.wait_for()
        wait_for(lambda: relay.stream("watched")["consumers"] == 2, what="the page as a second consumer")
        pressed_s = view.press_timed("Stop")
        assert outcome(simulator)["client_closed_at"] - pressed_s < 0.5
        view.page.get_by_text("Stopped").first.wait_for()
        assert view.errors.seen == []


def test_looking_at_a_stream_does_not_stop_it_nor_does_leaving(
    context: BrowserContext, relay: Relay, simulator: Simulator
) -> None:
    with chat(relay.port, headers={"Headrace-Stream-Id": "watched"}) as exchange:
        exchange.read_events(2)
        view = ChatPage(context, relay.origin, path="/#/streams/watched")
        wait_for(lambda: relay.stream("watched")["consumers"] == 2, what="the page as a second consumer")
        view.page.evaluate("location.hash = '#/streams'")
        wait_for(lambda: relay.stream("watched")["consumers"] == 1, what="the page's leaving")
        assert relay.stream("watched")["state"] == "in_progress"
        exchange.read_events(5)


def test_an_answer_of_the_chat_can_be_looked_at_while_it_goes_on(context: BrowserContext, relay: Relay) -> None:
    chat = ChatPage(context, relay.origin)
    chat.send("Talk.")
    chat.wait_for_words(5)
    place = chat.page.evaluate("location.hash")
    (stream_id,) = stream_ids(relay)
    chat.page.evaluate("id => { location.hash = `#/streams/${id}` }", stream_id)
    wait_for(lambda: relay.stream(stream_id)["consumers"] == 2, what="the view as a second consumer")
    chat.page.evaluate("place => { location.hash = place }", place)
    wait_for(lambda: relay.stream(stream_id)["consumers"] == 1, what="the view's leaving")
    chat.wait_for_words(chat.words() + 5)
    chat.press("Stop")
    chat.wait_for_status("Stopped by you")
    assert chat.answer() == logged_text(relay, stream_id)
    assert chat.errors.seen == []


def test_an_unknown_stream_is_told(context: BrowserContext, relay: Relay) -> None:
    view = ChatPage(context, relay.origin, path="/#/streams/nobody")
    view.page.get_by_text("no such stream").first.wait_for()


def test_erasing_asks_first_and_then_removes_it(context: BrowserContext, relay: Relay) -> None:
    with chat(relay.port, headers={"Headrace-Stream-Id": "old"}, simulate={"tokens": 3}) as exchange:
        exchange.read()
    view = ChatPage(context, relay.origin, path="/#/streams/old")
    view.press("Erase")
    assert stream_ids(relay) == ["old"]
    view.page.get_by_role("button", name="Erase").last.click()
    wait_for(lambda: stream_ids(relay) == [], what="the erasure")
