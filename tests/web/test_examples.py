"""The client's examples, as a person meets them: in a real Chromium, from another origin than the relay's, under a strict CSP."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from tests.processes import Relay, Simulator
from tests.system.wire import wait_for
from tests.web.client.site import CLIENT, DIST, WEB, Site
from tests.web.client.view import View

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WORDS = " ".join(f"wort{number}é" for number in range(80))
ITL_MS = 25
IDLE_WITHIN_S = 0.3
BUILD_S = 60
REACT = CLIENT / "examples" / "react"

Require = Callable[[object, str], None]


@pytest.fixture(scope="module")
def client_dist(require: Require) -> Path:
    require((DIST / "index.js").exists(), "the built client: npm run build --workspace client, in web/")
    return DIST


def build(mode: str, out: Path) -> Path:
    """Build the React example. React itself is the one of ``mode``: in development StrictMode mounts all twice."""
    subprocess.run(
        ["npx", "--no-install", "vite", "build", "--mode", mode, "--outDir", str(out), "--emptyOutDir"],
        cwd=REACT,
        env={**os.environ, "NODE_ENV": mode},
        check=True,
        capture_output=True,
        timeout=BUILD_S,
    )
    return out


@pytest.fixture(scope="module", params=["html", "react"])
def site(
    request: pytest.FixtureRequest, require: Require, client_dist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    if request.param == "html":
        folders = {"/dist/": client_dist, "/examples/html/": CLIENT / "examples" / "html"}
    else:
        require(shutil.which("npx") and (WEB / "node_modules" / "vite").exists(), "Node and web/node_modules")
        mode = "development" if "development" in request.param else "production"
        folders = {"/examples/react/": build(mode, tmp_path_factory.mktemp("react") / "out")}
    with Site(folders) as site:
        yield site


@pytest.fixture(scope="module")
def talker() -> Iterator[Simulator]:
    """An engine that says the same to everybody, slowly enough to be stopped."""
    with Simulator("--text", WORDS, "--itl-ms", str(ITL_MS)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def open_relay(talker: Simulator, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay that the example's origin may call."""
    environ = {"HEADRACE_SERVER__CORS_ORIGINS": site.origin}
    with Relay(talker.url, tmp_path_factory.mktemp("relay") / "streams.db", environ=environ) as relay:
        relay.get("/readyz")
        yield relay


@pytest.fixture
def opened(browser: Browser, site: Site, talker: Simulator) -> Iterator[Callable[..., View]]:
    """Open the example with a relay; a problem that the browser tells of fails the test."""
    talker.forget()
    with ExitStack() as stack:

        def open_example(relay: Relay, query: str = "") -> View:
            site.let_reach(relay.origin)
            page = stack.enter_context(browser.new_context()).new_page()
            path = site.pages[0]
            return View.of(page, f"{site.origin}{path}?relay={quote(relay.origin, safe='')}{query}")

        yield open_example


def requests_ended(talker: Simulator) -> bool:
    return all(request["outcome"] for request in talker.requests())


def test_an_answer_flows_and_completes(opened: Callable[..., View], open_relay: Relay) -> None:
    view = opened(open_relay)
    view.ask("hi")
    view.wait_for_text("wort3é")
    assert view.state == "Answering…"
    assert not view.send.is_enabled()
    view.wait_for_state("Complete")
    assert view.text == WORDS
    assert view.send.is_enabled()
    assert not view.stop.is_enabled()
    assert view.problems == []


def test_a_second_question_replaces_the_first_answer(opened: Callable[..., View], open_relay: Relay) -> None:
    view = opened(open_relay)
    for _ in range(2):
        view.ask("hi")
        view.wait_for_text("wort1é")
        view.wait_for_state("Complete")
        assert view.text == WORDS


def test_stop_stops_the_engine(opened: Callable[..., View], open_relay: Relay, talker: Simulator) -> None:
    view = opened(open_relay)
    view.ask("hi")
    view.wait_for_text("wort3é")
    stopped_s = view.press_stop()
    view.wait_for_state("Stopped by you")
    wait_for(lambda: requests_ended(talker), what="the engine's stop")
    (request,) = talker.requests()
    assert request["outcome"] == "client_closed"
    assert request["client_closed_at"] - stopped_s <= IDLE_WITHIN_S
    assert WORDS.startswith(view.text)
    assert view.send.is_enabled()


@pytest.mark.parametrize("site", ["html", "react", "react in development"], indirect=True)
def test_a_reload_in_mid_answer_shows_the_same_answer(
    opened: Callable[..., View], open_relay: Relay, talker: Simulator
) -> None:
    # React's StrictMode mounts twice in development: the unmount between must not stop what is resumed.
    view = opened(open_relay, "&unmount=stop")
    view.ask("hi")
    view.wait_for_text("wort9é")
    view.page.reload()
    view.wait_for_text("wort9é")
    assert view.stop.is_enabled()
    view.wait_for_state("Complete")
    assert view.text == WORDS
    (request,) = talker.requests()
    assert request["outcome"] == "completed"


def test_nothing_is_resumed_after_the_end(opened: Callable[..., View], open_relay: Relay, talker: Simulator) -> None:
    view = opened(open_relay)
    view.ask("hi")
    view.wait_for_state("Complete")
    view.page.reload()
    view.message.wait_for()
    assert view.state == ""
    assert len(talker.requests()) == 1


def test_a_failure_is_shown(opened: Callable[..., View], site: Site, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9/v1"
    with Relay(nobody, tmp_path / "s.db", environ={"HEADRACE_SERVER__CORS_ORIGINS": site.origin}) as relay:
        view = opened(relay)
        view.ask("hi")
        view.wait_for_state(re.compile("^No answer: .+"))
        assert view.text == ""
        assert view.send.is_enabled()


@pytest.mark.parametrize("site", ["react", "react in development"], indirect=True)
@pytest.mark.parametrize("policy", ["keep", "stop"])
def test_a_view_that_goes_away_keeps_or_stops_its_answer(
    opened: Callable[..., View], open_relay: Relay, talker: Simulator, policy: str
) -> None:
    view = opened(open_relay, f"&unmount={policy}")
    view.ask("hi")
    view.wait_for_text("wort3é")
    view.button("Leave").click()
    if policy == "keep":
        view.button("Come back").click()
        view.wait_for_state("Complete")
        assert view.text == WORDS
    wait_for(lambda: requests_ended(talker), what="the engine's end")
    (request,) = talker.requests()
    assert request["outcome"] == ("completed" if policy == "keep" else "client_closed")


# The README


def test_the_use_in_the_readme_runs(browser: Browser, client_dist: Path, talker: Simulator, tmp_path: Path) -> None:
    (script,) = re.findall(r"```js\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    folder = tmp_path / "readme"
    folder.mkdir()
    page_text = "<!doctype html><article></article><button>Stop</button><output></output>"
    (folder / "index.html").write_text(f'{page_text}<script type="module" src="main.js"></script>')
    with Site({"/dist/": client_dist, "/readme/": folder}) as site:
        environ = {"HEADRACE_SERVER__CORS_ORIGINS": site.origin}
        with (
            Relay(talker.url, tmp_path / "s.db", environ=environ) as relay,
            browser.new_context() as context,
        ):
            site.let_reach(relay.origin)
            adapted = script.replace("@headrace/client", "/dist/index.js")
            (folder / "main.js").write_text(adapted.replace("http://127.0.0.1:8080", relay.origin))
            page = context.new_page()
            page.goto(f"{site.origin}/readme/index.html")
            page.locator("output", has_text="completed").wait_for(timeout=20_000)
            assert page.locator("article").text_content() == WORDS
