"""How a stream is answered over HTTP, whichever route started it: bit by bit, as one object, or as an early error."""

from __future__ import annotations

from headrace.delivery.consumer import Consumer
from headrace.delivery.options import DeliveryOptions
from headrace.delivery.writer import write
from headrace.http.asgi import Headers
from headrace.http.exchange import NO_BUFFERING, Exchange
from headrace.http.headers import retry_after
from headrace.policy.timeouts import Timeouts
from headrace.protocol.assemble import CompletionAssembler
from headrace.protocol.encoders import Encoder
from headrace.protocol.errors import end_error
from headrace.protocol.status import http_status_of
from headrace.pump.pump import Pump
from headrace.stream.log import StreamLog
from headrace.types.outcome import Cause, Durability, End

HEAD_GRACE_S = 0.25
"""How close behind ``head_wait_s`` a first-token time-out is waited for."""

MAX_BLOCKING_BYTES = 64 * 1024 * 1024
"""Log size from which a blocking answer is given up: it is assembled in memory."""


def stream_headers(log: StreamLog) -> Headers:
    """Return the headers of every answer that has a stream behind it."""
    headers: Headers = [(b"headrace-stream-id", log.stream_id.encode())]
    if log.durability is Durability.DEGRADED:
        headers.append((b"headrace-durability", b"degraded"))
    return headers


async def answer_streaming(
    exchange: Exchange, pump: Pump, consumer: Consumer, encoder: Encoder, options: DeliveryOptions
) -> None:
    """Answer bit by bit; with a plain HTTP error when the stream fails before the head is out."""
    log = pump.log
    lingers = pump.order.linger_s is not None
    await consumer.content(within_s=0.0 if lingers else _head_wait_s(exchange.node.timeouts))
    end = log.published_end
    if end is not None and end.is_error and not log.has_published_content:
        await _respond_end(exchange, log, end, partial_text=None)
        return
    await follow(exchange, log, consumer, encoder, options)


async def follow(
    exchange: Exchange,
    log: StreamLog,
    consumer: Consumer,
    encoder: Encoder,
    options: DeliveryOptions,
    *,
    first: bytes = b"",
) -> None:
    """Write the log from the consumer's position to its end, ``first`` before it."""
    await exchange.start_stream(encoder.content_type, stream_headers(log))
    if first:
        await exchange.send(first)
    await write(consumer, encoder, exchange.send, observer=exchange.node.metrics, merge=options.merge)
    await exchange.finish()


async def answer_blocking(exchange: Exchange, pump: Pump, consumer: Consumer) -> None:
    """Answer with one JSON object, assembled from the log."""
    log = pump.log
    assembler = CompletionAssembler(pump.order.engine_request.endpoint)
    while True:
        delivery = await consumer.next()
        consumer.held()
        for segment in delivery.segments:
            assembler.add(segment.data)
        if delivery.end is not None:
            break
        if log.bytes > MAX_BLOCKING_BYTES:
            pump.stop(Cause.EVENT_TOO_LARGE, f"a blocking answer may have {MAX_BLOCKING_BYTES} bytes; stream it")
    end = delivery.end
    exchange.require_peer()
    if end.is_error:
        await _respond_end(exchange, log, end, partial_text=assembler.text)
    else:
        completion = assembler.completion(usage=end.usage)
        await exchange.respond(200, completion, headers=[*NO_BUFFERING, *stream_headers(log)])
    consumer.sent(0)


def _head_wait_s(timeouts: Timeouts) -> float:
    """Return how long the head waits: a first-token time-out close behind is waited for, so that it is still a 504."""
    if timeouts.first_token_s <= timeouts.head_wait_s + HEAD_GRACE_S:
        return timeouts.first_token_s + HEAD_GRACE_S
    return timeouts.head_wait_s


async def _respond_end(exchange: Exchange, log: StreamLog, end: End, *, partial_text: str | None) -> None:
    """Send the end of a stream as an HTTP error. It had a stream, so SDKs must not retry it."""
    headers = [(b"x-should-retry", b"false"), *NO_BUFFERING, *stream_headers(log)]
    if end.retry_after_s is not None:
        headers.append(retry_after(end.retry_after_s))
    error = end_error(end, stream_id=log.stream_id, partial_text=partial_text)
    await exchange.respond_json({"error": error}, status=http_status_of(end), headers=headers)
