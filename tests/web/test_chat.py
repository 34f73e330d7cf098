"""The page in a real browser: send, stop, reload, a relay that dies, a line that is cut, tabs, many at once."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.dropping_proxy import DroppingProxy
from tests.processes import Relay, Simulator
from tests.system.wire import wait_for
from tests.web.driver import PHONE, ChatPage, logged_text, outcome, stream_ids

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

STOP_S = 0.3
"""From the click to the engine's end."""

CUT_S = 5.0


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """An engine that takes its time: 20 tokens a second, for a minute."""
    with Simulator("--itl-ms", "50", "--tokens", "1200") as simulator:
        yield simulator


@pytest.fixture
def relay(simulator: Simulator, tmp_path: Path) -> Iterator[Relay]:
    simulator.forget()
    with Relay(simulator.url, tmp_path / "streams.db") as relay:
        yield relay


@pytest.fixture
def brief() -> Iterator[Simulator]:
    """An engine whose answers take three seconds."""
    with Simulator("--itl-ms", "30", "--tokens", "100") as simulator:
        yield simulator


@pytest.fixture
def brief_relay(brief: Simulator, tmp_path: Path) -> Iterator[Relay]:
    with Relay(brief.url, tmp_path / "brief.db") as relay:
        yield relay


def test_an_answer_of_the_embedded_model_arrives_whole(context: BrowserContext) -> None:
    with Relay(None, "memory:") as relay:
        chat = ChatPage(context, relay.origin)
        chat.send("Write one sentence about water wheels.")
        chat.wait_for_status("Complete", within_s=60)
        (stream_id,) = stream_ids(relay)
        assert relay.stream(stream_id)["state"] == "completed"
        assert chat.words() > 3
        assert "TTFT" in (chat.answers.first.text_content() or "")
        assert chat.errors.seen == []


def test_the_embedded_model_stops_and_goes_on_over_a_reload(context: BrowserContext) -> None:
    with Relay(None, "memory:") as relay:
        chat = ChatPage(context, relay.origin)
        chat.press("Settings")
        chat.page.get_by_role("spinbutton", name="Max tokens").fill("120")
        chat.page.keyboard.press("Escape")
        chat.send("Tell a long story about a river.")
        chat.wait_for_words(5)
        chat.press("Stop")
        chat.wait_for_status("Stopped by you")
        (stopped,) = stream_ids(relay)
        assert relay.stream(stopped)["cause"] == "client_stop"
        wait_for(lambda: relay.metric("headrace_streams_active") == 0, what="the end of the engine's work")
        chat.send("Tell another one.")
        chat.wait_for_words(5)
        chat.page.reload()
        wait_for(lambda: "Complete" in chat.status or "limit" in chat.status, within_s=60, what="the end")
        newest = stream_ids(relay)[0]
        assert letters_of(chat.answer()) == letters_of(logged_text(relay, newest))
        assert len(stream_ids(relay)) == 2
        assert chat.errors.seen == []


def letters_of(text: str) -> str:
    """Return what markdown cannot turn into anything else."""
    return re.sub(r"[^A-Za-z]", "", text)


def test_stop_stops_the_engine_and_keeps_the_text(context: BrowserContext, relay: Relay, simulator: Simulator) -> None:
    chat = ChatPage(context, relay.origin)
    chat.send("Talk.")
    chat.wait_for_words(10)
    pressed_s = chat.press_timed("Stop")
    assert outcome(simulator)["client_closed_at"] - pressed_s < STOP_S
    chat.wait_for_status("Stopped by you")
    (stream_id,) = stream_ids(relay)
    assert relay.stream(stream_id)["cause"] == "client_stop"
    assert chat.answer() == logged_text(relay, stream_id)
    assert chat.button("Retry").is_visible()
    assert chat.errors.seen == []


def test_escape_stops_too(context: BrowserContext, relay: Relay, simulator: Simulator) -> None:
    chat = ChatPage(context, relay.origin)
    chat.send("Talk.")
    chat.wait_for_words(3)
    chat.box.press("Escape")
    chat.wait_for_status("Stopped by you")
    assert outcome(simulator)["outcome"] == "client_closed"


