"""A real browser, and an EventSource in it whose line is cut again and again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.dropping_proxy import DroppingProxy

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

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


@contextmanager
def chromium(flags: Sequence[str] = FLAGS) -> Iterator[Browser]:
    """Run a browser until the block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags])
        yield browser
        browser.close()


def read(browser: Browser, proxy: DroppingProxy, query: str) -> dict[str, Any]:
    """Let an EventSource of a new page read an answer to its end, and return what it saw."""
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

    def __init__(self, proxy: DroppingProxy, has_begun: Callable[[], bool], *, cuts: int, seed: int) -> None:
        self._proxy = proxy
        self._has_begun = has_begun
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
        while not self._has_begun() and not self._over.wait(0.02):
            pass
        self._over.wait(0.05)
        begun = self._proxy.cuts
        while self._proxy.cuts - begun < self._cuts and not self._over.wait(self._chance.uniform(0.005, 0.06)):
            self._proxy.cut(reset=self._chance.random() < 0.5)
