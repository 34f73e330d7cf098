"""``POST /v1/chat/completions``: starts a stream, and follows it for its client, streaming or blocking."""

from __future__ import annotations

import re

from headrace.delivery.consumer import Consumer
from headrace.delivery.writer import write
from headrace.errors import ClientRequestError, StreamExists
from headrace.http.asgi import Headers
from headrace.http.exchange import NO_BUFFERING, Exchange
from headrace.http.headers import retry_after
from headrace.http.node import OWNER, Node, new_stream_id
from headrace.policy.timeouts import Timeouts
from headrace.protocol.assemble import CompletionAssembler
from headrace.protocol.encoders import ChatSSEEncoder
from headrace.protocol.errors import end_error
from headrace.protocol.request import ChatRequest, engine_body, parse_chat_request
from headrace.protocol.status import http_status_of
from headrace.pump.order import Order
from headrace.pump.pump import Pump
from headrace.stream.log import StreamLog
from headrace.types.engine import EngineRequest
from headrace.types.ids import Offset, StreamId
from headrace.types.outcome import Cause, Durability, End

STREAM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

HEAD_GRACE_S = 0.25
"""How close behind ``head_wait_s`` a first-token time-out is waited for."""

MAX_BLOCKING_BYTES = 64 * 1024 * 1024
"""Log size from which a blocking answer is given up: it is assembled in memory."""


async def chat_completions(exchange: Exchange) -> None:
    """Answer one chat request."""
    node = exchange.node
    body = await exchange.body()
    request = parse_chat_request(body, max_choices=node.limits.max_choices)
    order = await _order(exchange, request, body)
    pump = node.supervisor.start(order)
    with node.consumer(pump.log, position=Offset(0), peer=exchange.peer) as consumer:
        answer = _stream if request.stream else _block
        await exchange.watched(consumer, answer(exchange, pump, consumer))


async def _order(exchange: Exchange, request: ChatRequest, body: bytes) -> Order:
    """Turn a request into an order.

    Raises:
        ClientRequestError: The model is not served, or a header has a bad value.
        StreamExists: The proposed stream id is taken.
    """
    node, headers = exchange.node, exchange.headers()
    default_model = node.models[0] if node.models else None
    model = request.model if request.model is not None else default_model
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
        stream_id=await _stream_id(node, headers.get(b"headrace-stream-id")),
        request_id=exchange.request_id,
        owner=OWNER,
        model=model or "",
        engine_request=EngineRequest(body=engine_body(body, request, model=default_model), headers=forwarded),
        choices=request.n or 1,
        wants_usage=bool(request.stream) and request.wants_usage,
        keeps_content=node.store_content and request.store is not False,
        linger_s=_linger_s(node, headers.get(b"headrace-linger")),
    )


async def _stream_id(node: Node, proposed: bytes | None) -> StreamId:
    """Return the id that the client proposes, or a new one."""
    if proposed is None:
        return new_stream_id()
    text = proposed.decode("latin-1")
    if STREAM_ID.fullmatch(text) is None:
        raise ClientRequestError(
            "Headrace-Stream-Id must be 1 to 64 letters, digits, '-' or '_'", param="Headrace-Stream-Id"
        )
    stream_id = StreamId(text)
    supervisor = node.supervisor
    is_here = supervisor.find(stream_id) is not None or supervisor.late(stream_id) is not None
    if is_here or await node.store.find(stream_id) is not None:
        raise StreamExists(f"the stream id {stream_id} is taken", param="Headrace-Stream-Id")
    return stream_id


def _linger_s(node: Node, header: bytes | None) -> float | None:
    """Return how long the client wants the stream to linger; None when it does not ask, or asks for 0.

    ``true`` asks for as long as ``timeouts.linger`` says.
    """
    if header is None:
        return None
    if header == b"true":
        return node.timeouts.linger_s or None
    most = node.limits.max_linger_s
    try:
        seconds = float(header)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= most:
        raise ClientRequestError(
            f"Headrace-Linger must be seconds between 0 and {most:g}, or true", param="Headrace-Linger"
        )
    return seconds or None


def stream_headers(log: StreamLog) -> Headers:
    """Return the headers of every answer that has a stream behind it."""
    headers: Headers = [(b"headrace-stream-id", log.stream_id.encode())]
    if log.durability is Durability.DEGRADED:
        headers.append((b"headrace-durability", b"degraded"))
    return headers


async def _stream(exchange: Exchange, pump: Pump, consumer: Consumer) -> None:
    """Answer with SSE; with a plain HTTP error when the stream fails before the head is out."""
    log = pump.log
    lingers = pump.order.linger_s is not None
    await consumer.content(within_s=0.0 if lingers else _head_wait_s(exchange.node.timeouts))
    end = log.published_end
    if end is not None and end.is_error and not log.has_published_content:
        await _respond_end(exchange, log, end, partial_text=None)
        return
    encoder = ChatSSEEncoder(stream_id=log.stream_id)
    content_type = (b"content-type", encoder.content_type.encode())
    await exchange.start(200, [content_type, *NO_BUFFERING, *stream_headers(log)])
    await write(consumer, encoder, exchange.send)
    await exchange.finish()


def _head_wait_s(timeouts: Timeouts) -> float:
    """Return how long the head waits: a first-token time-out close behind is waited for, so that it is still a 504."""
    if timeouts.first_token_s <= timeouts.head_wait_s + HEAD_GRACE_S:
        return timeouts.first_token_s + HEAD_GRACE_S
    return timeouts.head_wait_s


async def _block(exchange: Exchange, pump: Pump, consumer: Consumer) -> None:
    """Answer with one JSON object, assembled from the log."""
    log = pump.log
    assembler = CompletionAssembler()
    while True:
        delivery = await consumer.next()
        consumer.sent(0)
        for segment in delivery.segments:
            assembler.add(segment.data)
        if delivery.end is not None:
            break
        if log.bytes > MAX_BLOCKING_BYTES:
            pump.stop(Cause.EVENT_TOO_LARGE, f"a blocking answer may have {MAX_BLOCKING_BYTES} bytes; stream it")
    end = delivery.end
    if end.is_error:
        await _respond_end(exchange, log, end, partial_text=assembler.text)
        return
    await exchange.respond(200, assembler.completion(usage=end.usage), headers=[*NO_BUFFERING, *stream_headers(log)])


async def _respond_end(exchange: Exchange, log: StreamLog, end: End, *, partial_text: str | None) -> None:
    """Send the end of a stream as an HTTP error. It had a stream, so SDKs must not retry it."""
    headers = [(b"x-should-retry", b"false"), *NO_BUFFERING, *stream_headers(log)]
    if end.retry_after_s is not None:
        headers.append(retry_after(end.retry_after_s))
    error = end_error(end, stream_id=log.stream_id, partial_text=partial_text)
    await exchange.respond_json({"error": error}, status=http_status_of(end), headers=headers)
