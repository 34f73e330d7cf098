"""How a stream is answered over HTTP, whichever route started it: bit by bit, as one object, or as an early error."""

from __future__ import annotations

from headrace.delivery.consumer import Consumer
from headrace.delivery.options import DeliveryOptions
from headrace.delivery.writer import write
from headrace.errors import UpstreamError
from headrace.http.exchange import NO_BUFFERING, Exchange
from headrace.http.followed import Followed
from headrace.http.headers import retry_after
from headrace.http.intake import Begun
from headrace.policy.timeouts import Timeouts
from headrace.protocol.assemble import CompletionAssembler
from headrace.protocol.encoders import Encoder
from headrace.protocol.errors import end_error
from headrace.protocol.status import http_status_of
from headrace.types.engine import Endpoint
from headrace.types.outcome import End

HEAD_GRACE_S = 0.25
"""How close behind ``head_wait_s`` a first-token time-out is waited for."""

MAX_BLOCKING_BYTES = 64 * 1024 * 1024
"""Log size from which a blocking answer is given up: it is assembled in memory."""


async def answer_streaming(
    exchange: Exchange, begun: Begun, consumer: Consumer, encoder: Encoder, options: DeliveryOptions
) -> None:
    """Answer bit by bit; with a plain HTTP error when the stream fails before the head is out."""
    followed = begun.followed
    log = followed.log
    await consumer.content(within_s=0.0 if followed.lingers else _head_wait_s(exchange.node.timeouts))
    end = log.published_end
    if end is not None and end.is_error and not log.has_published_content:
        await _respond_end(exchange, followed, end, partial_text=None)
        return
    await follow(exchange, followed, consumer, encoder, options)


async def follow(
    exchange: Exchange,
    followed: Followed,
    consumer: Consumer,
    encoder: Encoder,
    options: DeliveryOptions,
    *,
    first: bytes = b"",
) -> None:
    """Write the log from the consumer's position to its end, ``first`` before it."""
    await exchange.start_stream(encoder.content_type, followed.headers())
    if first:
        await exchange.send(first)
    await write(consumer, encoder, exchange.send, observer=exchange.node.metrics, merge=options.merge)
    await exchange.finish()


async def answer_blocking(exchange: Exchange, begun: Begun, consumer: Consumer, endpoint: Endpoint) -> None:
    """Answer with one JSON object, assembled from the log."""
    followed = begun.followed
    assembler = CompletionAssembler(endpoint)
    size = 0
    while True:
        delivery = await consumer.next()
        consumer.held()
        for segment in delivery.segments:
            assembler.add(segment.data)
            size += len(segment.data)
        if delivery.end is not None:
            break
        if size > MAX_BLOCKING_BYTES:
            _give_up(begun)
    end = delivery.end
    exchange.require_peer()
    if end.is_error:
        await _respond_end(exchange, followed, end, partial_text=assembler.text)
    else:
        completion = assembler.completion(usage=end.usage)
        await exchange.respond(200, completion, headers=[*NO_BUFFERING, *followed.headers()])
    consumer.sent(0)


def _give_up(begun: Begun) -> None:
    """End an answer that does not fit into one object.

    Raises:
        UpstreamError: It is another request's too, and goes on for that.
    """
    message = f"a blocking answer may have {MAX_BLOCKING_BYTES} bytes; stream it"
    if begun.stop is None:
        raise UpstreamError(message, code="event_too_large")
    begun.stop(message)


def _head_wait_s(timeouts: Timeouts) -> float:
    """Return how long the head waits: a first-token time-out close behind is waited for, so that it is still a 504."""
    if timeouts.first_token_s <= timeouts.head_wait_s + HEAD_GRACE_S:
        return timeouts.first_token_s + HEAD_GRACE_S
    return timeouts.head_wait_s


async def _respond_end(exchange: Exchange, followed: Followed, end: End, *, partial_text: str | None) -> None:
    """Send the end of a stream as an HTTP error. It had a stream, so SDKs must not retry it."""
    headers = [(b"x-should-retry", b"false"), *NO_BUFFERING, *followed.headers()]
    if end.retry_after_s is not None:
        headers.append(retry_after(end.retry_after_s))
    error = end_error(end, stream_id=followed.stream_id, partial_text=partial_text)
    await exchange.respond_json({"error": error}, status=http_status_of(end), headers=headers)
