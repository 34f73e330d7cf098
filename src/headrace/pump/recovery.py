"""What a restart does first: close the streams that a crash left open."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from headrace.stream.store import Batch, Lease, OpenLog, Records, Seal, Store
from headrace.types.chunk import ChunkView
from headrace.types.ids import Offset
from headrace.types.outcome import Cause, End, State, TokenSource
from headrace.types.record import Record

logger = logging.getLogger(__name__)

PAGE_BYTES = 1024 * 1024
"""How much of a log is held in memory while its tokens are counted."""


async def recover(
    store: Store, records: Records, *, node: str, lease_s: float, wall_time: Callable[[], float]
) -> list[Record]:
    """End every open log that this node, or a node whose lease ran out, has left, as ``truncated/node_lost``.

    Returns:
        The records as they were closed. When it returns, all of them are durable.

    Raises:
        StoreError: The store failed; the node must not serve.
    """
    now = wall_time()
    closed: list[Record] = []
    seals: list[Seal] = []
    for left in await store.claim(node, lease_s=lease_s, now=now):
        tokens, size = await _count(store, left)
        usage = {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens}
        end = End(
            state=State.TRUNCATED,
            cause=Cause.NODE_LOST,
            usage=usage,
            tokens_source=TokenSource.COUNTED,
            message="the relay died while this stream ran",
        )
        seals.append(Seal(Lease(left.stream_id, node, left.epoch), end, left.entries, now))
        closed += [
            msgspec.structs.replace(
                record,
                state=end.state,
                cause=end.cause,
                ended_at=now,
                completion_tokens=tokens,
                tokens_source=TokenSource.COUNTED,
                entries=left.entries,
                bytes=size,
            )
            for record in await records.of_stream(left.stream_id)
        ]
    if seals:
        saved = records.save(closed)
        await store.commit(Batch(seals=seals))
        await saved
        logger.warning("closed %d streams that a crash left open", len(seals))
    return closed


async def _count(store: Store, left: OpenLog) -> tuple[int, int]:
    """Count content-bearing deltas and bytes of JSON, as the pump would have."""
    decode = msgspec.json.Decoder(ChunkView).decode_lines
    tokens = size = 0
    after = Offset(-1)
    while after < left.entries - 1:
        for segment in await store.read(left.stream_id, after=after, max_bytes=PAGE_BYTES):
            after = Offset(segment.next - 1)
            size += segment.json_bytes
            try:
                views = decode(segment.data)
            except msgspec.ValidationError:
                # Vendors' odd chunks are kept verbatim and not counted here.
                continue
            tokens += sum(choice.delta.bears_content for view in views for choice in view.choices)
    return tokens, size
