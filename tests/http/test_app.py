"""Routing: unknown endpoints name the known ones, and what goes wrong inside says nothing of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.node import node_in_process

from headrace.http.app import ROUTES, App, Route
from headrace.http.exchange import Exchange


async def test_an_unknown_endpoint_names_those_there_are() -> None:
    async with node_in_process() as relay:
        reply = await relay.call("GET", "/v2/nothing")
        assert reply.status == 404
        for route in ROUTES:
            assert f"{route.method} {route.path}" in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/chat/completions", "POST"), ("PUT", "/v1/streams/x", "DELETE, GET"), ("POST", "/healthz", "GET")],
)
async def test_a_wrong_method_names_the_right_ones(method: str, path: str, allowed: str) -> None:
    async with node_in_process() as relay:
        reply = await relay.call(method, path)
        assert reply.status == 405
        assert allowed in reply.json["error"]["message"]


async def test_a_failure_inside_is_a_500_without_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(exchange: Exchange) -> None:
        raise RuntimeError("a secret")

    async with node_in_process() as relay:
        app = App(relay.node, (Route("GET", "/fail", fail),))
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        with caplog.at_level(logging.CRITICAL):
            await app({"type": "http", "method": "GET", "path": "/fail", "headers": []}, receive, send)
        assert sent[0]["status"] == 500
        assert b"secret" not in sent[1]["body"]


async def test_small_routes_answer() -> None:
    async with node_in_process() as relay:
        assert (await relay.call("GET", "/healthz")).json["status"] == "ok"
        assert (await relay.call("GET", "/readyz")).status == 200
        assert (await relay.call("GET", "/v1/models")).json["data"][0]["id"] == "scripted"
        await relay.chat(simulate={"tokens": 2})
        metrics = (await relay.call("GET", "/metrics")).body
        assert b'headrace_streams_total{cause="stop",state="completed"} 1.0' in metrics
        assert b"headrace_time_to_first_token_seconds_count 1.0" in metrics
        assert b"headrace_streams_active 0.0" in metrics


async def test_a_draining_node_is_not_ready_and_takes_nothing_new() -> None:
    async with node_in_process() as relay:
        await relay.node.supervisor.drain(timeout_s=0)
        assert (await relay.call("GET", "/readyz")).status == 503
        assert (await relay.chat()).status == 503
        assert (await relay.call("GET", "/healthz")).status == 200
