from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import msgspec
import pytest

from headrace._version import __version__
from headrace.cli.app import main
from headrace.errors import StoreError
from headrace.settings import Settings

COMMAND = [sys.executable, "-c", "from headrace.cli import main; main()"]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Stand in for the server: what it would have been called with."""
    calls: list[Settings] = []

    def serve(settings: Settings, *, load: Callable[[], Settings]) -> None:
        assert load() == settings
        calls.append(settings)

    module = ModuleType("headrace.http.server")
    module.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "headrace.http.server", module)
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    return calls


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_serve_lays_options_over_the_environment(monkeypatch: pytest.MonkeyPatch, served: list[Settings]) -> None:
    monkeypatch.setenv("HEADRACE_SERVER__PORT", "1")
    monkeypatch.setenv("HEADRACE_TIMEOUTS__HEARTBEAT", "7")
    options = {
        "--host": "localhost",
        "--port": "8081",
        "--store": "memory:",
        "--upstream": "http://127.0.0.1:9100/v1",
        "--model": "sim",
        "--upstream-key-env": "SIM_KEY",
        "--first-token-timeout": "2",
        "--idle-timeout": "1.5",
        "--slow-client-timeout": "500ms",
        "--linger": "0",
        "--flush-interval": "100",
        "--log-level": "warning",
    }
    code = run(monkeypatch, "serve", *[word for option in options.items() for word in option])
    assert code == 0
    [settings] = served
    assert (settings.server.host, settings.server.port, settings.server.insecure) == ("localhost", 8081, False)
    assert settings.store.url == "memory:"
    engine, timeouts = settings.engine, settings.timeouts
    assert (engine.upstream, engine.model, engine.upstream_key_env) == ("http://127.0.0.1:9100/v1", "sim", "SIM_KEY")
    assert (timeouts.first_token_s, timeouts.idle_s, timeouts.slow_client_s) == (2.0, 1.5, 0.5)
    assert (timeouts.linger_s, timeouts.heartbeat_s) == (0.0, 7.0)
    assert (settings.stream.flush_interval_ms, settings.log.level) == (100, "warning")


def test_serve_may_be_told_to_leave_loopback(monkeypatch: pytest.MonkeyPatch, served: list[Settings]) -> None:
    # The test of the whole process is in tests/system/test_serve.py: whether there are keys, only the store knows.
    assert run(monkeypatch, "serve", "--host", "0.0.0.0", "--store", "memory:", "--insecure") == 0
    assert served[0].server.insecure


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "http"], "server.port: expected int, got 'http' (from the command line)"),
        (["--idle-timeout", "-1"], "timeouts.idle: expected seconds or a duration"),
        (["--flush-interval", "2000"], "stream.flush_interval_ms: expected int <= 1000"),
        (["--config", "/nowhere/headrace.toml"], "/nowhere/headrace.toml: cannot be read"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    served: list[Settings],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "serve", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"headrace: {message}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert served == []


@pytest.mark.parametrize("error", [StoreError("the file\nis taken"), OSError("the file\nis taken")])
def test_what_stops_the_server_is_one_line_and_exit_code_2(
    error: Exception, monkeypatch: pytest.MonkeyPatch, served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_settings: Settings, **_more: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules["headrace.http.server"], "serve", fail)
    assert run(monkeypatch, "serve", "--store", "memory:") == 2
    assert capsys.readouterr().err == "headrace: the file is taken\n"


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "version") == 0
    assert capsys.readouterr().out == f"headrace {__version__}\n"


def test_help_loads_neither_server_nor_settings() -> None:
    script = (
        "import sys; sys.argv = ['headrace', 'serve', '--help']\n"
        "from headrace.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'asyncio', 'msgspec', 'httptools', 'uvicorn', 'uvloop', 'rich'} & set(sys.modules)))\n"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "--first-token-timeout" in output
    assert output.splitlines()[-1] == "[]"


@contextmanager
def simulator(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [*COMMAND, "simulate", "--port", "0", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_simulate_serves_its_script_until_it_is_told_to_end() -> None:
    with simulator("--text", "one two") as (process, url):
        body = msgspec.json.encode({"model": "sim", "messages": [{"role": "user", "content": "?"}]})
        headers = {"content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/chat/completions", body, headers)) as response:
            answer = msgspec.json.decode(response.read())
        assert answer["choices"][0]["message"]["content"] == "one two"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_simulate_on_a_taken_port_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*COMMAND, "simulate", "--port", port], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("headrace: ")
    assert "address already in use" in done.stderr
    assert done.stderr.count("\n") == 1
