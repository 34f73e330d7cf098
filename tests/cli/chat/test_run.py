"""``headrace chat PROMPT`` against a relay, where no terminal is."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.processes import Relay, Simulator


def test_one_answer_is_printed_alone_and_without_escapes(
    relay: Relay, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("chat", "--url", relay.origin, "hello") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("one two three\n", "")


def test_json_tells_how_it_ended(relay: Relay, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("chat", "--url", relay.origin, "--json", "hello") == 0
    line = capsys.readouterr().out
    assert "\x1b" not in line
    told = json.loads(line)
    stream_id, ttft_s, speed = (told.pop(name) for name in ("stream_id", "ttft_s", "tokens_per_s"))
    assert told == {
        "text": "one \x1b[31mtwo three",
        "state": "completed",
        "cause": "stop",
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
        "message": None,
    }
    assert relay.stream(stream_id)["state"] == "completed"
    assert 0 < ttft_s < 5
    assert speed > 0


def test_the_question_may_come_from_a_pipe(
    relay: Relay,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one two\nthree \xff")))
    assert run("chat", "--url", relay.origin, "--json") == 0
    # The simulator counts words.
    assert json.loads(capsys.readouterr().out)["usage"]["prompt_tokens"] == 4


def test_an_empty_question_is_not_asked(
    relay: Relay, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b" \n")))
    assert run("chat", "--url", relay.origin) == 2
    assert run("chat", "--url", relay.origin, "") == 2
    assert capsys.readouterr().err == "headrace: nothing is asked: PROMPT is empty\n" * 2


def test_options_reach_the_engine(relay: Relay, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "sim", "--system", "be brief", "--temperature", "0", "--max-tokens", "2"]
    assert run("chat", "--url", relay.origin, "--json", *options, "hello") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cause"] == "length"
    assert told["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_what_cannot_be_asked_is_one_line_and_exit_code_2(
    relay: Relay, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("chat", "--url", relay.origin, "--json", "--model", "a\x1b[31mb", "hello") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("headrace: the model ")
    assert "\x1b" not in captured.err


def test_a_relay_that_is_not_there_is_told_at_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    began_s = time.monotonic()
    assert run("chat", "--url", "http://127.0.0.1:9", "hello") == 2
    told = "headrace: no relay answers at http://127.0.0.1:9; start one with: headrace serve --port 9\n"
    assert capsys.readouterr().err == told
    assert time.monotonic() - began_s < 3


def test_what_is_said_is_saved(relay: Relay, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "said.md"
    assert run("chat", "--url", relay.origin, "--save", str(file), "hello") == 0
    assert file.read_text() == "## You\n\nhello\n\n## Answer\n\none two three\n"
    assert run("chat", "--url", relay.origin, "--save", str(file), "hello") == 2
    assert capsys.readouterr().err == f"headrace: {file} exists already; choose another name\n"


def test_a_reader_that_leaves_stops_the_engine(tmp_path: Path) -> None:
    with (
        Simulator("--tokens", "100000", "--itl-ms", "10") as simulator,
        Relay(simulator.url, tmp_path / "streams.db") as relay,
    ):
        command = f"{sys.executable} -m headrace chat --url {relay.origin} hello | head -c 10"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30)
        [stream] = relay.get_json("/v1/streams")["data"]
    assert (len(done.stdout), done.stderr) == (10, "")
    assert (stream["state"], stream["cause"]) == ("cancelled", "client_stop")
