"""The writer: drives one encoder from one consumer, one write for all that is new."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from headrace.delivery.consumer import Consumer, Delivery
from headrace.errors import RelayError
from headrace.protocol.encoders import Encoder


async def write(consumer: Consumer, encoder: Encoder, send: Callable[[bytes], Awaitable[None]]) -> None:
    """Write the log from the consumer's position to its end.

    What can no longer be read ends the response with an error in its own protocol.

    Raises:
        ConsumerClosed: The peer left or was too slow; nothing more can be written.
    """
    while True:
        try:
            delivery = await consumer.next()
        except RelayError as error:
            await send(encoder.error(error))
            return
        body = encode(delivery, encoder, consumer.position)
        await send(body)
        consumer.sent(len(body))
        if delivery.end is not None:
            return


def encode(delivery: Delivery, encoder: Encoder, next_offset: int) -> bytes:
    """Return the bytes of one delivery; ``next_offset`` is the offset of the end entry when it is in it."""
    segments, end = delivery.segments, delivery.end
    if len(segments) == 1 and end is None:
        segment = segments[0]
        return encoder.entries(segment.first, segment.count, segment.data)
    parts = [encoder.entries(segment.first, segment.count, segment.data) for segment in segments]
    if end is not None:
        parts.append(encoder.end(end, next_offset))
    return b"".join(parts) if parts else encoder.ping()
