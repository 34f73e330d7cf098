"""Real processes for tests: the simulator and the relay, each as the command that users run.

Both are context managers. Entering starts the process and returns when it serves; leaving ends it by SIGTERM.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

START_S = 30.0
"""How long a process may take to serve: a machine that is busy with other tests starts Python slowly."""

STOP_S = 20.0
"""How long it may take to end after SIGTERM."""

_READY = re.compile(rb"^(?:Headrace \S+ listens on )?http://127\.0\.0\.1:(\d+)", re.MULTILINE)


class Served:
    """A child process that prints its address once it serves.

    Args:
        arguments: Of the command ``headrace``; ``{port}`` becomes the port, 0 at the first start.
        environ: Added to the environment, which loses every ``HEADRACE_`` variable first.
    """

    def __init__(self, arguments: Sequence[str], *, environ: Mapping[str, str] | None = None) -> None:
        self.port = 0
        """Taken at the first start, and kept by later ones."""
        self._arguments = list(arguments)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self._environ = {**inherited, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="headrace-test-")
        self._starts = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.terminate()
        finally:
            self._folder.cleanup()

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``, where paths begin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Base URL for SDKs, with ``/v1``."""
        return f"{self.origin}/v1"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def output(self) -> str:
        """What the current or last process printed, on both of its outputs."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def _output(self) -> Path:
        return Path(self._folder.name) / f"output-{self._starts}"

    def start(self, *, wait: bool = True) -> None:
        """Start the process, or start it again, on the same port, after it has ended.

        Args:
            wait: Return when it serves; False returns at once.

        Raises:
            AssertionError: It ended, or does not serve in time; the message has what it printed.
        """
        assert not self.is_running, "it runs already"
        self._starts += 1
        command = [sys.executable, "-m", "headrace"]
        arguments = [argument.replace("{port}", str(self.port)) for argument in self._arguments]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command + arguments, env=self._environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        if wait:
            self._wait_until_ready()

    def run_to_end(self) -> tuple[int, str]:
        """Start it, wait until it ends by itself, and return its exit code and output; not inside its context."""
        try:
            self.start(wait=False)
            return self.wait(), self.output
        finally:
            self.__exit__()

    def _wait_until_ready(self) -> None:
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            found = _READY.search(self._output.read_bytes())
            if found is not None:
                self.port = int(found[1])
                return
            if not self.is_running:
                break
            time.sleep(0.005)
        raise AssertionError(f"{self._arguments[0]} does not serve: {self.output}")

    def kill(self) -> None:
        """SIGKILL: no chance to save anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal_end(self) -> None:
        """SIGTERM, without waiting; ``wait`` does that."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)

    def terminate(self) -> None:
        """SIGTERM, and wait for the end; SIGKILL when it does not come in time. Does nothing when it has ended."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self._arguments[0]} ignores SIGTERM: {self.output}") from None

    def wait(self, timeout_s: float = START_S) -> int:
        """Wait until it ends by itself and return its exit code."""
        assert self._process is not None, "not started"
        return self._process.wait(timeout_s)

    def get(self, path: str) -> bytes:
        """Return the body of ``GET path``, on a connection of its own."""
        request = urllib.request.Request(self.origin + path, headers={"connection": "close"})
        with urllib.request.urlopen(request, timeout=10) as response:
            body: bytes = response.read()
            return body

    def get_json(self, path: str) -> Any:
        return msgspec.json.decode(self.get(path))

    # What the kernel says of the process

    def descriptors(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def rss_bytes(self) -> int:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Simulator(Served):
    """``headrace simulate``; serves the model ``sim``.

    Args:
        options: More options of the command.
    """

    def __init__(self, *options: str) -> None:
        super().__init__(["simulate", "--port", "{port}", "--model", "sim", *options])

    def requests(self) -> list[dict[str, Any]]:
        """Return what it remembers of chat requests, oldest first."""
        found: list[dict[str, Any]] = self.get_json("/simulator/requests")
        return found

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get_json("/simulator/summary")
        return found

    def forget(self) -> None:
        """Let it forget all requests so far."""
        request = urllib.request.Request(f"{self.origin}/simulator/requests", method="DELETE")
        urllib.request.urlopen(request, timeout=10).close()


class Relay(Served):
    """``headrace serve``.

    Args:
        upstream: Base URL of the engine; None serves the embedded one.
        store: File of the SQLite store, or a store URL.
        options: More options of the command.
        environ: More environment, for settings without an option: ``HEADRACE_SECTION__KEY``.
    """

    def __init__(
        self,
        upstream: str | None,
        store: Path | str,
        *options: str,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.store = store
        url = f"sqlite:///{store}" if isinstance(store, Path) else store
        engine = [] if upstream is None else ["--upstream", upstream, "--model", "sim"]
        # A store that is merely slow, because much else runs on the machine, must not degrade streams of tests.
        patient = {"HEADRACE_TIMEOUTS__COMMIT_WAIT": "10s", **(environ or {})}
        super().__init__(["serve", "--port", "{port}", "--store", url, *engine, *options], environ=patient)

    def stream(self, stream_id: str) -> dict[str, Any]:
        """Return ``GET /v1/streams/{id}``."""
        found: dict[str, Any] = self.get_json(f"/v1/streams/{stream_id}")
        return found

    def metric(self, name: str) -> float:
        """Return the sum of all samples of one metric; 0 when it has none."""
        lines = self.get("/metrics").decode().splitlines()
        samples = [line for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples)
