"""An example as a person uses it: by its accessible names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tests.web.client.clock import press

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TIMEOUT_MS = 20_000


@dataclass(frozen=True)
class View:
    """A page with a chat box."""

    page: Page
    problems: list[str] = field(default_factory=list)
    """What the browser's console told of: exceptions, and what the page's policy forbids."""

    @classmethod
    def of(cls, page: Page, url: str) -> Self:
        """Open a page at ``url``."""
        view = cls(page)
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: view.problems.append(str(error)))
        page.on("console", lambda message: view.problems.append(message.text) if message.type == "error" else None)
        page.goto(url)
        return view

    @property
    def message(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message")

    @property
    def send(self) -> Locator:
        return self.button("Send")

    @property
    def stop(self) -> Locator:
        return self.button("Stop")

    @property
    def state(self) -> str:
        return self.page.get_by_role("status").inner_text().strip()

    @property
    def text(self) -> str:
        """The whole answer as it stands there."""
        return self.page.get_by_role("article", name="Answer").text_content() or ""

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def ask(self, question: str) -> None:
        self.message.fill(question)
        self.send.click()

    def press_stop(self) -> float:
        """Press Stop; returns when the page was told of it, by CLOCK_MONOTONIC."""
        return press(self.stop)

    def wait_for_text(self, text: str) -> None:
        self.page.get_by_role("article", name="Answer").filter(has_text=text).wait_for()

    def wait_for_state(self, words: str | re.Pattern[str]) -> None:
        """Wait until the state is exactly these words, or matches."""
        exact = re.compile(f"^{re.escape(words)}$") if isinstance(words, str) else words
        self.page.get_by_role("status").filter(has_text=exact).wait_for()
