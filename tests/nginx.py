"""nginx as a child process."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from tests.proxy import DEPLOY, Proxy

MAIN = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/main.log;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    gzip_types *;
    include {configuration};
}}
"""
"""What surrounds it. Distributions switch gzip on there."""


class Nginx(Proxy):
    """nginx with one worker."""

    configuration = DEPLOY / "nginx.conf"
    program = "nginx"

    def substitutions(self) -> dict[str, str]:
        return {
            "\n    listen 443 ": f"\n    listen 127.0.0.1:{self.port} ",
            "server 127.0.0.1:8080;": f"server 127.0.0.1:{self.upstream_port};",
            "/etc/ssl/headrace/": f"{self.folder}/",
            "/var/log/nginx/": f"{self.folder}/",
        }

    def command(self, binary: str, configuration: Path) -> Sequence[str]:
        main = self.folder / "main.conf"
        main.write_text(MAIN.format(folder=self.folder, configuration=configuration))
        return [binary, "-p", str(self.folder), "-c", str(main)]

    def open_files(self) -> list[str]:
        """Return the names of what its workers have open, deleted files too."""
        links = []
        for worker in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                links += [str(link.readlink()) for link in Path(f"/proc/{worker}/fd").iterdir()]
        return links
