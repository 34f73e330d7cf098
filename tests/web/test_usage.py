"""Keys and money in a real browser: asking for a key, what an answer cost, usage, and an admin's keys."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.processes import Relay, Simulator
from tests.system.wire import Answer, ask, chat, wait_for
from tests.web.driver import PHONE, ChatPage
from tests.web.test_accessibility import THEMES, check

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, ViewportSize

PRICE = """
[models.sim.price]
input = 1
output = 2
"""
"""Dollars a million tokens: an answer of ten tokens costs some hundred-thousandths."""

WIDER = """() => [...document.querySelectorAll("main, main *, dialog, dialog *")]
    .filter((part) => part.getBoundingClientRect().right > innerWidth + 1 && !part.closest(".visually-hidden, thead"))
    .map((part) => part.outerHTML.slice(0, 100))"""
"""What reaches beyond the screen's right edge."""

MONEY = r"\$0\.0000\d+"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator("--itl-ms", "2", "--tokens", "10") as simulator:
        yield simulator


@pytest.fixture
def relay(simulator: Simulator, tmp_path: Path) -> Iterator[Relay]:
    config = tmp_path / "headrace.toml"
    config.write_text(PRICE)
    with Relay(simulator.url, tmp_path / "streams.db", "--config", str(config)) as relay:
        yield relay


@pytest.fixture(params=[(theme, width) for theme in THEMES for width in (PHONE["width"], 1280)], ids=str)
def screen(request: pytest.FixtureRequest, browser: Browser) -> Iterator[BrowserContext]:
    """A phone or a desk, by day or by night, that lets axe in."""
    theme, width = request.param
    size: ViewportSize = {"width": width, "height": PHONE["height"]}
    with browser.new_context(color_scheme=theme, viewport=size, bypass_csp=True, reduced_motion="reduce") as context:
        yield context


@pytest.fixture
def admin(relay: Relay) -> str:
    """The first key: from now on the relay asks everybody for one."""
    key = make_key(relay, "--owner", "ops", "--admin", "--name", "first")
    # A relay that runs notices within a second.
    wait_for(lambda: me(relay, None).status == 401, what="the relay to ask for keys")
    return key


def test_the_page_asks_for_a_key_once_and_says_what_an_answer_cost(
    context: BrowserContext, relay: Relay, admin: str
) -> None:
    view = ChatPage(context, relay.origin)
    enter_key(view, "hr_wrong")
    view.page.get_by_text("The key in use was refused.").wait_for()
    enter_key(view, admin)
    view.send("What do you cost?")
    view.wait_for_status("Complete")
    figures = view.answers.last.locator(".figures")
    figures.get_by_text(re.compile(MONEY)).wait_for()
    view.answers.last.get_by_text("Details", exact=True).click()
    view.answers.last.get_by_text("10 tokens", exact=True).first.wait_for()
    view.page.reload()
    figures.get_by_text(re.compile(MONEY)).wait_for()
    assert view.page.get_by_role("dialog").count() == 0
    view.press("Settings")
    view.page.get_by_text("You are ops (admin), by the key “first”.").wait_for()
    view.press("Forget this key")
    view.page.get_by_role("heading", name="This relay asks for an API key").wait_for()
    assert admin not in view.page.content()
    assert view.errors.seen == []


def test_who_has_no_key_at_hand_is_not_asked_again_and_again(context: BrowserContext, relay: Relay, admin: str) -> None:
    view = ChatPage(context, relay.origin, path="/#/streams")
    view.press("Not now")
    # The list asks the relay every few seconds.
    with view.page.expect_response(lambda response: "/v1/streams" in response.url and response.status == 401):
        view.press("Try again")
    view.page.get_by_text("The relay wants an API key").wait_for()
    assert view.page.get_by_role("dialog").count() == 0
    view.press("Settings")
    view.press("Enter a key")
    enter_key(view, admin)
    view.page.get_by_text("No streams yet").wait_for()


def test_a_member_sees_what_its_owner_used_and_saves_it(
    context: BrowserContext, relay: Relay, admin: str, tmp_path: Path
) -> None:
    member = make_key(relay, "--owner", "search", "--day-usd", "10")
    for key in (member, member, admin):
        use(relay, key)
    view = ChatPage(context, relay.origin, path="/#/usage")
    enter_key(view, member)
    row = view.page.get_by_role("table", name="Usage").get_by_role("row", name="sim")
    row.wait_for()
    assert cells(row)[:1] == ["2"]
    view.page.get_by_text(re.compile(rf"{MONEY} of \$10 today")).wait_for()
    assert view.page.get_by_role("link", name="Keys").count() == 0
    assert view.page.get_by_role("combobox", name="Group by").get_by_role("option", name="Owner").count() == 0
    with view.page.expect_download() as saving:
        view.press("Download CSV")
    assert saving.value.suggested_filename.startswith("usage-20")
    lines = Path(saving.value.path()).read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["model", "requests"], ["sim", "2"]]
    view.page.evaluate("location.hash = '#/keys'")
    view.page.get_by_text("Keys are managed by admins").wait_for()
    assert view.errors.seen == []


def test_an_admin_sees_all_owners_by_day_and_by_tag(context: BrowserContext, relay: Relay, admin: str) -> None:
    use(relay, make_key(relay, "--owner", "search", "--tag", "team=web"))
    use(relay, admin)
    view = ChatPage(context, relay.origin, path="/#/usage")
    enter_key(view, admin)
    table = view.page.get_by_role("table", name="Usage")
    grouping = view.page.get_by_role("combobox", name="Group by")
    table.get_by_role("row", name="sim").wait_for()
    grouping.select_option("Owner")
    for owner in ("ops", "search"):
        table.get_by_role("row", name=owner).wait_for()
    grouping.select_option("Tag")
    view.page.get_by_role("textbox", name="Tag").fill("team")
    view.page.keyboard.press("Enter")
    table.get_by_role("row", name="web").wait_for()
    table.get_by_role("row", name="without this tag").wait_for()
    grouping.select_option("Day")
    table.get_by_role("columnheader", name="Day").wait_for()
    assert table.locator("tbody tr").count() == 1
    assert view.errors.seen == []


