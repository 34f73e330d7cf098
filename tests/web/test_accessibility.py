"""axe finds nothing serious on any view of the page, in both themes and at a phone's width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from tests.processes import Relay, Simulator
from tests.web.driver import PHONE, ChatPage, stream_ids

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ANSWER = Path(__file__).parent / "answer.md"
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
GRAVE = {"serious", "critical"}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay before an engine that answers with markdown of every kind."""
    folder = tmp_path_factory.mktemp("relay")
    with (
        Simulator("--itl-ms", "2", "--text", ANSWER.read_text()) as simulator,
        Relay(simulator.url, folder / "streams.db") as relay,
    ):
        yield relay


@pytest.mark.parametrize("width", ["desk", "phone"])
@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_serious(
    browser: Browser, relay: Relay, web: Path, theme: Literal["light", "dark"], width: str
) -> None:
    axe = (web / "node_modules" / "axe-core" / "axe.min.js").read_text()
    size = PHONE if width == "phone" else {"width": 1280, "height": 800}
    with browser.new_context(
        color_scheme=theme,
        viewport={"width": size["width"], "height": size["height"]},
        bypass_csp=True,
        reduced_motion="reduce",
    ) as context:
        chat = ChatPage(context, relay.origin)
        chat.page.add_script_tag(content=axe)
        check(chat, "first visit")
        chat.send("Show me everything.")
        chat.wait_for_status("Complete")
        check(chat, "an answer")
        chat.press("Settings")
        chat.page.get_by_role("textbox", name="System prompt").wait_for()
        check(chat, "the drawer")
        chat.page.keyboard.press("Escape")
        chat.page.evaluate("location.hash = '#/streams'")
        chat.page.get_by_text("Complete").first.wait_for()
        check(chat, "the streams")
        newest = stream_ids(relay)[0]
        chat.page.evaluate("id => { location.hash = `#/streams/${id}` }", newest)
        chat.page.get_by_text("Flushes").first.wait_for()
        check(chat, "the timeline")
        assert chat.errors.seen == []


def check(chat: ChatPage, view: str) -> None:
    """Let axe look at what is shown now."""
    found: list[dict[str, Any]] = chat.page.evaluate("async () => (await axe.run()).violations")
    grave = [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
        for violation in found
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]
    assert grave == [], f"on {view}"
