"""``headrace serve`` as a process: its settings, its signs of life, its end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.processes import Relay, Simulator
from tests.system.wire import JSON, ask, begin, chat, chat_body, chat_events, log_of_lines, read_log, wait_for

pytestmark = pytest.mark.alone

SETTINGS = """
[server]
max_body_bytes = "4KiB"

[timeouts]
heartbeat = "100ms"
head_wait = 0.1
drain = "700ms"

[limits]
max_followers = 2

[store]
store_content = false
"""
SLOW = {"tokens": 1_000_000, "itl_ms": 20}


@pytest.fixture(scope="module")
def tuned(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay with settings from a file, one of them overridden by the environment."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "headrace.toml").write_text(SETTINGS + "\n[engine]\nupstream = 'http://127.0.0.1:9/v1'\n")
    environ = {"HEADRACE_ENGINE__UPSTREAM": simulator.url, "HEADRACE_ENGINE__MODEL": "sim"}
    with Relay(None, folder / "streams.db", "--config", str(folder / "headrace.toml"), environ=environ) as relay:
        yield relay


# Settings from a file


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_over_the_limit_is_refused(tuned: Relay, framing: str) -> None:
    body = chat_body(content="x" * 5000)
    headers = dict(JSON)
    if framing == "chunked":
        headers["transfer-encoding"] = "chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    answer = ask(tuned.port, "POST", "/v1/chat/completions", headers=headers, body=body)
    assert (answer.status, answer.error["type"]) == (413, "invalid_request_error")
    assert "4096" in answer.error["message"]


def test_a_body_within_the_limit_is_taken(tuned: Relay) -> None:
    body = chat_body(content="x" * 3500, stream=False, simulate={"tokens": 1})
    assert len(body) < 4096
    assert ask(tuned.port, "POST", "/v1/chat/completions", headers=JSON, body=body).status == 200


def test_heartbeats_come_before_the_first_content(tuned: Relay) -> None:
    with chat(tuned.port, simulate={"ttft_ms": 700, "tokens": 3}) as exchange:
        exchange.read_until(b"data: ")
        assert exchange.received.partition(b"data: ")[0].count(b": ping\n\n") >= 2
        events = chat_events(exchange.read())
    assert (events[-1], len(events)) == (b"[DONE]", 6)


def test_heartbeats_come_in_the_middle_and_mean_nothing(tuned: Relay) -> None:
    simulate = {"tokens": 6, "fault": {"kind": "silence", "at": 3, "ms": 600}}
    with chat(tuned.port, simulate=simulate) as exchange:
        exchange.read_events(2)
        path = f"/v1/streams/{exchange.headers['headrace-stream-id']}/events"
        with begin(tuned.port, "GET", path, headers={"accept": "application/x-ndjson"}) as follower:
            lines = follower.read()
        body = exchange.read()
    assert body.count(b": ping\n\n") >= 2
    assert len(chat_events(body)) == 9
    assert lines.splitlines().count(b"") >= 2
    assert log_of_lines(lines).offsets == list(range(8))


def test_followers_beyond_the_limit_are_turned_away(tuned: Relay) -> None:
    with chat(tuned.port, simulate=SLOW) as exchange:
        exchange.read_events(2)
        path = f"/v1/streams/{exchange.headers['headrace-stream-id']}/events"
        with begin(tuned.port, "GET", path) as follower:
            follower.read_until(b"id: 0")
            answer = ask(tuned.port, "GET", path)
    assert (answer.status, answer.error["type"]) == (429, "rate_limit_error")


def test_no_text_is_kept_after_the_end(tuned: Relay) -> None:
    with chat(tuned.port, simulate={"tokens": 3}) as exchange:
        exchange.read()
    stream_id = exchange.headers["headrace-stream-id"]
    path = f"/v1/streams/{stream_id}/events"
    wait_for(lambda: ask(tuned.port, "GET", path).status == 410, what="410")
    assert tuned.stream(stream_id)["usage"]["completion_tokens"] == 3


# Settings that are wrong


def refused(relay: Relay) -> str:
    """Return why a relay does not start."""
    with relay._folder:
        relay.start(wait=False)
        assert relay.wait() == 2
        return relay.output


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ("[server]\nprot = 8081", "server.prot"),
        ("[severs]\nport = 8081", "severs"),
        ("[timeouts]\nidle = '30 parsecs'", "timeouts.idle"),
        ("[timeouts]\nidle = -1", "timeouts.idle"),
        ("[engine]\non_malformed_chunk = 'maybe'", "engine.on_malformed_chunk"),
        ("[limits]\nmax_streams = 0", "limits.max_streams"),
        ("[server\nport = 8081", "headrace.toml"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_path(tmp_path: Path, settings: str, path: str) -> None:
    (tmp_path / "headrace.toml").write_text(settings)
    config = str(tmp_path / "headrace.toml")
    assert path in refused(Relay("http://127.0.0.1:9/v1", tmp_path / "x.db", "--config", config))


def test_another_address_than_loopback_is_refused(tmp_path: Path) -> None:
    printed = refused(Relay("http://127.0.0.1:9/v1", tmp_path / "x.db", "--host", "0.0.0.0"))
    assert "insecure" in printed


def test_a_second_process_on_one_store_is_refused(relay: Relay, simulator: Simulator) -> None:
    assert isinstance(relay.store, Path)
    assert relay.store.name in refused(Relay(simulator.url, relay.store))
    assert relay.get_json("/readyz") == {"status": "ready"}


# The end


@pytest.fixture
def ending(simulator: Simulator, tmp_path: Path) -> Iterator[Relay]:
    """A relay that a test ends."""
    environ = {"HEADRACE_TIMEOUTS__DRAIN": "700ms"}
    with Relay(simulator.url, tmp_path / "streams.db", environ=environ) as relay:
        yield relay


def test_sigterm_drains_then_closes_what_runs_and_tells_everybody(ending: Relay) -> None:
    simulate: dict[str, Any] = {"text": "one two three four five six", "itl_ms": 50}
    with (
        chat(ending.port, simulate=SLOW) as slow,
        chat(ending.port, simulate=simulate) as quick,
        chat(ending.port, stream=False, simulate=SLOW, headers={"headrace-stream-id": "blocking"}) as blocking,
    ):
        slow.read_events(3)
        quick.read_events(2)
        wait_for(lambda: (ending.stream("blocking")["last_offset"] or 0) > 2, what="text for the blocking client")
        os.kill(ending.pid, signal.SIGTERM)
        wait_for(lambda: ask(ending.port, "GET", "/readyz").status == 503, what="the drain")
        answer = ask(ending.port, "POST", "/v1/chat/completions", headers=JSON, body=chat_body())
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "shutting_down", "1")
        assert chat_events(quick.read())[-1] == b"[DONE]"
        events = chat_events(slow.read())
        error = json.loads(events[-1])["error"]
        assert (error["state"], error["cause"]) == ("truncated", "shutdown")
        assert blocking.status == 502
        partial = json.loads(blocking.read())["error"]["partial_text"]
    assert ending.wait() == 0
    ending.start()
    slow_id, quick_id = (exchange.headers["headrace-stream-id"] for exchange in (slow, quick))
    log = read_log(ending.port, slow_id)
    assert log.chunks == [json.loads(event) for event in events[:-1]]
    assert log.end is not None
    assert (log.end["state"], log.end["cause"]) == ("truncated", "shutdown")
    assert read_log(ending.port, "blocking").text == partial != ""
    assert ending.stream(quick_id)["state"] == "completed"
    for stream_id in (slow_id, "blocking"):
        view = ending.stream(stream_id)
        assert (view["state"], view["cause"]) == ("truncated", "shutdown")


def test_an_idle_relay_ends_at_once(ending: Relay) -> None:
    with chat(ending.port, simulate={"tokens": 1}) as exchange:
        exchange.read()
        began_s = time.monotonic()
        os.kill(ending.pid, signal.SIGTERM)
        assert ending.wait() == 0
    assert time.monotonic() - began_s < 2.5


def test_a_second_signal_waits_no_longer(simulator: Simulator, tmp_path: Path) -> None:
    with Relay(simulator.url, tmp_path / "streams.db", environ={"HEADRACE_TIMEOUTS__DRAIN": "60s"}) as relay:
        with chat(relay.port, simulate=SLOW) as exchange:
            exchange.read_events(2)
            os.kill(relay.pid, signal.SIGTERM)
            wait_for(lambda: ask(relay.port, "GET", "/readyz").status == 503, what="the drain")
            os.kill(relay.pid, signal.SIGTERM)
            assert b'"shutdown"' in chat_events(exchange.read())[-1]
        assert relay.wait() == 0