def test_a_stop_before_the_first_token_reaches_the_engine(context: BrowserContext, tmp_path: Path) -> None:
    with Simulator("--ttft-ms", "20000") as silent, Relay(silent.url, tmp_path / "streams.db") as relay:
        chat = ChatPage(context, relay.origin)
        chat.send("Talk.")
        chat.wait_for_status("Waiting for the first token")
        wait_for(silent.requests, what="the engine's request")
        pressed_s = chat.press_timed("Stop")
        assert outcome(silent)["client_closed_at"] - pressed_s < STOP_S
        chat.wait_for_status("Stopped by you")


def test_a_reload_in_mid_answer_loses_nothing_and_doubles_nothing(
    context: BrowserContext, brief_relay: Relay, brief: Simulator
) -> None:
    chat = ChatPage(context, brief_relay.origin)
    chat.send("Talk.")
    chat.wait_for_words(15)
    chat.page.reload()
    chat.wait_for_words(15)
    chat.wait_for_status("Complete")
    (stream_id,) = stream_ids(brief_relay)
    assert chat.answer() == logged_text(brief_relay, stream_id)
    assert chat.answers.count() == chat.questions.count() == 1
    assert len(brief.requests()) == 1
    assert chat.errors.seen == []


def test_leaving_for_good_ends_the_engine_when_nobody_comes_back(
    context: BrowserContext, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.forget()
    with Relay(simulator.url, tmp_path / "streams.db", "--linger", "1") as relay:
        chat = ChatPage(context, relay.origin)
        chat.send("Talk.")
        chat.wait_for_words(5)
        chat.page.close()
        assert outcome(simulator)["outcome"] == "client_closed"
        (stream_id,) = stream_ids(relay)
        wait_for(lambda: relay.stream(stream_id)["state"] == "cancelled", what="the end")
        assert relay.stream(stream_id)["cause"] == "client_gone"


def test_a_relay_that_dies_leaves_the_text_says_so_and_answers_a_retry(context: BrowserContext, relay: Relay) -> None:
    chat = ChatPage(context, relay.origin)
    chat.send("Talk.")
    chat.wait_for_words(20)
    relay.kill()
    chat.wait_for_status("resuming")
    before = chat.answer()
    relay.start()
    chat.wait_for_status("went down")
    (stream_id,) = stream_ids(relay)
    assert relay.stream(stream_id)["cause"] == "node_lost"
    assert len(before.split()) >= 20
    assert chat.answer().startswith(before)
    assert chat.answer() == logged_text(relay, stream_id)
    chat.press("Retry")
    chat.wait_for_status("Answering")
    chat.wait_for_words(5)
    chat.press("Stop")
    chat.wait_for_status("Stopped by you")


def test_a_line_cut_for_five_seconds_resumes(context: BrowserContext, brief_relay: Relay, brief: Simulator) -> None:
    with DroppingProxy(brief_relay.port) as proxy:
        chat = ChatPage(context, proxy.origin)
        chat.send("Talk.")
        chat.wait_for_words(10)
        proxy.refuse()
        proxy.cut()
        chat.wait_for_status("resuming")
        time.sleep(CUT_S)  # The cut itself.
        proxy.accept()
        chat.wait_for_status("Complete")
        (stream_id,) = stream_ids(brief_relay)
        assert chat.answer() == logged_text(brief_relay, stream_id)
        assert len(brief.requests()) == 1


def test_two_tabs_show_one_stream(context: BrowserContext, brief_relay: Relay, brief: Simulator) -> None:
    first = ChatPage(context, brief_relay.origin)
    first.send("Talk.")
    first.wait_for_words(10)
    path = first.page.evaluate("location.hash")
    second = ChatPage(context, brief_relay.origin, path=f"/{path}")
    second.wait_for_words(10)
    first.wait_for_status("Complete")
    second.wait_for_status("Complete")
    (stream_id,) = stream_ids(brief_relay)
    assert first.answer() == second.answer() == logged_text(brief_relay, stream_id)
    assert len(brief.requests()) == 1
    second.send("Once more.")
    second.wait_for_status("Complete")
    first.page.reload()
    wait_for(lambda: first.answers.count() == 2, what="the other tab's answer")
    assert first.questions.count() == 2


def test_the_tab_that_was_not_the_first_can_stop(context: BrowserContext, relay: Relay, simulator: Simulator) -> None:
    first = ChatPage(context, relay.origin)
    first.send("Talk.")
    first.wait_for_words(5)
    second = ChatPage(context, relay.origin, path=f"/{first.page.evaluate('location.hash')}")
    second.wait_for_words(5)
    second.press("Stop")
    first.wait_for_status("Stopped")
    second.wait_for_status("Stopped by you")
    assert outcome(simulator)["outcome"] == "client_closed"


def test_eight_conversations_answer_at_once(context: BrowserContext, relay: Relay, simulator: Simulator) -> None:
    chat = ChatPage(context, relay.origin)
    places = []
    for number in range(8):
        if number:
            chat.new_conversation()
        chat.send(f"Conversation {number}.")
        chat.wait_for_words(3)
        places.append(chat.page.evaluate("location.hash"))
    assert len(set(places)) == 8
    assert len(stream_ids(relay, state="in_progress")) == 8
    for number, place in enumerate(places):
        chat.page.evaluate("place => { location.hash = place }", place)
        chat.page.get_by_role("article", name="Question").get_by_text(f"Conversation {number}.").wait_for()
        words = chat.words()
        chat.wait_for_words(words + 5)
    for place in places:
        chat.page.evaluate("place => { location.hash = place }", place)
        chat.wait_for_status("Answering")
        chat.press("Stop")
        chat.wait_for_status("Stopped by you")
    wait_for(lambda: all(found["outcome"] for found in simulator.requests()), what="all ends")
    assert chat.errors.seen == []


def test_a_hidden_tab_has_the_whole_answer_when_it_is_shown_again(
    context: BrowserContext, brief_relay: Relay, brief: Simulator
) -> None:
    chat = ChatPage(context, brief_relay.origin)
    chat.send("Talk.")
    chat.wait_for_words(5)
    chat.page.evaluate(
        """() => {
            Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});
            Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => 'hidden'});
            window.requestAnimationFrame = () => 0;
            document.dispatchEvent(new Event('visibilitychange'));
        }"""
    )
    (stream_id,) = stream_ids(brief_relay)
    wait_for(lambda: brief_relay.stream(stream_id)["state"] == "completed", what="the end at the relay")
    chat.wait_for_status("Complete")
    wait_for(lambda: chat.answer() == logged_text(brief_relay, stream_id), what="the whole answer")


def test_an_engine_that_dies_in_mid_answer_is_told_as_a_cut(context: BrowserContext, tmp_path: Path) -> None:
    with Simulator("--itl-ms", "30") as engine, Relay(engine.url, tmp_path / "streams.db") as relay:
        chat = ChatPage(context, relay.origin)
        chat.send("Talk.")
        chat.wait_for_words(10)
        engine.kill()
        chat.wait_for_status("kept")
        before = chat.words()
        assert before >= 10
        assert chat.button("Retry").is_visible()
        chat.press("Retry")
        chat.wait_for_status("No answer")
        engine.start()
        chat.press("Retry")
        chat.wait_for_status("Complete")


def test_an_engine_that_falls_silent_is_told_with_the_time(context: BrowserContext, tmp_path: Path) -> None:
    with (
        Simulator("--itl-ms", "30", "--tokens", "5000") as engine,
        Relay(engine.url, tmp_path / "streams.db", "--idle-timeout", "1") as relay,
    ):
        chat = ChatPage(context, relay.origin)
        chat.send("Talk.")
        chat.wait_for_words(5)
        os.kill(engine.pid, signal.SIGSTOP)
        try:
            chat.wait_for_status("fell silent for 1 s")
        finally:
            os.kill(engine.pid, signal.SIGCONT)


def test_an_unreachable_relay_is_told_and_found_again(context: BrowserContext, relay: Relay) -> None:
    chat = ChatPage(context, relay.origin)
    chat.box.wait_for()
    relay.terminate()
    chat.send("Talk.")
    chat.page.get_by_text("does not answer").first.wait_for()
    relay.start()
    chat.button("Retry").first.click()
    chat.wait_for_status("Answering", within_s=40)
    chat.press("Stop")
    chat.wait_for_status("Stopped by you")


def test_the_page_works_at_a_phones_width(context: BrowserContext, brief_relay: Relay, brief: Simulator) -> None:
    chat = ChatPage(context, brief_relay.origin)
    chat.page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    chat.send("Talk.")
    chat.wait_for_status("Complete")
    assert chat.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_enter_during_composition_does_not_send(context: BrowserContext, relay: Relay) -> None:
    chat = ChatPage(context, relay.origin)
    chat.box.fill("にほん")
    chat.box.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "keyCode": 229})
    chat.box.press("Shift+Enter")
    assert chat.questions.count() == 0
    assert chat.box.input_value().startswith("にほん")
    chat.box.press("Enter")
    chat.wait_for_words(1)
    chat.press("Stop")
