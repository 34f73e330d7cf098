"""A static server on loopback, for pages that use the browser client from another origin than the relay's."""

from __future__ import annotations

import http.server
import mimetypes
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

WEB = Path(__file__).parents[3] / "web"
CLIENT = WEB / "client"
DIST = CLIENT / "dist"

_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; connect-src 'self'{}; "
    "base-uri 'none'; form-action 'none'"
)
_BARE = b'<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">'


class Site:
    """Serves folders, each below a path of its own, under a strict Content-Security-Policy. Entering starts it.

    Args:
        folders: Where what begins with a path is found: ``{"/dist/": Path("…")}``.
        scripts: Module scripts of the page ``/``, which has nothing else.
    """

    def __init__(self, folders: Mapping[str, Path], *, scripts: tuple[str, ...] = ()) -> None:
        self._folders = {path: folder.resolve() for path, folder in folders.items()}
        self._page = _BARE + b"".join(b'<script type="module" src="%b"></script>' % name.encode() for name in scripts)
        self._reachable: set[str] = set()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def pages(self) -> list[str]:
        """Paths of all ``index.html``."""
        found = ((path, folder.rglob("index.html")) for path, folder in self._folders.items())
        return [path + str(file.relative_to(self._folders[path])) for path, files in found for file in files]

    def let_reach(self, origin: str) -> None:
        """Let pages loaded from now on connect to an origin, by HTTP and by WebSocket."""
        self._reachable |= {origin, origin.replace("http", "ws", 1)}

    @property
    def policy(self) -> str:
        return _POLICY.format("".join(f" {origin}" for origin in sorted(self._reachable)))

    def read(self, path: str) -> bytes | None:
        """Return what is served at a path; None for what is not."""
        if path == "/":
            return self._page
        for prefix, folder in self._folders.items():
            file = (folder / path.removeprefix(prefix)).resolve()
            if path.startswith(prefix) and file.is_relative_to(folder) and file.is_file():
                return file.read_bytes()
        return None

    def _handler(site) -> type[http.server.BaseHTTPRequestHandler]:  # noqa: N805 (the handler has a self of its own)
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                body = site.read(path)
                kind = "text/html" if path == "/" else mimetypes.guess_type(path)[0]
                self.send_response(404 if body is None else 200)
                self.send_header("content-type", kind or "application/octet-stream")
                self.send_header("content-length", str(len(body or b"")))
                self.send_header("content-security-policy", site.policy)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
