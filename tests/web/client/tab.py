"""A bare page with the browser client in it, driven from outside by ``driver.js``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.web.client.clock import monotonic_of
from tests.web.client.site import DIST, Site

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

FOLDER = Path(__file__).parent
TIMEOUT_MS = 30_000
"""Longest wait for anything in a page."""

COUNT_REQUESTS = """
    window.requests = 0;
    for (const name of ["fetch", "WebSocket", "EventSource"])
        window[name] = new Proxy(window[name], {
            apply(native, _, all) { window.requests += 1; return native(...all); },
            construct(native, all) { window.requests += 1; return new native(...all); },
        });
"""
"""Counts requests and connections of the page itself; those of a Worker are not seen by it. Runs before its scripts."""


def bare_site() -> Site:
    """Return a server of the bare page: the client's ``dist`` and the driver."""
    return Site({"/dist/": DIST, "/test/": FOLDER}, scripts=("/test/driver.js",))


@dataclass(frozen=True)
class Tab:
    """One page.

    Args:
        page: Of a browser.
        relay: Origin of the server that its clients talk to unless they say otherwise.
    """

    page: Page
    relay: str

    def open(self, name: str = "client", **options: Any) -> None:
        """Make a client; options as in ``ClientOptions``."""
        self._call("open", name, {"baseURL": self.relay, **options})

    def generate(
        self,
        name: str = "answer",
        *,
        client: str = "client",
        endpoint: str = "/api/v1/chat/stream",
        simulate: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Ask; options as in ``GenerateOptions``."""
        payload: dict[str, Any] = {"model": "sim", "messages": [{"role": "user", "content": "one two"}]}
        if simulate is not None:
            payload |= {"simulate": simulate, "max_tokens": simulate.get("tokens") or 2048}
        what = {"client": client, "endpoint": endpoint, "payload": payload, "options": options}
        self._call("generate", name, what)

    def stream_id(self, name: str = "answer") -> str | None:
        """Return the id of a generation's stream; None while it is not known, and for servers that have none."""
        stream_id: str | None = self.page.evaluate("(name) => drive.generations.get(name).streamId", name)
        return stream_id

    def attach(self, stream_id: str, name: str = "answer", *, client: str = "client", **options: Any) -> None:
        """Follow a stream that exists."""
        self._call("attach", name, {"client": client, "streamId": stream_id, "options": options})

    def seen(self, name: str = "answer", chars: int = 100_000) -> dict[str, Any]:
        """Return what the caller of a generation was told so far."""
        seen: dict[str, Any] = self._call("seen", name, chars)
        return seen

    def wait_for(self, condition: str, name: str = "answer") -> dict[str, Any]:
        """Wait until a JavaScript expression over ``seen`` is true, and return what was seen."""
        function = f"(name) => {{ const seen = drive.observed.get(name); return {condition}; }}"
        try:
            self.page.wait_for_function(function, arg=name, polling=20, timeout=TIMEOUT_MS)
        except Exception as error:
            raise AssertionError(f"never: {condition}; {self.seen(name, chars=200)}") from error
        return self.seen(name)

    def wait_for_end(self, name: str = "answer") -> dict[str, Any]:
        """Wait until a generation told its end; checks that it did so once."""
        seen = self.wait_for("seen.ends.complete + seen.ends.error > 0", name)
        assert seen["ends"]["complete"] + seen["ends"]["error"] == 1, seen["ends"]
        return seen

    def stop(self, name: str = "answer") -> float:
        """Press Stop; returns when, by CLOCK_MONOTONIC."""
        script = "(name) => { const at = Date.now(); void drive.generations.get(name).cancel(); return at; }"
        return monotonic_of(self.page.evaluate(script, name))

    def pause(self, name: str = "answer") -> None:
        self.page.evaluate("(name) => drive.generations.get(name).pause()", name)

    def resume(self, name: str = "answer") -> None:
        self.page.evaluate("(name) => drive.generations.get(name).resume()", name)

    def sha256(self, name: str = "answer") -> str:
        digest: str = self._call("sha256", name)
        return digest

    def _call(self, method: str, *arguments: Any) -> Any:
        return self.page.evaluate("([method, all]) => drive[method](...all)", [method, list(arguments)])


def open_tab(context: BrowserContext, site: Site, relay: str, *, before: str = "") -> Tab:
    """Open the bare page.

    Args:
        context: Of a browser.
        site: Of ``bare_site()``.
        relay: Origin the page may reach.
        before: Script that runs before the page's own.
    """
    site.let_reach(relay)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    if before:
        page.add_init_script(before)
    page.goto(site.origin)
    page.wait_for_function("window.drive !== undefined")
    return Tab(page, relay)
