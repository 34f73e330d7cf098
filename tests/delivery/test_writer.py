"""The writer: one write for all that is new, and an error in its own protocol for what is gone."""

from __future__ import annotations

from typing import Any, cast

from headrace.delivery.consumer import HEARTBEAT, Consumer, Delivery
from headrace.delivery.writer import encode, write
from headrace.errors import StreamGone
from headrace.protocol.encoders import ChatSSEEncoder, EventsNDJSONEncoder
from headrace.stream.segment import Segment
from headrace.types.ids import Offset
from headrace.types.outcome import Cause, End, State

END = End(state=State.COMPLETED, cause=Cause.STOP)


class FakeConsumer:
    """Hands out what it was given; an exception is raised."""

    def __init__(self, *deliveries: Any) -> None:
        self.deliveries = list(deliveries)
        self.position = Offset(3)
        self.written = 0

    async def next(self) -> Delivery:
        delivery = self.deliveries.pop(0)
        if isinstance(delivery, Exception):
            raise delivery
        return cast("Delivery", delivery)

    def sent(self, written_bytes: int) -> None:
        self.written += written_bytes


class Observer:
    """Remembers what was delivered."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}

    def delivered(self, **totals: int) -> None:
        self.totals = totals


async def written(*deliveries: Any) -> tuple[list[bytes], FakeConsumer]:
    consumer, sent = FakeConsumer(*deliveries), []

    async def send(body: bytes) -> None:
        sent.append(body)

    await write(cast("Consumer", consumer), ChatSSEEncoder(stream_id="s"), send, observer=Observer())
    return sent, consumer


async def test_each_delivery_is_one_write_and_the_end_is_the_last() -> None:
    segments = [Segment(Offset(0), 1, b"{}"), Segment(Offset(1), 2, b"{}\n{}")]
    sent, consumer = await written(Delivery(segments, None), HEARTBEAT, Delivery([], END))
    assert sent == [b"data: {}\n\n" * 3, b": ping\n\n", b"data: [DONE]\n\n"]
    assert consumer.written == sum(map(len, sent))


async def test_what_is_gone_ends_the_response_with_an_error() -> None:
    sent, _ = await written(StreamGone("no longer kept"))
    assert len(sent) == 1
    assert sent[0].startswith(b'data: {"error":{"message":"no longer kept"')


def test_the_end_entry_has_the_offset_after_the_last_entry() -> None:
    delivery = Delivery([Segment(Offset(2), 1, b"{}")], END)
    body = encode(delivery, EventsNDJSONEncoder(), 3)
    assert body.startswith(b'{"offset":2,"chunk":{}}\n{"offset":3,"end":')


async def test_what_was_delivered_is_counted_whichever_way_it_ends() -> None:
    lines = [b'{"choices":[{"delta":{"content":"%d"}}]}' % number for number in range(3)]
    consumer, observer = FakeConsumer(Delivery([Segment(Offset(3), 3, b"\n".join(lines))], END)), Observer()
    consumer.position = Offset(3)
    sent: list[bytes] = []

    async def send(body: bytes) -> None:
        consumer.position = Offset(6)
        sent.append(body)

    await write(cast("Consumer", consumer), EventsNDJSONEncoder(), send, observer=observer, merge=True)
    (body,) = sent
    assert body.startswith(b'{"offset":5,"chunk":{"choices":[{"delta":{"content":"012"}}]}}\n')
    assert observer.totals == {"entries": 3, "writes": 1, "written_bytes": len(body), "merged_bytes": 2 * len(lines[0])}
