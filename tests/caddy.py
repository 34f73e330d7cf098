"""Caddy as a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.proxy import DEPLOY, NAME, Proxy


class Caddy(Proxy):
    """Caddy without its administration and its redirects, which would listen on fixed ports."""

    configuration = DEPLOY / "Caddyfile"
    program = "caddy"

    def substitutions(self) -> dict[str, str]:
        return {
            "\n{\n": f"\n{{\n\tadmin off\n\tauto_https disable_redirects\n\thttps_port {self.port}\n",
            f"\n{NAME} {{": f"\n{NAME} {{\n\tbind 127.0.0.1",
            "reverse_proxy 127.0.0.1:8080": f"reverse_proxy 127.0.0.1:{self.upstream_port}",
            "/etc/ssl/headrace/": f"{self.folder}/",
            "/var/log/caddy/": f"{self.folder}/",
        }

    def command(self, binary: str, configuration: Path) -> Sequence[str]:
        return [binary, "run", "--adapter", "caddyfile", "--config", str(configuration)]
