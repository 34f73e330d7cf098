"""What every store of logs and records promises (``headrace.stream.store``)."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.stores.kit import (
    DONE,
    PAGE,
    append,
    lines_of,
    opening,
    read_all,
    record,
    seal,
    segment,
    write,
    write_sealed,
)

from headrace.errors import StreamGone, StreamNotFound
from headrace.stream.segment import Flush, Segment
from headrace.stream.store import (
    Batch,
    OpenLog,
    Records,
    Store,
)
from headrace.types.ids import Offset, RequestId, StreamId
from headrace.types.outcome import Cause, State
from headrace.types.record import Perceived, Source

S = StreamId("s")
NAMES = itertools.count()
IN_FIXTURE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class TestCommit:
    async def test_entries_come_back_byte_for_byte_in_order(self, store: Store) -> None:
        await write(store, "s", [b'{"a":1}', b'{"b":"\xc3\xbc"}'], [b"{}"])
        assert await store.read(S, after=Offset(-1), max_bytes=PAGE) == [
            segment(0, b'{"a":1}', b'{"b":"\xc3\xbc"}'),
            segment(2, b"{}"),
        ]

    async def test_one_batch_may_open_append_and_seal(self, store: Store) -> None:
        await store.commit(Batch([opening("s")], [append("s", 0, b"1"), append("s", 1, b"2", b"3")], [seal("s", 3)]))
        found = await store.find(S)
        assert found is not None
        assert (found.owner, found.created_at, found.entries, found.end) == ("ann", 100.0, 3, DONE)
        assert await read_all(store, "s") == [b"1", b"2", b"3"]

    async def test_batches_count_in_the_order_they_were_handed_over(self, store: Store) -> None:
        await store.commit(Batch([opening("s")]))
        futures = [store.commit(Batch(appends=[append("s", at, b"%d" % at)])) for at in range(20)]
        for future in futures:
            await future
        assert await read_all(store, "s") == [b"%d" % at for at in range(20)]

    async def test_backlog_is_zero_when_all_is_durable(self, store: Store) -> None:
        future = store.commit(Batch([opening("s")]))
        await future
        assert store.backlog() == 0

    async def test_logs_of_one_batch_do_not_mix(self, store: Store) -> None:
        names = [f"s{number}" for number in range(100)]
        await store.commit(Batch([opening(name) for name in names]))
        for at in range(3):
            await store.commit(Batch(appends=[append(name, at, name.encode()) for name in names]))
        assert all([await read_all(store, name) == [name.encode()] * 3 for name in names])

    @pytest.mark.parametrize("first", [0, 1, 3, 9])
    async def test_an_append_that_leaves_a_gap_or_overlaps_is_left_out(self, store: Store, first: int) -> None:
        await write(store, "s", [b"0", b"1"])
        await store.commit(Batch(appends=[append("s", first, b"x")]))
        assert await read_all(store, "s") == [b"0", b"1"]
        await store.commit(Batch(appends=[append("s", 2, b"2")]))
        assert await read_all(store, "s") == [b"0", b"1", b"2"]

    async def test_a_log_sealed_after_a_gap_keeps_its_end_and_says_which_entries_are_gone(self, store: Store) -> None:
        await write(store, "s", [b"0"])
        await store.commit(Batch(seals=[seal("s", 5)]))
        found = await store.find(S)
        assert found is not None
        assert (found.entries, found.end) == (5, DONE)
        assert lines_of(await store.read(S, after=Offset(-1), max_bytes=PAGE)) == [b"0"]
        with pytest.raises(StreamGone):
            await store.read(S, after=Offset(0), max_bytes=PAGE)
        assert await store.read(S, after=Offset(4), max_bytes=PAGE) == []

    async def test_a_sealed_log_takes_nothing_more(self, store: Store) -> None:
        await write_sealed(store, "s", [b"0"])
        await store.commit(Batch(appends=[append("s", 1, b"x")], seals=[seal("s", 7)]))
        assert await read_all(store, "s") == [b"0"]
        found = await store.find(S)
        assert found is not None
        assert found.entries == 1

    async def test_of_two_seals_in_one_batch_the_first_counts(self, store: Store) -> None:
        await write(store, "s", [b"0"], keeps_content=False)
        await store.commit(Batch(seals=[seal("s", 1), seal("s", 2)]))
        found = await store.find(S)
        assert found is not None
        assert found.entries == 1

    async def test_of_two_openings_in_one_batch_the_first_counts(self, store: Store) -> None:
        await store.commit(Batch([opening("t"), opening("s", owner="ann"), opening("s", owner="bob")]))
        await store.commit(Batch(appends=[append("s", 0, b"0"), append("t", 0, b"1")]))
        found = await store.find(S)
        assert found is not None
        assert (found.owner, found.entries) == ("ann", 1)
        assert await read_all(store, "t") == [b"1"]

    async def test_an_append_after_the_seal_in_the_next_batch_handed_over_is_left_out(self, store: Store) -> None:
        await write(store, "s", [b"0"])
        sealed = store.commit(Batch(seals=[seal("s", 1)]))
        late = store.commit(Batch(appends=[append("s", 1, b"x")]))
        await sealed
        await late
        assert await read_all(store, "s") == [b"0"]

    async def test_what_an_unknown_log_is_sent_is_left_out_and_the_rest_kept(self, store: Store) -> None:
        await store.commit(Batch([opening("s")], [append("other", 0, b"x"), append("s", 0, b"0")], [seal("other", 1)]))
        assert await read_all(store, "s") == [b"0"]
        assert await store.find(StreamId("other")) is None

    async def test_an_opening_of_a_taken_id_is_left_out(self, store: Store) -> None:
        await write_sealed(store, "s", [b"0"])
        await store.commit(Batch([opening("s", owner="eve")], [append("s", 0, b"x")]))
        found = await store.find(S)
        assert found is not None
        assert (found.owner, found.end) == ("ann", DONE)
        assert await read_all(store, "s") == [b"0"]


class TestRead:
    @given(
        runs=st.lists(st.lists(st.binary(max_size=12).map(lambda data: data.hex().encode()), min_size=1), max_size=12),
        max_bytes=st.integers(0, 120),
        after=st.integers(-1, 40),
        is_sealed=st.booleans(),
    )
    @IN_FIXTURE
    async def test_any_page_size_from_any_offset_gives_the_same_lines(
        self, store: Store, runs: list[list[bytes]], max_bytes: int, after: int, is_sealed: bool
    ) -> None:
        name = f"any-{next(NAMES)}"
        await (write_sealed if is_sealed else write)(store, name, *runs)
        lines = [line for run in runs for line in run]
        assert await read_all(store, name, after=after, max_bytes=max_bytes) == lines[after + 1 :]

    async def test_a_page_holds_as_many_segments_as_fit(self, store: Store) -> None:
        await write(store, "s", [b"aaaa"], [b"bbbb"], [b"cccc"])
        assert lines_of(await store.read(S, after=Offset(-1), max_bytes=8)) == [b"aaaa", b"bbbb"]
        assert lines_of(await store.read(S, after=Offset(-1), max_bytes=11)) == [b"aaaa", b"bbbb"]
        assert lines_of(await store.read(S, after=Offset(-1), max_bytes=1)) == [b"aaaa"]

    async def test_a_page_begins_inside_a_segment(self, store: Store) -> None:
        await write(store, "s", [b"a", b"b", b"c"])
        assert await store.read(S, after=Offset(0), max_bytes=PAGE) == [Segment(Offset(1), 2, b"b\nc")]

    async def test_a_reader_at_the_end_of_an_open_log_sees_what_is_appended_later(self, store: Store) -> None:
        await write(store, "s", [b"0"])
        assert await store.read(S, after=Offset(0), max_bytes=PAGE) == []
        await store.commit(Batch(appends=[append("s", 1, b"1")]))
        assert lines_of(await store.read(S, after=Offset(0), max_bytes=PAGE)) == [b"1"]

    async def test_an_empty_log_has_no_entries(self, store: Store) -> None:
        await write_sealed(store, "s")
        assert await store.read(S, after=Offset(-1), max_bytes=PAGE) == []

    async def test_an_unknown_log_is_not_found(self, store: Store) -> None:
        assert await store.find(S) is None
        with pytest.raises(StreamNotFound):
            await store.read(S, after=Offset(-1), max_bytes=PAGE)


class TestFind:
    async def test_an_open_log_has_no_end(self, store: Store) -> None:
        await write(store, "s", [b"0", b"1"])
        found = await store.find(S)
        assert found is not None
        assert (found.stream_id, found.entries, found.end, found.has_content) == ("s", 2, None, True)


class TestFlushes:
    async def test_each_append_is_one_with_its_time_and_the_bytes_of_its_json(self, store: Store) -> None:
        await store.commit(Batch([opening("s")], [append("s", 0, b"{}", b'{"a":1}', at=1.7e9 + 0.123456)]))
        await store.commit(Batch(appends=[append("s", 2, b"[]", at=1.7e9 + 0.25), append("s", 3, b"", at=0.0)]))
        assert await store.flushes(S, after=Offset(-1), limit=9) == [
            Flush(Offset(0), 2, 9, 1.7e9 + 0.123456),
            Flush(Offset(2), 1, 2, 1.7e9 + 0.25),
            Flush(Offset(3), 1, 0, 0.0),
        ]

    async def test_a_segment_is_read_with_its_time_and_so_is_a_part_of_it(self, store: Store) -> None:
        await store.commit(Batch([opening("s")], [append("s", 0, b"a", b"b", b"c", at=5.5)]))
        for after in (-1, 1):
            (part,) = await store.read(S, after=Offset(after), max_bytes=PAGE)
            assert part.taken_at == 5.5

    async def test_a_time_that_is_not_known_is_none(self, store: Store) -> None:
        await write(store, "s", [b"a"])
        assert await store.flushes(S, after=Offset(-1), limit=9) == [Flush(Offset(0), 1, 1, None)]

    @given(
        counts=st.lists(st.integers(1, 4), max_size=12),
        limit=st.integers(1, 5),
        after=st.integers(-1, 50),
        is_sealed=st.booleans(),
    )
    @IN_FIXTURE
    async def test_pages_of_any_size_from_any_offset_have_each_that_begins_later_once(
        self, store: Store, counts: list[int], limit: int, after: int, is_sealed: bool
    ) -> None:
        name = StreamId(f"flushes-{next(NAMES)}")
        await (write_sealed if is_sealed else write)(store, name, *([b"x"] * count for count in counts))
        firsts = [sum(counts[:at]) for at in range(len(counts))]
        seen = []
        reached = Offset(after)
        while page := await store.flushes(name, after=reached, limit=limit):
            assert len(page) <= limit
            seen += [(flush.offset, flush.entries) for flush in page]
            reached = page[-1].offset
        assert seen == [(first, count) for first, count in zip(firsts, counts, strict=True) if first > after]

    async def test_those_of_other_logs_are_not_among_them(self, store: Store) -> None:
        await store.commit(Batch([opening(name) for name in ("s", "t")]))
        for at in range(5):
            await store.commit(Batch(appends=[append("s", at, b"s", at=1.0), append("t", at, b"t", at=2.0)]))
        assert [flush.at for flush in await store.flushes(S, after=Offset(0), limit=3)] == [1.0] * 3

    async def test_a_running_log_shows_what_is_appended_later(self, store: Store) -> None:
        await write(store, "s", [b"0"])
        assert await store.flushes(S, after=Offset(0), limit=9) == []
        await store.commit(Batch(appends=[append("s", 1, b"1", at=7.0)]))
        assert await store.flushes(S, after=Offset(0), limit=9) == [Flush(Offset(1), 1, 1, 7.0)]

    async def test_of_a_log_sealed_after_a_gap_those_before_it_are_known(self, store: Store) -> None:
        await write(store, "s", [b"0"])
        await store.commit(Batch(seals=[seal("s", 5)]))
        assert [flush.offset for flush in await store.flushes(S, after=Offset(-1), limit=9)] == [0]
        assert await store.flushes(S, after=Offset(0), limit=9) == []

    async def test_those_of_entries_that_were_dropped_are_gone(self, store: Store) -> None:
        await write_sealed(store, "s", [b"secret", b"more"], [b"rest"], keeps_content=False)
        for after in (-1, 0, 1):
            with pytest.raises(StreamGone):
                await store.flushes(S, after=Offset(after), limit=9)
        assert await store.flushes(S, after=Offset(2), limit=9) == []

    async def test_an_empty_log_has_none_whether_its_content_would_be_kept_or_not(self, store: Store) -> None:
        await write_sealed(store, "kept")
        await write_sealed(store, "dropped", keeps_content=False)
        assert await store.flushes(StreamId("kept"), after=Offset(-1), limit=9) == []
        assert await store.flushes(StreamId("dropped"), after=Offset(-1), limit=9) == []

    async def test_an_unknown_log_is_not_found(self, store: Store) -> None:
        await write(store, "s", [b"0"])
        await store.erase(S)
        for name in ("s", "other"):
            with pytest.raises(StreamNotFound):
                await store.flushes(StreamId(name), after=Offset(-1), limit=9)


class TestKeepsNoContent:
    async def test_entries_are_readable_until_the_end_and_gone_after_it(self, store: Store) -> None:
        entries = await write(store, "s", [b"secret", b"more"], keeps_content=False)
        assert await read_all(store, "s") == [b"secret", b"more"]
        await store.commit(Batch(seals=[seal("s", entries)]))
        found = await store.find(S)
        assert found is not None
        assert (found.entries, found.end, found.has_content) == (2, DONE, False)
        for after in (-1, 0):
            with pytest.raises(StreamGone):
                await store.read(S, after=Offset(after), max_bytes=PAGE)
        assert await store.read(S, after=Offset(1), max_bytes=PAGE) == []


class TestErase:
    @pytest.mark.parametrize("is_sealed", [True, False])
    async def test_nothing_is_left_and_later_appends_are_left_out(self, store: Store, is_sealed: bool) -> None:
        await (write_sealed if is_sealed else write)(store, "s", [b"0"], [b"1"])
        await write(store, "other", [b"kept"])
        assert await store.erase(S)
        await store.commit(Batch(appends=[append("s", 2, b"x")], seals=[seal("s", 3)]))
        assert await store.find(S) is None
        with pytest.raises(StreamNotFound):
            await store.read(S, after=Offset(-1), max_bytes=PAGE)
        assert await read_all(store, "other") == [b"kept"]

    async def test_erasing_what_is_not_there_says_so(self, store: Store) -> None:
        assert not await store.erase(S)
        await write(store, "s", [b"0"])
        await store.erase(S)
        assert not await store.erase(S)

    async def test_an_erased_id_can_be_opened_anew(self, store: Store) -> None:
        await write_sealed(store, "s", [b"old"], [b"older"])
        assert await read_all(store, "s") == [b"old", b"older"]
        await store.erase(S)
        await write(store, "s", [b"new"])
        assert await read_all(store, "s") == [b"new"]


class TestTrim:
    async def test_logs_that_ended_before_are_dropped(self, store: Store) -> None:
        for name, ended_at in (("b", 20.0), ("a", 10.0), ("c", 30.0)):
            await write_sealed(store, name, [b"0"], ended_at=ended_at)
        assert await store.trim(ended_before=30.0, max_bytes=PAGE) == 2
        assert [await store.find(StreamId(name)) is not None for name in "abc"] == [False, False, True]
        assert await read_all(store, "c") == [b"0"]

    async def test_the_oldest_go_until_the_rest_fits(self, store: Store) -> None:
        for number in range(5):
            await write_sealed(store, f"s{number}", [b"x" * 60], [b"y" * 40], ended_at=float(number))
        assert await store.trim(ended_before=0.0, max_bytes=250) == 3
        assert [await store.find(StreamId(f"s{number}")) is not None for number in range(5)] == [False] * 3 + [True] * 2
        assert await store.trim(ended_before=0.0, max_bytes=250) == 0
        await write_sealed(store, "s5", [b"z" * 100], ended_at=5.0)
        assert await store.trim(ended_before=0.0, max_bytes=250) == 1

    async def test_open_logs_stay_but_count(self, store: Store) -> None:
        await write(store, "open", [b"x" * 100])
        await write_sealed(store, "sealed", [b"y" * 100])
        assert await store.trim(ended_before=1e9, max_bytes=0) == 1
        assert await store.find(StreamId("sealed")) is None
        assert await read_all(store, "open") == [b"x" * 100]
        await write_sealed(store, "sealed", [b"y" * 100])
        assert await store.trim(ended_before=0.0, max_bytes=150) == 1

    async def test_entries_that_were_not_kept_do_not_count(self, store: Store) -> None:
        await write_sealed(store, "kept", [b"x" * 100])
        await write_sealed(store, "dropped", [b"y" * 100], keeps_content=False)
        assert await store.trim(ended_before=0.0, max_bytes=150) == 0

    async def test_very_many_logs_are_dropped_by_one_call(self, store: Store) -> None:
        names = [f"s{number}" for number in range(600)]
        batch = Batch([opening(name) for name in names], [append(name, 0, b"0") for name in names])
        await store.commit(batch)
        await store.commit(Batch(seals=[seal(name, 1) for name in names]))
        assert await store.trim(ended_before=1e9, max_bytes=PAGE) == 600


class TestLeases:
    async def test_a_log_is_claimed_when_its_nodes_lease_has_run_out(self, store: Store) -> None:
        await store.renew("node-a", lease_s=10.0, now=100.0)
        await write(store, "s", [b"0"], [b"1"])
        assert await store.claim("node-b", lease_s=10.0, now=109.0) == []
        assert await store.claim("node-b", lease_s=10.0, now=110.0) == [
            OpenLog(stream_id=S, epoch=2, entries=Offset(2))
        ]
        assert await store.claim("node-c", lease_s=10.0, now=111.0) == []

    async def test_a_renewed_lease_is_not_claimed(self, store: Store) -> None:
        await store.claim("node-a", lease_s=10.0, now=100.0)
        await write(store, "s", [b"0"])
        await store.renew("node-a", lease_s=10.0, now=109.0)
        assert await store.claim("node-b", lease_s=10.0, now=115.0) == []
        assert len(await store.claim("node-b", lease_s=10.0, now=119.0)) == 1

    async def test_a_node_that_restarts_claims_its_own_logs_at_once(self, store: Store) -> None:
        await store.claim("node-a", lease_s=10.0, now=100.0)
        await write(store, "s", [b"0"])
        await write_sealed(store, "sealed", [b"0"])
        await write(store, "empty")
        claimed = await store.claim("node-a", lease_s=10.0, now=101.0)
        assert sorted((log.stream_id, log.epoch, log.entries) for log in claimed) == [("empty", 2, 0), ("s", 2, 1)]

    async def test_the_old_epoch_is_refused_and_the_new_one_taken(self, store: Store) -> None:
        await write(store, "s", [b"0"])
        await store.claim("node-b", lease_s=10.0, now=0.0)
        await store.commit(Batch(appends=[append("s", 1, b"old")], seals=[seal("s", 2)]))
        assert await read_all(store, "s") == [b"0"]
        await store.commit(Batch(appends=[append("s", 1, b"new", epoch=2)], seals=[seal("s", 2, epoch=2)]))
        assert await read_all(store, "s") == [b"0", b"new"]
        found = await store.find(S)
        assert found is not None
        assert found.end == DONE

    async def test_a_claimed_log_says_how_many_tokens_it_has_where_that_is_known(self, store: Store) -> None:
        await store.commit(Batch([opening(name) for name in ("s", "t", "u")]))
        await store.commit(Batch(appends=[append("s", 0, b"0", tokens=1), append("t", 0, b"0", tokens=0)]))
        await store.commit(Batch(appends=[append("s", 1, b"1", b"2", tokens=7), append("t", 1, b"0", tokens=None)]))
        claimed = await store.claim("node-b", lease_s=10.0, now=0.0)
        assert {log.stream_id: log.tokens for log in claimed} == {"s": 7, "t": 0, "u": 0}

    async def test_segments_are_read_with_their_tokens_and_so_is_the_end_of_one(self, store: Store) -> None:
        await store.commit(
            Batch([opening("s")], [append("s", 0, b"a", tokens=0), append("s", 1, b"b", b"c", tokens=5)])
        )
        assert [part.tokens for part in await store.read(S, after=Offset(-1), max_bytes=PAGE)] == [0, 5]
        assert [part.tokens for part in await store.read(S, after=Offset(1), max_bytes=PAGE)] == [5]


class TestCancelRequests:
    async def test_the_node_that_holds_the_log_is_asked(self, store: Store) -> None:
        await write(store, "s", [b"0"], node="node-a")
        await write(store, "other", node="node-a")
        assert await store.request_cancel(S)
        assert await store.cancel_requests("node-a") == ["s"]
        assert await store.cancel_requests("node-b") == []
        await store.claim("node-b", lease_s=10.0, now=0.0)
        assert await store.cancel_requests("node-b") == ["s"]

    async def test_a_log_that_ended_cannot_be_cancelled(self, store: Store) -> None:
        await write(store, "s", [b"0"])
        await store.request_cancel(S)
        await store.commit(Batch(seals=[seal("s", 1)]))
        assert await store.cancel_requests("node-a") == []
        assert not await store.request_cancel(S)
        assert not await store.request_cancel(StreamId("unknown"))


class TestRecords:
    async def test_a_record_comes_back_whole_and_a_later_save_replaces_it(self, records: Records) -> None:
        await records.save([record("r1")])
        assert await records.get(RequestId("r1")) == record("r1")
        ended = record("r1", state=State.CANCELLED, cause=Cause.CLIENT_STOP, ended_at=5.5, completion_tokens=7)
        await records.save([ended])
        assert await records.get(RequestId("r1")) == ended
        assert await records.get(RequestId("r2")) is None

    async def test_the_requests_of_one_stream_come_oldest_first(self, records: Records) -> None:
        late, early = record("r1", 9.0, stream_id="s"), record("r2", 3.0, stream_id="s")
        await records.save([late, early, record("r3", stream_id="t")])
        assert await records.of_stream(S) == [early, late]

    async def test_a_stream_has_the_request_that_knows_it_by_that_id_and_those_that_refer_to_it_as_their_log(
        self, records: Records
    ) -> None:
        own = record("r2", 5.0, stream_id="s")
        joined = record("r3", 6.0, stream_id="j", log_id=S, source=Source.JOINED)
        repeated = record("r1", 6.0, stream_id="k", log_id=S, source=Source.REPEATED)
        named_itself = record("r4", 7.0, stream_id="t", log_id=StreamId("t"))
        await records.save([joined, own, record("r0"), repeated, named_itself])
        assert await records.of_stream(S) == [own, repeated, joined]
        assert await records.of_stream(StreamId("j")) == [joined]
        assert await records.of_stream(StreamId("t")) == [named_itself]
        on_its_own = msgspec.structs.replace(joined, log_id=None)
        await records.save([on_its_own])
        assert await records.of_stream(S) == [own, repeated]
        assert await records.of_stream(StreamId("j")) == [on_its_own]

    async def test_a_request_is_found_by_the_id_that_it_knows_its_stream_by(self, records: Records) -> None:
        late, early = record("r1", 9.0, stream_id="s"), record("r2", 3.0, stream_id="s")
        given = record("r3", 1.0, stream_id="k", log_id=S, source=Source.CACHE)
        await records.save([late, early, given])
        assert await records.own(S) == early
        assert await records.own(StreamId("k")) == given
        assert await records.own(StreamId("u")) is None
        await records.save([msgspec.structs.replace(given, stream_id=StreamId("l"))])
        assert await records.own(StreamId("k")) is None
        assert (await records.own(StreamId("l"))) is not None
        await records.trim(accepted_before=5.0)
        await records.forget(S)
        assert await records.own(S) is None

    async def test_those_that_refer_to_a_log_are_found_when_the_request_that_began_it_is_gone(
        self, records: Records
    ) -> None:
        joined = record("r2", 9.0, stream_id="j", log_id=S, source=Source.CACHE)
        await records.save([record("r1", 1.0, stream_id="s", state=State.COMPLETED), joined])
        assert await records.trim(accepted_before=5.0) == 1
        assert await records.of_stream(S) == [joined]

    async def test_what_a_client_perceived_concerns_its_own_request_alone(self, records: Records) -> None:
        joined = record("r1", 1.0, stream_id="j", log_id=S, state=State.COMPLETED, source=Source.JOINED)
        own = record("r2", 2.0, stream_id="s", state=State.COMPLETED)
        perceived = Perceived(total_ms=12.5, transport="fetch")
        await records.save([joined])
        assert await records.add_perceived(S, perceived) is None
        await records.save([own])
        assert await records.add_perceived(S, perceived) == own
        assert await records.get(joined.id) == joined
        assert await records.add_perceived(StreamId("j"), perceived) == joined
        assert [found.perceived for found in await records.of_stream(S)] == [perceived, perceived]

    async def test_forgetting_a_log_forgets_all_requests_on_it_and_forgetting_one_of_these_itself_alone(
        self, records: Records
    ) -> None:
        own, other = record("r1", stream_id="s"), record("r4", stream_id="t")
        joined = [record(f"r{at}", at, stream_id=f"j{at}", log_id=S, source=Source.JOINED) for at in (2.0, 3.0)]
        await records.save([own, *joined, other])
        assert await records.forget(StreamId("j2.0"))
        assert await records.of_stream(S) == [own, joined[1]]
        assert await records.forget(S)
        assert await records.get(joined[1].id) is None
        assert await records.of_stream(StreamId("t")) == [other]

    @given(times=st.lists(st.integers(0, 5), max_size=25), limit=st.integers(1, 8))
    @IN_FIXTURE
    async def test_pages_of_any_size_visit_each_record_once_newest_first(
        self, records: Records, times: list[int], limit: int
    ) -> None:
        owner = f"owner-{next(NAMES)}"
        saved = [record(f"{owner}-{number}", float(time), owner=owner) for number, time in enumerate(times)]
        await records.save(saved)
        seen = []
        before = None
        while True:
            page = await records.newest(owner=owner, limit=limit, before=before)
            seen += page.records
            assert len(page.records) == limit or not page.has_more
            if not page.has_more:
                break
            before = page.records[-1].id
        assert seen == sorted(saved, key=lambda found: (found.accepted_at, found.id), reverse=True)

    async def test_only_the_owners_records_are_listed(self, records: Records) -> None:
        await records.save([record("r1", 2.0, owner="ann"), record("r2", owner="bob")])
        assert (await records.newest(owner="bob")).records == [record("r2", owner="bob")]
        assert (await records.newest(owner="bob", before=RequestId("r1"))).records == []

    async def test_records_of_all_owners_can_be_listed(self, records: Records) -> None:
        saved = [record(f"r{at}", float(at), owner=f"owner-{at % 2}") for at in range(5)]
        await records.save(saved)
        page = await records.newest(owner=None, limit=3)
        assert (page.records, page.has_more) == ([saved[4], saved[3], saved[2]], True)
        page = await records.newest(owner=None, limit=3, before=saved[2].id)
        assert (page.records, page.has_more) == ([saved[1], saved[0]], False)

    async def test_records_can_be_asked_for_by_state(self, records: Records) -> None:
        await records.save(
            [record(f"r{at}", float(at), state=State.FAILED if at % 2 else State.QUEUED) for at in range(6)]
        )
        page = await records.newest(owner="ann", state=State.FAILED, limit=2)
        assert ([found.id for found in page.records], page.has_more) == (["r5", "r3"], True)
        page = await records.newest(owner="ann", state=State.FAILED, limit=2, before=RequestId("r3"))
        assert ([found.id for found in page.records], page.has_more) == (["r1"], False)

    async def test_what_a_client_perceived_is_added_once_to_the_record_of_an_ended_stream(
        self, records: Records
    ) -> None:
        ended = record("r1", stream_id="s", state=State.TRUNCATED, cause=Cause.UPSTREAM_CLOSED, completion_tokens=7)
        await records.save(
            [ended, record("r2", 2.0, stream_id="s", state=State.COMPLETED), record("r3", stream_id="t")]
        )
        first, second = Perceived(total_ms=12.5, transport="fetch"), Perceived(transport="websocket")
        assert await records.add_perceived(S, first) == ended
        kept = msgspec.structs.replace(ended, perceived=first)
        assert await records.add_perceived(S, second) == kept
        assert [found.perceived for found in await records.of_stream(S)] == [first, None]
        assert await records.get(RequestId("r1")) == kept
        assert (await records.newest(owner="ann", state=State.TRUNCATED)).records == [kept]
        assert await records.get(RequestId("r3")) == record("r3", stream_id="t")

    async def test_nothing_is_added_to_the_record_of_an_open_stream_or_of_none(self, records: Records) -> None:
        running = record("r1", stream_id="s", state=State.IN_PROGRESS)
        await records.save([running])
        assert await records.add_perceived(S, Perceived(transport="fetch")) == running
        assert await records.get(RequestId("r1")) == running
        assert await records.add_perceived(StreamId("t"), Perceived(transport="fetch")) is None

    async def test_what_is_added_comes_after_what_was_saved_or_forgotten_before(self, records: Records) -> None:
        await records.save([record("r1", stream_id="s", state=State.IN_PROGRESS)])
        ended = record("r1", stream_id="s", state=State.COMPLETED, cause=Cause.STOP)
        saving = records.save([ended])
        assert await records.add_perceived(S, Perceived(transport="fetch")) == ended
        await saving
        _, found = await asyncio.gather(records.forget(S), records.add_perceived(S, Perceived(transport="fetch")))
        assert found is None
        assert await records.of_stream(S) == []

    async def test_a_stream_can_be_forgotten(self, records: Records) -> None:
        await records.save([record("r1", stream_id="s"), record("r2", stream_id="s"), record("r3", stream_id="t")])
        assert await records.forget(S)
        assert not await records.forget(S)
        assert await records.of_stream(S) == []
        assert await records.get(RequestId("r3")) is not None

    async def test_old_records_of_ended_requests_are_dropped(self, records: Records) -> None:
        await records.save(
            [
                record("old", 1.0, state=State.COMPLETED),
                record("running", 1.0, state=State.IN_PROGRESS),
                record("new", 2.0, state=State.COMPLETED),
            ]
        )
        assert await records.trim(accepted_before=2.0) == 1
        assert [found.id for found in (await records.newest(owner="ann")).records] == ["new", "running"]
