"""Small read-only routes: models, health, readiness, metrics."""

from __future__ import annotations

from headrace.errors import Overloaded
from headrace.http.exchange import Exchange
from headrace.observe.metrics import CONTENT_TYPE


async def models(exchange: Exchange) -> None:
    """``GET /v1/models`` by OpenAI's contract."""
    node = exchange.node
    names = node.models if node.models is not None else await node.supervisor.engine.models()
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "headrace"} for name in names]
    await exchange.respond_json({"object": "list", "data": data})


async def healthz(exchange: Exchange) -> None:
    """The process answers."""
    await exchange.respond_json({"status": "ok", "streams": len(exchange.node.supervisor)})


async def readyz(exchange: Exchange) -> None:
    """New streams are taken."""
    if exchange.node.supervisor.is_draining:
        raise Overloaded("the relay is shutting down", status=503, code="shutting_down", retry_after_s=1.0)
    await exchange.respond_json({"status": "ready"})


async def metrics(exchange: Exchange) -> None:
    """``GET /metrics`` for Prometheus."""
    await exchange.respond(200, exchange.node.metrics.text(), content_type=CONTENT_TYPE.encode())
