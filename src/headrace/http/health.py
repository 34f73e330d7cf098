"""Small read-only routes: models, health, readiness, metrics."""

from __future__ import annotations

from headrace.errors import Overloaded
from headrace.http.exchange import Exchange
from headrace.http.node import Node
from headrace.observe.metrics import CONTENT_TYPE


async def models(exchange: Exchange) -> None:
    """``GET /v1/models`` by OpenAI's contract: those that the caller may ask for."""
    node, key = exchange.node, exchange.caller.key
    names = await models_of(node)
    if key is not None and key.models is not None:
        names = [name for name in names if name in key.models]
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "headrace"} for name in names]
    await exchange.respond_json({"object": "list", "data": data})


async def models_of(node: Node) -> list[str]:
    """Return the models served: those of the default engine, and those with a route of their own.

    Raises:
        UpstreamError: The default engine could not be asked.
    """
    engines = node.engines
    names = node.models if node.models is not None else await engines.engines[engines.default].models()
    return list(dict.fromkeys([*names, *node.routes.names]))


async def engines(exchange: Exchange) -> None:
    """``GET /v1/engines``: how each model of each engine has done of late, for an admin."""
    node = exchange.node
    reports = node.engines.health.reports(node.clocks.monotonic_s())
    await exchange.respond_json({"object": "list", "data": reports})


async def healthz(exchange: Exchange) -> None:
    """The process answers. Nobody shows a key here, so with keys it does not say how many streams there are."""
    node = exchange.node
    streams = {} if node.gate.is_shut else {"streams": len(node.supervisor)}
    await exchange.respond_json({"status": "ok", **streams})


async def readyz(exchange: Exchange) -> None:
    """New streams are taken."""
    if exchange.node.supervisor.is_draining:
        raise Overloaded("the relay is shutting down", status=503, code="shutting_down", retry_after_s=1.0)
    await exchange.respond_json({"status": "ready"})


async def metrics(exchange: Exchange) -> None:
    """``GET /metrics`` for Prometheus: everything for an admin, for others what is their own."""
    caller, counted = exchange.caller, exchange.node.metrics
    text = counted.text() if caller.is_admin else counted.text_of_owner(caller.owner)
    await exchange.respond(200, text, content_type=CONTENT_TYPE.encode())
