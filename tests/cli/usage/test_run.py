"""``headrace usage``: what it asks a relay, and how it prints the answer."""

from __future__ import annotations

import csv
import io
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.cli.conftest import Run

from headrace.protocol.usage import COLUMNS

Captured = pytest.CaptureFixture[str]

SUM = {"requests": 2, "prompt_tokens": 20, "cached_tokens": 8, "completion_tokens": 10, "cost_usd": "0.0034875"}
NOTHING = {"requests": 0, "prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0, "cost_usd": "0"}
TOTAL = SUM | {
    "generated_tokens": 12, "delivered_tokens": 11, "reported": SUM, "estimated": NOTHING, "unpriced_requests": 1,
}  # fmt: skip
EVIL = "=1+1\x1b]0;title\x07\x9b31m"
USAGE: dict[str, Any] = {
    "object": "usage",
    "since": 1.0,
    "until": 2.0,
    "by": ["owner", "model"],
    "data": [TOTAL | {"group": {"owner": "search", "model": EVIL}}],
    "total": TOTAL,
    "has_more": False,
    "of_a_newer_relay": True,
}


class Stub(HTTPServer):
    """Answers as a relay would, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.answer: dict[str, Any] = USAGE
        self.asked: list[tuple[str, dict[str, list[str]], str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        self.server.asked.append((parts.path, query, self.headers.get("Authorization")))
        body = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_table_has_a_line_a_group_and_the_total(run: Run, stub: Stub, capsys: Captured) -> None:
    assert run("usage", "--url", stub.url) == 0
    assert capsys.readouterr().out.splitlines() == [
        "OWNER   MODEL  REQUESTS  PROMPT  CACHED  COMPLETION   COST USD  ESTIMATED  UNPRICED",
        "search  =1+1          2      20       8          10  0.0034875          0         1",
        "total                 2      20       8          10  0.0034875          0         1",
    ]
    assert stub.asked == [("/v1/usage", {"by": ["model"], "limit": ["10000"]}, None)]


def test_what_is_asked_for_reaches_the_relay(
    run: Run, stub: Stub, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "hr_secret")
    options = {
        "--by": "owner,tag:team",
        "--since": "2026-11-01",
        "--until": "2026-11-21T10:00:00+02:00",
        "--owner": "search",
        "--key": "key_1",
        "--model": "gpt-4o",
        "--tag": "team=a=b",
        "--key-env": "MY_KEY",
    }
    assert run("usage", "--url", stub.url, *[word for option in options.items() for word in option]) == 0
    [(_, query, authorization)] = stub.asked
    assert authorization == "Bearer hr_secret"
    assert {name: values[0] for name, values in query.items()} == {
        "by": "owner,tag:team",
        "since": "2026-11-01",
        "until": "2026-11-21T10:00:00+02:00",
        "owner": "search",
        "key": "key_1",
        "model": "gpt-4o",
        "tag": "team:a=b",
        "limit": "10000",
    }
    assert "secret" not in "".join(capsys.readouterr())


def test_json_is_what_the_relay_says(run: Run, stub: Stub, capsys: Captured) -> None:
    assert run("usage", "--json", "--url", stub.url) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {name: value for name, value in USAGE.items() if name != "of_a_newer_relay"}
    assert "\x1b" not in out
    assert "\x9b" not in out


def test_csv_is_fit_for_spreadsheets_and_terminals(run: Run, stub: Stub, capsys: Captured) -> None:
    assert run("usage", "--csv", "--url", stub.url) == 0
    [head, line] = csv.reader(io.StringIO(capsys.readouterr().out, newline=""))
    assert head == ["owner", "model", *COLUMNS]
    assert line[:3] == ["search", "'=1+1", "2"]


def test_more_groups_than_were_given_are_told(run: Run, stub: Stub, capsys: Captured) -> None:
    stub.answer = USAGE | {"has_more": True}
    assert run("usage", "--url", stub.url) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("There are more groups")


def test_without_groups_the_total_stands_alone(run: Run, stub: Stub, capsys: Captured) -> None:
    stub.answer = USAGE | {"by": [], "data": [TOTAL | {"group": {}}]}
    assert run("usage", "--by", "", "--url", stub.url) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["REQUESTS", "2"]
    assert stub.asked[0][1]["by"] == [""]


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--tag", "team"], "--tag: 'team' must be NAME=VALUE"), (["--json", "--csv"], "--json or --csv, not both")],
)
def test_options_that_make_no_sense_ask_nothing(
    options: list[str], told: str, run: Run, stub: Stub, capsys: Captured
) -> None:
    assert run("usage", "--url", stub.url, *options) == 2
    assert capsys.readouterr().err == f"headrace: {told}\n"
    assert stub.asked == []


def test_what_the_relay_refuses_is_one_line(run: Run, stub: Stub, capsys: Captured) -> None:
    stub.status = 401
    error = {"message": "this request\nneeds a key", "type": "invalid_request_error", "code": "invalid_api_key"}
    stub.answer = {"error": error}
    assert run("usage", "--url", stub.url) == 2
    assert capsys.readouterr().err == "headrace: this request needs a key\n"


def test_without_a_relay_one_line_says_how_to_start_one(run: Run, capsys: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert run("usage", "--url", f"http://127.0.0.1:{port}") == 2
    assert capsys.readouterr().err.endswith(f"start one with: headrace serve --port {port}\n")
