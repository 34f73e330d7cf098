"""The intake: from what a client asks, by whatever door, to an order for the supervisor."""

from __future__ import annotations

from headrace.errors import ClientRequestError, StreamExists
from headrace.http.node import OWNER, Node
from headrace.protocol.request import GenerationRequest, engine_body
from headrace.pump.order import Order
from headrace.types.engine import Endpoint, EngineRequest
from headrace.types.ids import RequestId, StreamId


def order_of(
    node: Node,
    request: GenerationRequest,
    body: bytes,
    *,
    endpoint: Endpoint,
    stream_id: StreamId,
    request_id: RequestId,
    headers: dict[bytes, bytes],
    linger_s: float | None,
    wants_usage: bool,
) -> Order:
    """Turn a request into an order.

    Args:
        node: Says which models are served, and which headers go on.
        request: What the client wants.
        body: The same as it came.
        endpoint: By which contract.
        stream_id: A free one; see ``require_free``.
        request_id: Of the request.
        headers: All headers of the client, by lower-case name.
        linger_s: How long the stream goes on without a consumer; None: not at all.
        wants_usage: Whether the usage chunk is shown.

    Raises:
        ClientRequestError: The model is not served.
    """
    model = request.model if request.model is not None else node.default_model
    if node.models is not None and model not in node.models:
        raise ClientRequestError(
            f"the model {model!r} does not exist here; served: {', '.join(node.models)}",
            status=404,
            code="model_not_found",
            param="model",
        )
    forwarded = tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers.items()
        if name in node.forward_headers
    )
    return Order(
        stream_id=stream_id,
        request_id=request_id,
        owner=OWNER,
        model=model or "",
        engine_request=EngineRequest(
            body=engine_body(body, request, model=node.default_model), headers=forwarded, endpoint=endpoint
        ),
        choices=request.choices,
        wants_usage=wants_usage,
        keeps_content=node.store_content and request.store is not False,
        linger_s=linger_s,
    )


async def require_free(node: Node, stream_id: StreamId, *, param: str) -> None:
    """Make sure that no stream has the id that a client proposes.

    Raises:
        StreamExists: One has.
    """
    supervisor = node.supervisor
    is_here = supervisor.find(stream_id) is not None or supervisor.late(stream_id) is not None
    if is_here or await node.store.find(stream_id) is not None:
        raise StreamExists(f"the stream id {stream_id} is taken", param=param)
