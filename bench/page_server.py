"""Builds and serves the page of ``bench.markdown``, and to it an answer at a steady pace."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

PAGE = Path(__file__).with_name("page")
WEB = PAGE.parents[1] / "web"
ANSWER = "/answer"


def build() -> None:
    """Build our renderer and then the page, as they are shipped: minified, without what is for development.

    Raises:
        FileNotFoundError: Packages are not installed.
        CalledProcessError: A build failed; why stands on standard error.
    """
    for folder in (WEB, PAGE):
        if not (folder / "node_modules").exists():
            raise FileNotFoundError(f"{folder} has no packages; run: npm ci --prefix {folder}")
    for command in (
        ["npm", "run", "build", "--prefix", str(WEB), "--workspace", "markdown"],
        ["npm", "run", "build", "--prefix", str(PAGE)],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages that the page is locked to."""
    lock = msgspec.json.decode((PAGE / "package-lock.json").read_bytes())
    return {name: lock["packages"][f"node_modules/{name}"]["version"] for name in packages}


def paced(
    tokens: Sequence[str],
    *,
    per_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[str]]:
    """Return tokens when they are due: all those at once whose time has come.

    Token ``n`` is due ``n / per_s`` seconds after the first, whatever happened to those before it: lateness does not add up.
    """
    start_s, sent = clock(), 0
    while sent < len(tokens):
        due = min(len(tokens), int((clock() - start_s) * per_s) + 1)
        if due > sent:
            yield [*tokens[sent:due]]
            sent = due
        else:
            sleep(max(0.0, start_s + sent / per_s - clock()))


@contextmanager
def page_server(page: Path, tokens: Sequence[str]) -> Iterator[str]:
    """Serve the built ``page`` and the answer on loopback until the block ends; yields the origin."""
    handler = partial(_Handler, tokens, directory=str(page))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(SimpleHTTPRequestHandler):
    """Answers ``/answer?per_s=200`` with a line of JSON for each token, and all else with the page's files."""

    # Each line goes out as it is written.
    wbufsize = 0
    disable_nagle_algorithm = True

    def __init__(self, tokens: Sequence[str], *args: object, directory: str) -> None:
        self._tokens = tokens
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path != ANSWER:
            return super().do_GET()
        per_s = float(parse_qs(url.query)["per_s"][0])
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        # HTTP/1.0: the end of the connection is the end of the answer.
        for due in paced(self._tokens, per_s=per_s):
            self.wfile.write(b"".join(msgspec.json.encode({"text": token}) + b"\n" for token in due))
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing: the terminal is the report's."""