def test_an_admin_makes_rotates_and_revokes_a_key(context: BrowserContext, relay: Relay, admin: str) -> None:
    view = ChatPage(context, relay.origin, path="/#/keys")
    enter_key(view, admin)
    made = make_key_in_page(view)
    assert me(relay, made).json["owner"] == "search"
    row = view.page.get_by_role("row", name="laptop")
    row.get_by_text("$0 of $2.50 today").wait_for()
    assert made not in view.page.content()

    view.press("Rotate laptop")
    view.page.get_by_label("The old one stays good for").select_option("0")
    view.press("Rotate")
    rotated = shown_key(view)
    assert [me(relay, key).status for key in (made, rotated)] == [401, 200]

    view.press("Revoke laptop")
    assert me(relay, rotated).status == 200
    view.press("Revoke")
    row.wait_for(state="detached")
    assert me(relay, rotated).status == 401
    assert view.errors.seen == []


def test_an_admin_who_rotates_the_key_in_use_goes_on_with_the_new_one(
    context: BrowserContext, relay: Relay, admin: str
) -> None:
    view = ChatPage(context, relay.origin, path="/#/keys")
    enter_key(view, admin)
    view.press("Rotate first")
    view.page.get_by_label("The old one stays good for").select_option("0")
    view.press("Rotate")
    view.page.get_by_text("This page uses it already.").wait_for()
    rotated = shown_key(view)
    assert [me(relay, key).status for key in (admin, rotated)] == [401, 200]
    view.page.reload()
    view.page.get_by_role("row", name="first").wait_for()
    assert view.page.get_by_role("dialog").count() == 0


def test_what_the_relay_finds_wrong_with_a_key_stands_at_its_field(
    context: BrowserContext, relay: Relay, admin: str
) -> None:
    view = ChatPage(context, relay.origin, path="/#/keys")
    enter_key(view, admin)
    view.press("New key")
    owner = view.page.get_by_role("textbox", name="Owner")
    owner.fill("no spaces, please")
    view.press("Make the key")
    wait_for(lambda: owner.get_attribute("aria-invalid") == "true", what="the error at the field")
    assert view.page.locator("#key-owner-hint").text_content() != ""
    assert owner.evaluate("box => box === document.activeElement")


def test_without_any_key_the_page_says_how_to_make_the_first(context: BrowserContext, relay: Relay) -> None:
    view = ChatPage(context, relay.origin, path="/#/keys")
    view.page.get_by_text("headrace keys create --owner NAME --admin --store URL").wait_for()
    assert view.page.get_by_role("link", name="Keys").count() == 0
    assert view.errors.seen == []


def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(
    screen: BrowserContext, relay: Relay, admin: str, web: Path
) -> None:
    use(relay, admin)
    view = ChatPage(screen, relay.origin, path="/#/usage")
    view.page.add_script_tag(content=(web / "node_modules" / "axe-core" / "axe.min.js").read_text())
    enter_key(view, admin)
    view.page.get_by_role("table", name="Usage").wait_for()
    look(view, "usage")
    view.page.evaluate("location.hash = '#/keys'")
    view.page.get_by_role("table", name="Keys").wait_for()
    look(view, "keys")
    view.press("New key")
    look(view, "the form of a key")
    make_key_in_page(view, is_open=True)
    view.page.get_by_role("row", name="laptop").wait_for()
    view.press("Revoke laptop")
    look(view, "a question")
    assert view.errors.seen == []


def look(view: ChatPage, what: str) -> None:
    check(view, what)
    wider = view.page.evaluate(WIDER)
    assert wider == [], f"{what} is wider than the screen"


def make_key(relay: Relay, *options: str) -> str:
    """Make a key as an operator does, beside the relay that runs."""
    command = [sys.executable, "-m", "headrace", "keys", "create", *options, "--store", f"sqlite:///{relay.store}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    key = done.stdout.splitlines()[-1]
    assert key.startswith("hr_")
    return key


def make_key_in_page(view: ChatPage, *, is_open: bool = False) -> str:
    """Make the member's key "laptop" in the page; returns it."""
    if not is_open:
        view.press("New key")
    view.page.get_by_role("textbox", name="Owner").fill("search")
    view.page.get_by_role("textbox", name="Name").fill("laptop")
    view.page.get_by_role("textbox", name="A day, in US$").fill("2.50")
    view.press("Make the key")
    return shown_key(view)


def shown_key(view: ChatPage) -> str:
    """Return the key that is shown this once, and close what shows it."""
    key = view.page.get_by_role("textbox", name="Key", exact=True).input_value()
    assert key.startswith("hr_")
    view.press("Done")
    return key


def enter_key(view: ChatPage, key: str) -> None:
    """Give the page a key when it asks for one."""
    view.page.get_by_label("API key", exact=True).fill(key)
    view.press("Use this key")


def use(relay: Relay, key: str) -> None:
    """Let a program ask, and take its whole answer. A key that was just made is known within a second."""
    wait_for(lambda: me(relay, key).status == 200, what="the relay to know the key")
    with chat(relay.port, headers={"authorization": f"Bearer {key}"}) as exchange:
        exchange.read()


def me(relay: Relay, key: str | None) -> Answer:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return ask(relay.port, "GET", "/v1/me", headers=headers)


def cells(row: Locator) -> list[str]:
    return row.get_by_role("cell").all_text_contents()
