"""Recovery: what a crash left open is closed, with every entry and a record that says so."""

from __future__ import annotations

from headrace.pump.recovery import recover
from headrace.stores.memory import MemoryRecords, MemoryStore
from headrace.stream.segment import Segment
from headrace.stream.store import Append, Batch, Lease, Opening, Seal
from headrace.types.ids import Offset, RequestId, StreamId
from headrace.types.outcome import Cause, End, State
from headrace.types.record import Record

ROLE = b'{"choices":[{"delta":{"role":"assistant"}}]}'
TEXT = b'{"choices":[{"delta":{"content":"a"}}]}'
ODD = b'{"choices":"odd"}'


def record(name: str) -> Record:
    return Record(
        id=RequestId(f"r-{name}"),
        stream_id=StreamId(name),
        owner="",
        model="m",
        engine="e",
        accepted_at=1.0,
        state=State.IN_PROGRESS,
    )


async def test_open_streams_are_closed_as_lost_and_ended_ones_left_alone() -> None:
    store, records = MemoryStore(max_bytes=1 << 20), MemoryRecords(max_records=10)
    async with store, records:
        left, done = Lease(StreamId("left"), "node", 1), Lease(StreamId("done"), "node", 1)
        finished = End(state=State.COMPLETED, cause=Cause.STOP)
        await store.renew("node", lease_s=10, now=0)
        await store.commit(
            Batch(
                openings=[Opening(left, "", 1.0), Opening(done, "", 1.0)],
                appends=[
                    Append(left, Segment(Offset(0), 2, ROLE + b"\n" + TEXT)),
                    Append(left, Segment(Offset(2), 2, TEXT + b"\n" + TEXT)),
                    Append(left, Segment(Offset(4), 1, ODD)),
                ],
                seals=[Seal(done, finished, Offset(0), 2.0)],
            )
        )
        await records.save([record("left"), record("done")])
        closed = await recover(store, records, node="node", lease_s=10, wall_time=lambda: 5.0)
        assert [(row.stream_id, row.state, row.cause) for row in closed] == [("left", State.TRUNCATED, Cause.NODE_LOST)]
        assert (closed[0].entries, closed[0].completion_tokens, closed[0].ended_at) == (5, 3, 5.0)
        assert closed[0].bytes == len(ROLE) + 3 * len(TEXT) + len(ODD)
        found = await store.find(StreamId("left"))
        assert found is not None
        assert found.end is not None
        assert (found.entries, found.end.cause) == (5, Cause.NODE_LOST)
        assert await records.get(RequestId("r-left")) == closed[0]
        untouched = await store.find(StreamId("done"))
        assert untouched is not None
        assert untouched.end == finished
        assert await recover(store, records, node="node", lease_s=10, wall_time=lambda: 6.0) == []
