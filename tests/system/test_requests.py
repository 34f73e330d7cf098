"""Requests before there is a stream: what is refused, how, and what every answer carries."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from tests.processes import Relay, Simulator
from tests.system.wire import JSON, ask, chat, chat_body

ENDPOINTS = (
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /v1/streams",
    "GET /v1/streams/{stream_id}",
    "DELETE /v1/streams/{stream_id}",
    "GET /v1/streams/{stream_id}/events",
    "POST /v1/streams/{stream_id}/cancel",
    "POST /v1/streams/{stream_id}/perceived",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /",
)
METRICS = (
    "headrace_streams_total",
    "headrace_streams_active",
    "headrace_time_to_first_token_seconds_count",
    "headrace_tick_seconds_count",
    "headrace_commit_seconds_count",
    "headrace_requests_rejected_total",
)
NO_BUFFERING = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}


def chat_fields(**fields: Any) -> bytes:
    return json.dumps({"model": "sim", "messages": [{"role": "user", "content": "x"}], **fields}).encode()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'{"model": "sim"', None),
        (b"\xff\xfe", None),
        (b'{"model": "\xff"}', None),
        (b"[" * 100_000, None),
        (b'{"model": "sim"}', None),
        (chat_fields(messages=[]), "messages"),
        (chat_fields(messages="hello"), "messages"),
        (chat_fields(messages=["hello"]), "messages[0]"),
        (chat_fields(model=7), "model"),
        (chat_fields(stream="yes"), "stream"),
        (chat_fields(stream_options={"include_usage": "yes"}), "stream_options.include_usage"),
        (chat_fields(n=0), "n"),
        (chat_fields(n=17), "n"),
        (chat_fields(n=1.5), "n"),
        (chat_fields(store="no"), "store"),
    ],
)
def test_a_bad_chat_request_is_refused_and_named(
    relay: Relay, simulator: Simulator, body: bytes, param: str | None
) -> None:
    requests = len(simulator.requests())
    answer = ask(relay.port, "POST", "/v1/chat/completions", headers=JSON, body=body)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert answer.error["param"] == param
    assert len(simulator.requests()) == requests
    assert "headrace-stream-id" not in answer.headers


def test_a_refusal_makes_no_stream_and_is_counted(relay: Relay) -> None:
    streams, rejected = relay.metric("headrace_streams_total"), relay.metric("headrace_requests_rejected_total")
    ask(relay.port, "POST", "/v1/chat/completions", headers=JSON, body=b"{")
    assert relay.metric("headrace_streams_total") == streams
    assert relay.metric("headrace_requests_rejected_total") == rejected + 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_body_is_refused(relay: Relay, encoding: str) -> None:
    headers = {**JSON, "content-encoding": encoding}
    answer = ask(relay.port, "POST", "/v1/chat/completions", headers=headers, body=gzip.compress(chat_body()))
    assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_may_be_spelt_as_it_likes(relay: Relay, content_type: str) -> None:
    body = chat_body(stream=False, simulate={"tokens": 1})
    assert (
        ask(relay.port, "POST", "/v1/chat/completions", headers={"content-type": content_type}, body=body).status == 200
    )


def test_a_body_in_chunks_is_taken(relay: Relay) -> None:
    body = chat_body(stream=False, simulate={"text": "whole"})
    parts = [body[at : at + 7] for at in range(0, len(body), 7)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
    answer = ask(
        relay.port, "POST", "/v1/chat/completions", headers={**JSON, "transfer-encoding": "chunked"}, body=framed
    )
    assert answer.json["choices"][0]["message"]["content"] == "whole"


@pytest.mark.parametrize("path", ["/v2", "/v1", "/v1/embeddings", "/v1/streams/", "/v1/chat/completions/"])
def test_an_unknown_endpoint_names_those_that_exist(relay: Relay, path: str) -> None:
    answer = ask(relay.port, "GET", path)
    assert (answer.status, answer.error["code"]) == (404, "endpoint_not_found")
    for endpoint in ENDPOINTS:
        assert endpoint in answer.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("POST", "/healthz", "GET"),
        ("OPTIONS", "/v1/models", "GET"),
    ],
)
def test_a_wrong_method_names_the_right_ones(relay: Relay, method: str, path: str, allowed: str) -> None:
    answer = ask(relay.port, method, path)
    assert (answer.status, answer.error["code"], answer.headers["allow"]) == (405, "method_not_allowed", allowed)


def test_health_and_readiness(relay: Relay) -> None:
    assert relay.get_json("/healthz")["status"] == "ok"
    assert relay.get_json("/readyz") == {"status": "ready"}


def test_metrics_have_the_essentials(relay: Relay) -> None:
    with chat(relay.port, simulate={"tokens": 3}) as exchange:
        exchange.read()
    ask(relay.port, "GET", "/nothing")
    answer = ask(relay.port, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    for name in METRICS:
        assert f"\n{name}" in text
    assert '\nheadrace_streams_total{cause="stop",state="completed"}' in text
    assert relay.metric("headrace_time_to_first_token_seconds_count") >= 1


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
def test_an_answer_names_its_stream_and_request_and_must_not_be_buffered(relay: Relay, stream: bool) -> None:
    with chat(relay.port, stream=stream, simulate={"tokens": 2}) as exchange:
        exchange.read()
    headers = exchange.headers
    assert headers.items() >= NO_BUFFERING.items()
    assert relay.stream(headers["headrace-stream-id"])["request_id"] == headers["x-request-id"]
    assert headers["content-type"].startswith("text/event-stream" if stream else "application/json")
    followed = ask(relay.port, "GET", f"/v1/streams/{headers['headrace-stream-id']}/events")
    assert followed.headers.items() >= NO_BUFFERING.items()
    assert followed.headers["headrace-stream-id"] == headers["headrace-stream-id"]
    assert followed.headers["x-request-id"] != headers["x-request-id"]


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
def test_an_error_of_a_stream_names_it_and_forbids_a_retry(relay: Relay, stream: bool) -> None:
    with chat(relay.port, stream=stream, simulate={"fault": {"kind": "status", "code": 500}}) as exchange:
        error = json.loads(exchange.read())["error"]
    assert (exchange.status, exchange.headers["x-should-retry"]) == (502, "false")
    assert error["stream_id"] == exchange.headers["headrace-stream-id"]
    assert exchange.headers.items() >= NO_BUFFERING.items()


@pytest.mark.parametrize("path", ["/nothing", "/v1/streams/nothing", "/v1/models"])
def test_every_answer_has_a_request_id(relay: Relay, path: str) -> None:
    assert ask(relay.port, "GET", path).headers["x-request-id"].startswith("req_")


def test_a_request_without_a_model_gets_the_one_served(relay: Relay, simulator: Simulator) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "simulate": {"tokens": 1}}).encode()
    answer = ask(relay.port, "POST", "/v1/chat/completions", headers=JSON, body=body)
    assert (answer.status, answer.json["model"]) == (200, "sim")
    assert simulator.requests()[-1]["model"] == "sim"


def test_only_listed_headers_reach_the_engine(relay: Relay, simulator: Simulator) -> None:
    sent = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "authorization": "Bearer sk-client",
        "cookie": "session=1",
        "x-custom": "1",
        "user-agent": "somebody",
    }
    with chat(relay.port, headers=sent, simulate={"tokens": 1}) as exchange:
        exchange.read()
    arrived = simulator.requests()[-1]["headers"]
    assert arrived["traceparent"] == sent["traceparent"]
    assert not {"authorization", "cookie", "x-custom"} & arrived.keys()
    assert arrived.get("user-agent") != "somebody"
    assert arrived["accept-encoding"] == "identity"
