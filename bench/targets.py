"""What is measured: simulator, nginx and relay as processes of their own, started, pinned, measured and stopped here.

Linux only: pinning and CPU clocks are its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

LOAD_CORE = 0
"""Where the simulator and the load generator run."""
RELAY_CORE = 1
"""Where what is measured runs, alone."""

START_S = 30.0
STOP_S = 20.0
LAST_WORDS = 2000
"""Characters of a server's log that are shown when something went wrong."""

NGINX_CONFIG = """\
worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    upstream engine {{
        server 127.0.0.1:{upstream_port};
        keepalive 2048;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 300s;
        }}
    }}
}}
"""


class Target:
    """One running server.

    Args:
        name: As tables call it.
        port: Where it listens, on loopback.
        pid: The process whose CPU time and memory count.
        headers: What requests to it must carry, each line with its CRLF.
    """

    def __init__(self, name: str, port: int, pid: int, *, headers: str = "") -> None:
        self.name = name
        self.port = port
        self.pid = pid
        self.headers = headers

    def cpu_s(self) -> float:
        """Return the CPU time that the process has used, all its threads together, kernel included.

        In nanoseconds rather than the 10 ms of ``/proc/PID/stat``. The number of a process's clock is what
        ``clock_getcpuclockid(3)`` returns: the complement of its id, and 2 for the scheduler's own count.
        """
        return time.clock_gettime((~self.pid << 3) | 2)

    def kernel_share(self) -> tuple[float, float]:
        """Return seconds in user code and in the kernel so far, to 10 ms (``proc(5)``, fields 14 and 15 of stat)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return int(fields[11]) / ticks, int(fields[12]) / ticks

    def rss_bytes(self) -> int:
        """Return the memory that the process holds in RAM."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(f"{self.name} (process {self.pid}) has no memory any more")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pin_self() -> None:
    """Move this process, the load generator, to its core."""
    if _can_pin():
        os.sched_setaffinity(0, {LOAD_CORE})


@contextlib.contextmanager
def simulator() -> Iterator[Target]:
    """Run the scripted engine."""
    port = free_port()
    with _process("simulator", _headrace("simulate", "--port", str(port)), port, LOAD_CORE) as pid:
        yield Target("direct", port, pid)


@contextlib.contextmanager
def nginx(upstream_port: int) -> Iterator[Target]:
    """Run nginx as a reverse proxy set up for streaming, with one worker, whose CPU counts.

    Raises:
        FileNotFoundError: There is no nginx here.
    """
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if binary is None:
        raise FileNotFoundError("nginx is not installed; the benchmark measures beside it")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        config = Path(name) / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(directory=name, port=port, upstream_port=upstream_port))
        with _process("nginx", [binary, "-p", name, "-c", str(config)], port, RELAY_CORE) as pid:
            worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
            yield Target("nginx", port, worker)


@contextlib.contextmanager
def relay(upstream_port: int, *options: str, name: str = "relay", command: str | None = None) -> Iterator[Target]:
    """Run the relay with its SQLite store in a directory of its own.

    Args:
        upstream_port: Where the simulator listens.
        options: Further options of ``headrace serve``.
        name: As tables call it.
        command: The command ``headrace``; None: that of this environment.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        served = _headrace(
            "serve",
            *("--upstream", f"http://127.0.0.1:{upstream_port}/v1", "--model", "sim", "--port", str(port)),
            *("--store", f"sqlite:///{directory}/streams.db", "--log-level", "warning", *options),
        )
        with _process(name, [command or served[0], *served[1:]], port, RELAY_CORE) as pid:
            yield Target(name, port, pid)


ROUTED = """\
[engines.first]
kind = "vllm"
upstream = "http://127.0.0.1:{port}/v1"
[engines.second]
kind = "llama.cpp"
upstream = "http://127.0.0.1:{port}/v1"
[models.sim]
replays = true
shares = true
[models.sim.engines.first]
weight = 3
[models.sim.engines.second]
order = 2
[models.sim.engines.long]
engine = "second"
model = "sim-long"
min_prompt_tokens = 10_000
"""
"""Two engines, three targets, and everything that looks at each request; see ``bench.routing``."""


@contextlib.contextmanager
def routed_relay(upstream_port: int, *, name: str = "routed") -> Iterator[Target]:
    """Run the relay with a route."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        config = Path(directory) / "headrace.toml"
        config.write_text(ROUTED.format(port=upstream_port))
        with relay(upstream_port, "--config", str(config), name=name) as target:
            yield target


METERED = """\
[engine.limits]
tokens_per_minute = 1_000_000_000
concurrent_streams = 10_000
[models.sim.limits]
tokens_per_minute = 1_000_000_000
concurrent_streams = 10_000
[models.sim.price]
input = 1
output = 10
[owners.bench.limits]
tokens_per_minute = 1_000_000_000
requests_per_minute = 1_000_000
[owners.bench.budget]
month_usd = 1_000_000
"""
"""Every kind of limit, a price and budgets, all of them far away."""


@contextlib.contextmanager
def metered_relay(upstream_port: int, *, name: str = "metered") -> Iterator[Target]:
    """Run the relay with a client key that has limits and a budget, and with more of them for all that it uses."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        store, config = f"sqlite:///{directory}/streams.db", Path(directory) / "headrace.toml"
        config.write_text(METERED)
        limits = ("--tokens-per-minute", "1000000000", "--requests-per-minute", "1000000", "--concurrent", "10000")
        made = subprocess.run(
            _headrace("keys", "create", "--owner", "bench", "--day-usd", "100000", *limits, "--store", store),
            check=True,
            capture_output=True,
            text=True,
        )
        command = _headrace(
            "serve",
            *("--upstream", f"http://127.0.0.1:{upstream_port}/v1", "--model", "sim", "--port", str(port)),
            *("--store", store, "--log-level", "warning", "--config", str(config)),
        )
        with _process(name, command, port, RELAY_CORE) as pid:
            key = made.stdout.splitlines()[-1]
            yield Target(name, port, pid, headers=f"Authorization: Bearer {key}\r\nHeadrace-Tags: team=bench\r\n")


def _headrace(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("headrace")), *arguments]


def _can_pin() -> bool:
    return shutil.which("taskset") is not None and {LOAD_CORE, RELAY_CORE} <= os.sched_getaffinity(os.getppid())


@contextlib.contextmanager
def _process(name: str, command: Sequence[str], port: int, core: int) -> Iterator[int]:
    """Run a server until the block ends; yields its process id once it listens.

    What ends the block by an error shows the last words of the server's log.

    Raises:
        RuntimeError: It did not start.
    """
    pinned = ["taskset", "-c", str(core), *command] if _can_pin() else list(command)
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_it_listens(process, port)
            yield process.pid
        except Exception:
            log.seek(0)
            print(f"the log of {name} ends with: {log.read()[-LAST_WORDS:]}", file=sys.stderr)
            raise
        finally:
            _stop(process)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not start")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
