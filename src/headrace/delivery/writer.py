"""The writer: drives one encoder from one consumer, one write for all that is new."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from headrace.delivery.consumer import Consumer, Delivery
from headrace.delivery.merging import MergingEncoder
from headrace.errors import RelayError
from headrace.protocol.encoders import Encoder


class DeliveryObserver(Protocol):
    """Who counts what goes out."""

    def delivered(self, *, entries: int, writes: int, written_bytes: int, merged_bytes: int) -> None:
        """A client was served to the end, or left.

        Args:
            entries: Log entries delivered.
            writes: In so many writes, signs of life included.
            written_bytes: Handed to the connection, before it is compressed.
            merged_bytes: Bytes of JSON that merging saved.
        """


async def write(
    consumer: Consumer,
    encoder: Encoder,
    send: Callable[[bytes], Awaitable[None]],
    *,
    observer: DeliveryObserver,
    merge: bool = False,
) -> None:
    """Write the log from the consumer's position to its end.

    What can no longer be read ends the response with an error in its own protocol.

    Args:
        consumer: Says what comes next.
        encoder: Puts it into bytes.
        send: Writes them; waits while the peer takes nothing.
        observer: Told at the end what was delivered.
        merge: Send entries that differ in their text only as one.

    Raises:
        ConsumerClosed: The peer left or was too slow; nothing more can be written.
    """
    merging = MergingEncoder(encoder) if merge else None
    writing: Encoder = merging or encoder
    first = consumer.position
    writes = written_bytes = 0
    try:
        while True:
            try:
                delivery = await consumer.next()
            except RelayError as error:
                await send(encoder.error(error))
                return
            body = encode(delivery, writing, consumer.position)
            await send(body)
            consumer.sent(len(body))
            writes += 1
            written_bytes += len(body)
            if delivery.end is not None:
                return
    finally:
        observer.delivered(
            entries=consumer.position - first,
            writes=writes,
            written_bytes=written_bytes,
            merged_bytes=merging.saved_bytes if merging is not None else 0,
        )


def encode(delivery: Delivery, encoder: Encoder, next_offset: int) -> bytes:
    """Return the bytes of one delivery; ``next_offset`` is the offset of the end entry when it is in it."""
    segments, end = delivery.segments, delivery.end
    if not segments:
        return encoder.ping() if end is None else encoder.end(end, next_offset)
    if len(segments) == 1:
        count, data = segments[0].count, segments[0].data
    else:
        count = sum([segment.count for segment in segments])
        data = b"\n".join([segment.data for segment in segments])
    body = encoder.entries(segments[0].first, count, data)
    return body if end is None else body + encoder.end(end, next_offset)
