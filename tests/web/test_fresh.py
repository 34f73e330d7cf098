"""The built page in the package is what its sources say, and its first load is small."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.processes import Relay, Simulator
from tests.web.driver import ChatPage

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

PAGE = Path(__file__).parents[2] / "src" / "headrace" / "page"
FIRST_LOAD_BYTES = 90_000
"""Script and style together, as gzip."""

pytestmark = pytest.mark.timeout(300)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_committed_page_is_what_the_sources_make(web: Path, tmp_path: Path) -> None:
    for package in ("client", "markdown"):
        run(web, "npm", "run", "build", "--workspace", package)
    run(web / "page", "npx", "vite", "build", "--outDir", str(tmp_path), "--emptyOutDir")
    built, committed = files_of(tmp_path), files_of(PAGE)
    assert built.keys() == committed.keys(), "the committed page is stale: run make page"
    stale = [name for name, content in built.items() if content != committed[name]]
    assert stale == [], "the committed page is stale: run make page"


def test_the_first_load_and_a_first_answer_are_small(
    context: BrowserContext, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with Simulator("--text", "A *plain* answer.") as engine, Relay(engine.url, tmp_path / "streams.db") as relay:
        loaded: set[str] = set()
        context.on("request", lambda request: loaded.add(urlsplit(request.url).path))
        chat = ChatPage(context, relay.origin)
        chat.box.wait_for()
        chat.page.wait_for_load_state("networkidle")
        first_visit = gzip_bytes(loaded)
        chat.send("Hello?")
        chat.wait_for_status("Complete")
        with_answer = gzip_bytes(loaded)
    record_property("first_visit_gzip_bytes", first_visit)
    record_property("with_answer_gzip_bytes", with_answer)
    assert any("worker" in path for path in loaded)
    assert 10_000 < first_visit < with_answer <= FIRST_LOAD_BYTES


def gzip_bytes(paths: set[str]) -> int:
    """Return the size of the scripts and styles among them, as gzip."""
    files = [PAGE / path.removeprefix("/") for path in paths if path.endswith((".js", ".css"))]
    return sum(len(gzip.compress(file.read_bytes(), 9)) for file in files)


def test_the_page_asks_nothing_of_other_hosts() -> None:
    index = (PAGE / "index.html").read_text()
    assert re.findall(r'(?:src|href)="(?!/|#)[^"]*"', index) == []
    assert "<script>" not in index
    assert "<style" not in index
    assert " style=" not in index


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
