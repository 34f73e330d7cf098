"""Envoy as a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.proxy import DEPLOY, Proxy


class Envoy(Proxy):
    """Envoy with one worker, and without the shared memory by which two of them hand over."""

    configuration = DEPLOY / "envoy.yaml"
    program = "envoy"

    def substitutions(self) -> dict[str, str]:
        return {
            "address: 0.0.0.0, port_value: 443": f"address: 127.0.0.1, port_value: {self.port}",
            "address: 127.0.0.1, port_value: 8080": f"address: 127.0.0.1, port_value: {self.upstream_port}",
            "/etc/ssl/headrace/": f"{self.folder}/",
            "/var/log/envoy/": f"{self.folder}/",
        }

    def command(self, binary: str, configuration: Path) -> Sequence[str]:
        # By default a line of the access log may wait for 10 s.
        options = (
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "warn",
            "--file-flush-interval-msec",
            "50",
        )
        return [binary, "-c", str(configuration), *options]
