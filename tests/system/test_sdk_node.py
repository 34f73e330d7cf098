"""The stock ``openai`` SDK for Node, unmodified: one Node process makes all calls, the tests look at what it saw."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.processes import Relay, Simulator
from tests.system.wire import text_of, wait_for

FOLDER = Path(__file__).parent / "node"
INSTALL_S = 110
CALLS_S = 60

WORDS = ["Grüße", " aus", " 水車", " ha", " ha", "."]
TEXT = "".join(WORDS)
PLAIN: dict[str, Any] = {"deltas": WORDS, "itl_ms": 5}
TOOL = {"name": "get_weather", "arguments": '{"city": "Zürich", "unit": "°C"}', "id": "call_weather"}
CUT = {**PLAIN, "fault": {"kind": "fin", "at": 3}}
REJECTED = {"fault": {"kind": "status", "code": 503}}
LIMITED = {"fault": {"kind": "status", "code": 429, "retry_after": 30}}

Seen = dict[str, dict[str, Any]]


def _call(kind: str, simulate: dict[str, Any], **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "one two"}]
    return {"kind": kind, "body": {"model": "sim", "messages": messages, "simulate": simulate, **fields}}


CALLS = {
    **{
        f"{name} {kind}": _call(kind, simulate, **fields)
        for kind in ("stream", "block")
        for name, simulate, fields in (
            ("plain", PLAIN, {}),
            ("tools", {"tool_calls": [TOOL]}, {}),
            ("choices", {"tokens": 8}, {"n": 2, "seed": 3}),
            ("logprobs", PLAIN, {"logprobs": True}),
            ("reasoning", {**PLAIN, "reasoning": "First I think."}, {}),
            ("cut", CUT, {}),
            ("rejected", REJECTED, {}),
            ("limited", LIMITED, {}),
        )
    },
    "usage stream": _call("stream", PLAIN, stream_options={"include_usage": True}),
    "unknown model": _call("stream", PLAIN, model="other"),
    "left stream": _call("leave", {"tokens": 10_000, "itl_ms": 5}),
}
REACH_THE_ENGINE = len(CALLS) - 1
"""All but the call with a model that nobody serves."""
TRIED_AGAIN = 2 * sum("rejected" in name for name in CALLS)
"""Requests of the relay's own: it tries what the engine rejects with 503 twice more."""


@pytest.fixture(scope="module")
def seen(relay: Relay, simulator: Simulator, require: Callable[[object, str], None]) -> Seen:
    """What the SDK saw of every call."""
    require(shutil.which("node") and shutil.which("npm"), "Node with npm")
    _install()
    simulator.forget()
    result = subprocess.run(
        ["node", "calls.mjs"],
        cwd=FOLDER,
        input=json.dumps({"baseURL": relay.url, "calls": CALLS}),
        capture_output=True,
        text=True,
        timeout=CALLS_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: Seen = json.loads(result.stdout)
    return found


def _install() -> None:
    """Install what the lock file says into ``node_modules``, unless that was done already."""
    done = FOLDER / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= (FOLDER / "package-lock.json").stat().st_mtime:
        return
    result = subprocess.run(["npm", "ci"], cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    assert result.returncode == 0, result.stderr


def test_a_stream_and_a_blocking_answer_have_the_engines_text(seen: Seen) -> None:
    stream, whole = seen["plain stream"], seen["plain block"]
    assert (stream["error"], whole["error"]) == (None, None)
    assert text_of(stream["chunks"]) == TEXT
    assert whole["completion"]["choices"][0]["message"]["content"] == TEXT
    assert stream["chunks"][-1]["choices"][0]["finish_reason"] == "stop"
    assert whole["completion"]["usage"]["completion_tokens"] == len(WORDS)


def test_usage_comes_last_when_asked_for_and_else_not_at_all(seen: Seen) -> None:
    last = seen["usage stream"]["chunks"][-1]
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], len(WORDS))
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in seen["plain stream"]["chunks"])


