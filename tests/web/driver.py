"""Drives the relay's page as a person does: by what it shows and by the names that assistive tools see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.processes import Relay, Simulator
from tests.system.wire import read_log, wait_for
from tests.web.client.clock import press

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

PATIENCE_MS = 20_000
PHONE = {"width": 390, "height": 844}


class PageErrors:
    """What a page must not do: throw, log errors, break its own security policy, ask other hosts.

    Args:
        page: Whose.
        origin: The one host it may ask.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.seen: list[str] = []
        self._hosts = (origin, origin.replace("http", "ws", 1))
        page.on("pageerror", lambda error: self.seen.append(f"thrown: {error}"))
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("request", lambda request: self._request(request.url))
        page.on("websocket", lambda socket: self._request(socket.url))

    def _console(self, kind: str, text: str) -> None:
        # The browser itself writes down each request that failed: a cut line is no fault of the page.
        if kind == "error" and not text.startswith(("Failed to load resource", "WebSocket connection to")):
            self.seen.append(f"console: {text}")

    def _request(self, url: str) -> None:
        if not url.startswith((*self._hosts, "blob:", "data:")):
            self.seen.append(f"foreign request: {url}")


class ChatPage:
    """The page in one tab.

    Args:
        context: Of the browser; tabs of one context share what they keep.
        origin: The relay's, or a proxy's before it.
    """

    def __init__(self, context: BrowserContext, origin: str, *, path: str = "/") -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.errors = PageErrors(self.page, origin)
        self.page.goto(origin + path)

    # --- what a person does

    def send(self, text: str) -> None:
        """Ask, and wait until the question stands there."""
        before = self.questions.count()
        self.box.fill(text)
        self.box.press("Enter")
        wait_for(lambda: self.questions.count() > before, what="the question")

    def press(self, name: str) -> None:
        self.button(name).click()

    def press_timed(self, name: str) -> float:
        """Press a button; returns when the page was told, in seconds of CLOCK_MONOTONIC."""
        return press(self.button(name))

    def new_conversation(self) -> None:
        self.button("New conversation").first.click()
        wait_for(lambda: self.questions.count() == 0, what="an empty conversation")

    # --- what a person sees

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def box(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message")

    @property
    def questions(self) -> Locator:
        return self.page.get_by_role("article", name="Question")

    @property
    def answers(self) -> Locator:
        return self.page.get_by_role("article", name="Answer")

    @property
    def status(self) -> str:
        """The state's words, as they are announced."""
        return (self.page.get_by_role("status").first.text_content() or "").strip()

    def answer(self, number: int = -1) -> str:
        """Return the text of an answer, without what stands around it, words parted by single spaces."""
        body = self.answers.nth(number).locator(".answer-body").first
        return " ".join((body.text_content() or "").split()) if body.count() else ""

    def words(self, number: int = -1) -> int:
        return len(self.answer(number).split())

    # --- waiting

    def wait_for_words(self, count: int, *, number: int = -1) -> None:
        wait_for(lambda: self.words(number) >= count, within_s=PATIENCE_MS / 1000, what=f"{count} words")

    def wait_for_status(self, words: str, *, within_s: float = PATIENCE_MS / 1000) -> None:
        try:
            wait_for(lambda: words in self.status, within_s=within_s, what=f"the state {words!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.status!r}") from None


def stream_ids(relay: Relay, *, state: str | None = None) -> list[str]:
    """Return the ids of the relay's streams, newest first."""
    query = "" if state is None else f"&state={state}"
    return [view["id"] for view in relay.get_json(f"/v1/streams?limit=100{query}")["data"]]


def logged_text(relay: Relay, stream_id: str) -> str:
    """Return what the log of a stream says, words parted by single spaces as ``ChatPage.answer`` has them."""
    return " ".join(read_log(relay.port, stream_id).text.split())


def outcome(simulator: Simulator, number: int = -1) -> dict[str, Any]:
    """Return what the engine says of a request, once that is over."""
    wait_for(lambda: simulator.requests()[number]["outcome"], what="the end of the engine's request")
    found: dict[str, Any] = simulator.requests()[number]
    return found
