"""The markdown renderer in a real Chromium, under the relay's Content-Security-Policy."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent / "markdown"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Handler(SimpleHTTPRequestHandler):
    """Serves the built page with the headers that the relay sends."""

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@pytest.fixture(scope="module")
def origin(web: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page that has the renderer, bundled as the relay's page is."""
    folder = tmp_path_factory.mktemp("markdown")
    subprocess.run(["npm", "run", "build", "--workspace", "markdown"], cwd=web, check=True, capture_output=True)
    command = [
        "npx",
        "vite",
        "build",
        str(HERE),
        "--outDir",
        str(folder),
        "--emptyOutDir",
        "--config",
        str(HERE / "vite.config.js"),
    ]
    subprocess.run(command, cwd=web, check=True, capture_output=True, timeout=120)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Watched:
    """A page, and all that it asked for, said or opened."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        page.goto(f"{origin}/index.html")
        page.wait_for_function("window.ready === true")
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", self._on_dialog)

    def _on_dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def assert_quiet(self, origin: str, name: str) -> None:
        """Nothing but the renderer's own chunks was asked for, and nothing ran or was refused."""
        strange = [
            url
            for url in self.requests
            if not (url.startswith((f"{origin}/assets/", "data:image/")) or url == "about:blank")
        ]
        assert strange == [], name
        assert self.dialogs == [], name
        state = self.page.evaluate("({pwned: 'pwned' in window, violations, rejections})")
        assert state == {"pwned": False, "violations": [], "rejections": []}, name


@pytest.fixture
def watched(browser: Browser, origin: str) -> Iterator[Watched]:
    with browser.new_context() as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=origin)
        page = context.new_page()
        page.set_default_timeout(30_000)
        yield Watched(page, origin)


def attacks(web: Path) -> list[dict[str, str]]:
    loaded: list[dict[str, str]] = json.loads((web / "markdown" / "tests" / "attacks.json").read_text())
    return loaded


def test_attacks_do_nothing_under_the_policy(watched: Watched, origin: str, web: Path) -> None:
    for attack in attacks(web):
        watched.page.evaluate("async (text) => { drawText(text); await streamText(text, 7); }", attack["markdown"])
        watched.page.evaluate(
            "document.querySelectorAll('#answer *, #second *').forEach((node) => node.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})))"
        )
        watched.assert_quiet(origin, attack["name"])
    watched.page.wait_for_timeout(300)
    watched.assert_quiet(origin, "after all")


def test_the_watch_notices_an_attack_that_gets_through(watched: Watched, origin: str) -> None:
    watched.page.evaluate("document.querySelector('#answer').innerHTML = '<img src=/v1/models onerror=window.pwned=1>'")
    watched.page.wait_for_function("violations.length > 0")
    with pytest.raises(AssertionError, match="v1/models"):
        watched.assert_quiet(origin, "raw HTML")


ANSWER = f"""# Title

Text with **bold**, `code`, a [link](https://example.invalid/) and a note[^1].

| a | b |
|---|--:|
| 1 | $x_1^2$ |

- [x] done
- [ ] open

```python
def double(value: int) -> int:
    return 2 * value
```

$$
\\begin{{pmatrix}} a & b \\\\ c & d \\end{{pmatrix}} = \\frac{{1}}{{2}}
$$

![dot](data:image/png;base64,{PIXEL})

It costs $5 and $10.

[^1]: The note.
"""


def test_code_is_coloured_and_formulas_are_set(watched: Watched, origin: str) -> None:
    watched.page.evaluate("(text) => streamText(text, 5)", ANSWER)
    watched.page.wait_for_selector("#answer .hljs-keyword")
    watched.page.wait_for_selector("#answer math[display=block] mtable")
    drawn = watched.page.evaluate("document.querySelector('#answer').innerHTML")
    watched.page.evaluate("(text) => { drawText(text); }", ANSWER)
    watched.page.wait_for_selector("#second .hljs-keyword")
    watched.page.wait_for_selector("#second math[display=block] mtable")
    assert watched.page.evaluate("document.querySelector('#second').innerHTML") == drawn
    assert watched.page.evaluate("document.querySelectorAll('#answer math').length") == 2
    assert watched.page.evaluate("document.querySelector('#answer img').naturalWidth") == 1
    watched.assert_quiet(origin, "answer")
    assert watched.page.evaluate("faults") == []


def test_a_selection_survives_what_comes_after_it(watched: Watched) -> None:
    kept = watched.page.evaluate("""async () => {
        openView();
        view.write('First *paragraph* here.\\n\\nSecond one that grows');
        view.flush();
        const [first, second] = document.querySelectorAll('#answer p');
        getSelection().setBaseAndExtent(first.querySelector('em').firstChild, 2, second.firstChild, 6);
        const before = getSelection().toString();
        for (const piece of [' and', ' **grows**', ' on.', '\\n\\n```js\\n', 'let a = 1;\\n', '```\\n', '\\n- a\\n- b\\n']) {
            view.write(piece);
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        }
        view.end();
        await view.whenSettled();
        return [before, getSelection().toString()];
    }""")
    assert kept[0] == kept[1]
    assert kept[0].startswith("ragraph here.")


def test_a_selection_in_code_survives_its_colours(watched: Watched) -> None:
    watched.page.evaluate("""() => {
        openView();
        view.write('```js\\nlet answer = 42;\\nlet other = 1;\\n');
        view.flush();
        const text = document.querySelector('#answer code').firstChild;
        getSelection().setBaseAndExtent(text, 4, text, 20);
        view.write('```\\n');
        view.end();
    }""")
    watched.page.wait_for_selector("#answer .hljs-keyword")
    assert watched.page.evaluate("getSelection().toString()") == "answer = 42;\nlet"


def test_the_copy_button_copies_the_code(watched: Watched) -> None:
    watched.page.evaluate("(text) => streamText(text, 50)", ANSWER)
    watched.page.get_by_role("button", name="Copy").click()
    watched.page.get_by_role("button", name="Copied").wait_for()
    assert (
        watched.page.evaluate("navigator.clipboard.readText()")
        == "def double(value: int) -> int:\n    return 2 * value\n"
    )


def test_a_footnote_is_reached_without_changing_the_address(watched: Watched) -> None:
    watched.page.evaluate("(text) => streamText(text, 50)", ANSWER)
    before = watched.page.url
    watched.page.locator("#answer sup a").click()
    assert watched.page.evaluate("document.activeElement.id") == "t-note-1"
    watched.page.locator("#answer .md-back").click()
    assert watched.page.url == before


def test_without_its_chunks_code_and_formulas_stay_text(browser: Browser, origin: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        watched = Watched(page, origin)
        page.route("**/assets/*", lambda route: route.abort())
        page.evaluate("(text) => streamText(text, 20)", ANSWER)
        page.wait_for_function("faults.length >= 2")
        assert page.evaluate("document.querySelector('#answer pre').textContent").startswith("def double")
        assert page.evaluate("document.querySelector('#answer .md-formula').textContent").startswith("\\begin{pmatrix}")
        assert page.evaluate("rejections") == []
        assert watched.dialogs == []