def test_tool_calls_stream_in_frames_and_block_whole(seen: Seen) -> None:
    frames = [
        call
        for chunk in seen["tools stream"]["chunks"]
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", [])
    ]
    assert (frames[0]["id"], frames[0]["function"]["name"]) == (TOOL["id"], TOOL["name"])
    assert "".join(frame["function"]["arguments"] for frame in frames) == TOOL["arguments"]
    choice = seen["tools block"]["completion"]["choices"][0]
    function = {"name": TOOL["name"], "arguments": TOOL["arguments"]}
    assert choice["message"]["tool_calls"] == [{"id": TOOL["id"], "type": "function", "function": function}]
    assert choice["finish_reason"] == "tool_calls"


def test_several_choices(seen: Seen) -> None:
    texts = [text_of(seen["choices stream"]["chunks"], index) for index in (0, 1)]
    choices = seen["choices block"]["completion"]["choices"]
    assert texts[0] != texts[1]
    assert [choice["message"]["content"] for choice in choices] == texts


def test_log_probabilities(seen: Seen) -> None:
    probabilities = [
        choice["logprobs"]["content"]
        for chunk in seen["logprobs stream"]["chunks"]
        for choice in chunk["choices"]
        if choice["logprobs"] is not None
    ]
    assert [item["token"] for items in probabilities for item in items] == WORDS
    whole = seen["logprobs block"]["completion"]["choices"][0]["logprobs"]["content"]
    assert [item["token"] for item in whole] == WORDS


def test_reasoning_survives(seen: Seen) -> None:
    deltas = [choice["delta"] for chunk in seen["reasoning stream"]["chunks"] for choice in chunk["choices"]]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "First I think."
    message = seen["reasoning block"]["completion"]["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("First I think.", TEXT)


def test_a_cut_stream_raises_behind_its_text(seen: Seen) -> None:
    stream, whole = seen["cut stream"], seen["cut block"]
    assert text_of(stream["chunks"]) == "".join(WORDS[:3])
    assert (stream["error"]["name"], stream["error"]["code"]) == ("APIError", "upstream_closed")
    assert (whole["error"]["name"], whole["error"]["status"]) == ("InternalServerError", 502)
    assert whole["error"]["body"]["partial_text"] == "".join(WORDS[:3])
    assert {stream["error"]["body"]["state"], whole["error"]["body"]["state"]} == {"truncated"}


@pytest.mark.parametrize("kind", ["stream", "block"])
def test_a_failed_stream_raises_with_its_status(seen: Seen, kind: str) -> None:
    rejected, limited = seen[f"rejected {kind}"]["error"], seen[f"limited {kind}"]["error"]
    assert (rejected["name"], rejected["status"]) == ("InternalServerError", 502)
    assert (rejected["body"]["state"], rejected["body"]["cause"]) == ("failed", "upstream_rejected")
    assert (limited["name"], limited["status"], limited["headers"]["retry-after"]) == ("RateLimitError", 429, "30")


def test_an_unknown_model_is_named(seen: Seen) -> None:
    error = seen["unknown model"]["error"]
    assert (error["name"], error["status"], error["code"]) == ("NotFoundError", 404, "model_not_found")


def test_leaving_a_stream_stops_the_engine(seen: Seen, relay: Relay) -> None:
    stream_id = seen["left stream"]["headers"]["headrace-stream-id"]
    view = wait_for(lambda: (found := relay.stream(stream_id))["ended_at"] and found, what="the end")
    assert (view["state"], view["cause"]) == ("cancelled", "client_gone")


def test_nothing_that_had_a_stream_was_asked_again(seen: Seen, simulator: Simulator, relay: Relay) -> None:
    assert len(seen) == len(CALLS)
    assert len(simulator.requests()) == REACH_THE_ENGINE + TRIED_AGAIN
    wait_for(lambda: relay.metric("headrace_streams_active") == 0, what="the end of all streams")
    assert relay.metric("headrace_streams_total") == REACH_THE_ENGINE
