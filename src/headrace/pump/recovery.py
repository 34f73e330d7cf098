"""What a restart does first: close the streams that a crash left open, and charge what they cost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from headrace.stream.store import Batch, Lease, OpenLog, Records, Seal, Store
from headrace.types.bill import Bill
from headrace.types.chunk import ChunkView
from headrace.types.ids import Offset
from headrace.types.outcome import Cause, End, State, TokenSource
from headrace.types.record import Record

logger = logging.getLogger(__name__)

PAGE_BYTES = 1024 * 1024
"""How much of a log is held in memory while its tokens are counted."""

PAGE_FLUSHES = 1000
"""How many flushes of a log are held in memory while its bytes are counted."""


async def recover(
    store: Store,
    records: Records,
    *,
    node: str,
    lease_s: float,
    wall_time: Callable[[], float],
    bill: Callable[[Record], Bill],
) -> list[Record]:
    """End every open log that this node, or a node whose lease ran out, has left, as ``truncated/node_lost``.

    Logs are sealed, and their open records closed and entered into the usage, in one commit: a crash in between leaves
    all of it to the next start, and a record that had ended before is left as it is.

    Args:
        store: Keeps the logs.
        records: Keeps their records.
        node: Whose logs are taken over, beside those of nodes that are gone.
        lease_s: How long the node's lease lasts from now on.
        wall_time: Tells the time, in Unix seconds.
        bill: Returns the bill of a record, which is closed but for its bill.

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
        still_open = [record for record in await records.of_stream(left.stream_id) if _is_open(record)]
        end = _end(still_open, tokens)
        seals.append(Seal(Lease(left.stream_id, node, left.epoch), end, left.entries, now))
        for record in still_open:
            lost = msgspec.structs.replace(
                record,
                state=end.state,
                cause=end.cause,
                ended_at=now,
                completion_tokens=tokens,
                tokens_source=TokenSource.COUNTED,
                entries=left.entries,
                bytes=size,
                generated_tokens=tokens if record.log_id is None else 0,
                delivered_tokens=tokens,  # all that the log has can be had by resuming
            )
            lost = msgspec.structs.replace(lost, bill=bill(lost) if record.log_id is None else Bill())
            if record.state.is_terminal:
                lost = msgspec.structs.replace(lost, state=record.state, cause=record.cause, ended_at=record.ended_at)
            closed.append(lost)
    if seals:
        await asyncio.gather(records.save(closed), store.commit(Batch(seals=seals)))
        logger.warning("closed %d streams that a crash left open", len(seals))
    return closed


def _is_open(record: Record) -> bool:
    """Return whether a record lacks something: its end, or its bill, where its client had left the stream to others."""
    return not record.state.is_terminal or (record.log_id is None and record.bill is None)


def _end(lost: Sequence[Record], tokens: int) -> End:
    """Return the end of a log whose requests were these."""
    prompt_tokens = max((record.prompt_tokens for record in lost), default=0)
    return End(
        state=State.TRUNCATED,
        cause=Cause.NODE_LOST,
        usage={
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
        },
        tokens_source=TokenSource.COUNTED,
        message="the relay died while this stream ran",
    )


async def _count(store: Store, left: OpenLog) -> tuple[int, int]:
    """Return how many tokens and how many bytes of JSON a log has."""
    if not left.tokens:  # none, or written by a version that did not note them: only the entries tell
        return await _count_entries(store, left)
    size = 0
    after = Offset(-1)
    while page := await store.flushes(left.stream_id, after=after, limit=PAGE_FLUSHES):
        size += sum([flush.bytes for flush in page])
        after = page[-1].offset
    return left.tokens, size


async def _count_entries(store: Store, left: OpenLog) -> tuple[int, int]:
    """Count as the pump would have."""
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
            tokens += sum(choice.tokens for view in views for choice in view.choices)
    return tokens, size
