from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from tests.cli.conftest import Run
from tests.processes import Relay
from tests.system.wire import chat


@pytest.fixture(scope="module")
def streams(relay: Relay) -> list[str]:
    """Two streams, the newest first: one whole, one that its client stopped."""
    with chat(
        relay.port, simulate={"tokens": 1000, "itl_ms": 20}, headers={"headrace-stream-id": "stopped"}
    ) as exchange:
        exchange.read_events(2)
    with chat(relay.port, simulate={"tokens": 3}, headers={"headrace-stream-id": "whole"}) as exchange:
        exchange.read()
    return ["whole", "stopped"]


def test_list_is_a_table_with_the_newest_first(
    relay: Relay, streams: list[str], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("streams", "list", "--url", relay.origin) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["ID", "STATE", "MODEL", "AGE", "TOKENS"]
    assert [line[0] for line in lines[1:3]] == streams
    assert lines[1][1:3] + lines[1][-1:] == ["completed/stop", "sim", "3"]
    assert lines[2][1] == "cancelled/client_gone"


def test_list_is_filtered_and_bounded(
    relay: Relay, streams: list[str], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("streams", "list", "--url", relay.origin, "--state", "cancelled", "--json") == 0
    page = json.loads(capsys.readouterr().out)
    assert "stopped" in [stream["id"] for stream in page["data"]]
    assert {stream["state"] for stream in page["data"]} == {"cancelled"}
    assert run("streams", "list", "--url", relay.origin, "--limit", "1", "--json") == 0
    page = json.loads(capsys.readouterr().out)
    assert (len(page["data"]), page["has_more"], page["object"]) == (1, True, "list")


def test_show_prints_what_is_known(
    relay: Relay, streams: list[str], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("streams", "show", "whole", "--url", relay.origin) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (lines["id"], lines["state"], lines["cause"]) == ("whole", "completed", "stop")
    assert "completion_tokens 3" in lines["usage"]
    assert run("streams", "show", "whole", "--url", relay.origin, "--json") == 0
    assert json.loads(capsys.readouterr().out)["id"] == "whole"


def test_cancel_stops_a_stream_that_runs(relay: Relay, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    headers = {"headrace-stream-id": "running"}
    with chat(relay.port, simulate={"tokens": 1000, "itl_ms": 20}, headers=headers) as exchange:
        exchange.read_events(2)
        assert run("streams", "cancel", "running", "--url", relay.origin) == 0
        assert capsys.readouterr().out == "running  cancelled/client_stop\n"
    assert run("streams", "cancel", "running", "--url", relay.origin, "--json") == 0
    assert json.loads(capsys.readouterr().out)["cause"] == "client_stop"


@pytest.mark.parametrize("command", ["show", "cancel", "tail"])
def test_a_stream_that_is_not_there_is_one_line_and_exit_code_2(
    relay: Relay, command: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("streams", command, "nothing", "--url", relay.origin) == 2
    assert capsys.readouterr().err == "headrace: there is no stream 'nothing'\n"


@pytest.mark.parametrize("arguments", [["list"], ["show", "x"], ["cancel", "x"]])
def test_without_a_relay_one_line_says_how_to_start_one(
    arguments: list[str], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert run("streams", *arguments, "--url", f"http://127.0.0.1:{port}/v1") == 2
    told = capsys.readouterr().err
    assert (
        told
        == f"headrace: no relay answers at http://127.0.0.1:{port}/v1; start one with: headrace serve --port {port}\n"
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://a", "http://a?b"])
def test_a_url_that_cannot_be_used_is_told(url: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("streams", "list", "--url", url) == 2
    assert capsys.readouterr().err.startswith("headrace: --url or --key-env: ")


def test_the_key_is_read_from_the_variable_and_shown_nowhere(
    relay: Relay, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-\nsecret")
    assert run("streams", "list", "--url", relay.origin, "--key-env", "MY_KEY") == 2
    assert "secret" not in capsys.readouterr().err
    monkeypatch.setenv("MY_KEY", "sk-secret")
    assert run("streams", "list", "--url", relay.origin, "--key-env", "MY_KEY") == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_error(relay: Relay, streams: list[str], unbuffered: str) -> None:
    script = f"{sys.executable} -m headrace streams list --url {relay.origin} | true"
    environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
