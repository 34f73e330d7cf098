from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.cli.conftest import Run
from tests.cli.cutter import Cutter
from tests.processes import Relay
from tests.system.wire import chat

SLOW = {"text": "one two three four five six", "itl_ms": 100}


def test_an_ended_stream_is_printed_without_control_characters(
    relay: Relay, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat(relay.port, headers={"headrace-stream-id": "ended"}) as exchange:
        exchange.read()
    assert run("streams", "tail", "ended", "--url", relay.origin) == 0
    assert capsys.readouterr().out == "one two three\n"


def test_entries_are_those_of_the_wire(relay: Relay, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with chat(relay.port, headers={"headrace-stream-id": "lines"}, simulate={"text": "a b c"}) as exchange:
        exchange.read()
    assert run("streams", "tail", "lines", "--url", relay.origin, "--json", "--after", "1") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["offset"] for line in lines] == [2, 3, 4, 5]
    assert lines[0]["chunk"]["choices"][0]["delta"]["content"] == " b"
    assert lines[-1]["end"]["state"] == "completed"
    assert lines[-1]["end"]["usage"]["completion_tokens"] == 3


def test_a_dropped_connection_is_resumed(relay: Relay) -> None:
    with (
        chat(relay.port, headers={"headrace-stream-id": "cut"}, simulate=SLOW) as exchange,
        Cutter(relay.port) as wire,
        subprocess.Popen(
            [sys.executable, "-m", "headrace", "streams", "tail", "cut", "--url", wire.url],
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        begun = process.stdout.read(5)
        wire.cut()
        exchange.read()
        assert begun + process.stdout.read() == "one two three four five six\n"
        assert process.wait(30) == 0


def test_leaving_does_not_stop_the_stream(relay: Relay) -> None:
    headers = {"headrace-stream-id": "left", "headrace-linger": "10"}
    with chat(relay.port, headers=headers, simulate=SLOW) as exchange:
        command = f"{sys.executable} -m headrace streams tail left --url {relay.origin} | head -c 3"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30)
        assert (done.stdout, done.stderr) == ("one", "")
        exchange.read()
    assert relay.stream("left")["state"] == "completed"


def test_an_answer_that_is_not_whole_is_told_with_exit_code_1(
    relay: Relay, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate = {"text": "a b c d", "fault": {"kind": "fin", "at": 2}}
    with chat(relay.port, headers={"headrace-stream-id": "broken"}, simulate=simulate) as exchange:
        exchange.read()
    assert run("streams", "tail", "broken", "--url", relay.origin) == 1
    captured = capsys.readouterr()
    assert captured.out == "a b\n"
    assert captured.err.endswith("(truncated, upstream_closed)\n")
    assert captured.err.count("\n") == 1
    assert run("streams", "tail", "broken", "--url", relay.origin, "--json") == 1
    end = json.loads(capsys.readouterr().out.splitlines()[-1])["end"]
    assert (end["state"], end["cause"]) == ("truncated", "upstream_closed")
