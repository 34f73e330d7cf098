"""What every store of usage promises (``headrace.stream.store.Records``)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.stores.kit import (
    billed,
    record,
)

from headrace.stores.url import Stores
from headrace.stream.store import (
    Records,
    Settlement,
    Spent,
    TokenSum,
    UsageFilter,
    UsageLine,
)
from headrace.types.bill import Basis, Bill, BillRule
from headrace.types.ids import KeyId, RequestId, StreamId
from headrace.types.outcome import Cause, State
from headrace.types.record import Perceived, Record

S = StreamId("s")
IN_FIXTURE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
EVER = UsageFilter(since=0, until=1e12)
DAY_S = 86_400
NOTHING = TokenSum()

counts = st.integers(0, 2**33)
bills = st.builds(
    Bill,
    prompt_tokens=counts,
    cached_tokens=counts,
    completion_tokens=counts,
    nano_usd=st.none() | st.integers(0, 2**45),
    basis=st.sampled_from(Basis),
    rule=st.none() | st.sampled_from(BillRule),
)
tags = st.dictionaries(st.sampled_from(["team", "a.b", "0", "x-y"]), st.sampled_from(["", "search", "ü: \"'"]))
costs = st.builds(
    lambda number, accepted_at, **values: billed(f"r{number}", accepted_at, **values),
    st.integers(0, 9),
    st.sampled_from([0.0, DAY_S - 0.25, float(DAY_S), 2.5 * DAY_S]),
    owner=st.sampled_from(["ann", "bob"]),
    key_id=st.sampled_from(["", "k1", "k2"]),
    model=st.sampled_from(["m1", "m2"]),
    engine=st.sampled_from(["e1", "e2"]),
    state=st.sampled_from([State.COMPLETED, State.CANCELLED]),
    tags=tags,
    generated_tokens=counts,
    delivered_tokens=counts,
    bill=bills,
)
filters = st.builds(
    UsageFilter,
    since=st.sampled_from([0.0, float(DAY_S), 9e9]),
    until=st.sampled_from([float(DAY_S), 1e12]),
    owner=st.none() | st.just("ann"),
    key_id=st.none() | st.sampled_from(["", "k1"]),
    model=st.none() | st.just("m1"),
    tag=st.none() | st.tuples(st.sampled_from(["team", "a.b"]), st.sampled_from(["", "search"])),
)
groupings = st.lists(
    st.sampled_from(["owner", "key", "model", "engine", "state", "day", "tag:team", "tag:a.b", "tag:0", "tag:none"]),
    unique=True,
    max_size=4,
)


def naive_value(row: Record, name: str) -> str:
    facts = {"key": row.key_id, "state": row.state.value, "day": f"1970-01-{1 + int(row.accepted_at // DAY_S):02d}"}
    if name.startswith("tag:"):
        return row.tags.get(name[4:], "")
    return facts[name] if name in facts else str(getattr(row, name))


def naive_sum(rows: Sequence[Record], basis: Basis) -> TokenSum:
    found = [row.bill for row in rows if row.bill is not None and row.bill.basis is basis]
    return TokenSum(
        requests=len(found),
        prompt_tokens=sum(bill.prompt_tokens for bill in found),
        cached_tokens=sum(bill.cached_tokens for bill in found),
        completion_tokens=sum(bill.completion_tokens for bill in found),
        nano_usd=sum(bill.nano_usd or 0 for bill in found),
    )


def naive_usage(rows: Sequence[Record], query: UsageFilter, by: Sequence[str]) -> list[UsageLine]:
    """What ``Records.usage`` should return, told as plainly as possible."""
    taken = [
        row
        for row in rows
        if query.since <= row.accepted_at < query.until
        and query.owner in {None, row.owner}
        and query.key_id in {None, row.key_id}
        and query.model in {None, row.model}
        and (query.tag is None or query.tag in row.tags.items())
    ]
    groups = {tuple(naive_value(row, name) for name in by) for row in taken}
    lines = []
    for group in sorted(groups):
        members = [row for row in taken if tuple(naive_value(row, name) for name in by) == group]
        lines.append(
            UsageLine(
                group=group,
                generated_tokens=sum(row.generated_tokens for row in members),
                delivered_tokens=sum(row.delivered_tokens for row in members),
                reported=naive_sum(members, Basis.REPORTED),
                estimated=naive_sum(members, Basis.ESTIMATED),
                unpriced_requests=sum(row.bill is not None and row.bill.nano_usd is None for row in members),
            )
        )
    return lines


def settlement(row: Record, bill: Bill, *, delivered_tokens: int = 1, generated_tokens: int = 2) -> Settlement:
    return Settlement(row.id, delivered_tokens, generated_tokens, bill)


def settled(row: Record, by: Settlement) -> Record:
    return msgspec.structs.replace(
        row, delivered_tokens=by.delivered_tokens, generated_tokens=by.generated_tokens, bill=by.bill
    )


class TestUsage:
    @given(rows=st.lists(costs, max_size=20), query=filters, by=groupings, limit=st.integers(1, 5))
    @IN_FIXTURE
    async def test_sums_are_those_of_the_rows_that_the_filter_takes(
        self, records: Records, rows: list[Record], query: UsageFilter, by: list[str], limit: int
    ) -> None:
        await records.trim_usage(accepted_before=1e12)
        await records.save(rows)
        last = list({row.id: row for row in rows}.values())
        assert await records.usage(query, by=by, limit=limit) == naive_usage(last, query, by)[:limit]

    @given(
        deeds=st.lists(
            st.tuples(st.just("save"), costs)
            | st.tuples(st.just("settle"), st.lists(st.tuples(costs, bills, counts), max_size=3))
            | st.tuples(st.sampled_from(["forget", "trim"]), st.integers(0, 9)),
            max_size=25,
        )
    )
    @IN_FIXTURE
    async def test_each_request_counts_once_with_its_last_settlement_in_any_order_of_deeds(
        self, stores: Stores, deeds: list[tuple[str, Any]]
    ) -> None:
        """What a late save of a record before its settlement, or forgetting the record, must not undo."""
        records = stores.records
        await records.trim_usage(accepted_before=1e12)
        await records.trim(accepted_before=1e12)
        usage: dict[str, Record] = {}
        kept: dict[str, Record] = {}
        last_word: dict[str, Settlement] = {}
        for deed, what in deeds:
            if deed == "save":
                if what.id in last_word:
                    kept[what.id] = settled(what, last_word[what.id])
                else:
                    usage[what.id] = kept[what.id] = what
                await records.save([what])
            elif deed == "settle":
                words = [settlement(row, bill, delivered_tokens=count) for row, bill, count in what]
                for word in words:
                    if word.request_id in usage:
                        last_word[word.request_id] = word
                        usage[word.request_id] = settled(usage[word.request_id], word)
                    if word.request_id in kept:
                        kept[word.request_id] = settled(kept[word.request_id], word)
                await records.settle(words)
            elif deed == "forget":
                assert await records.forget(StreamId(f"stream-r{what}")) == (kept.pop(f"r{what}", None) is not None)
            else:
                doomed = [name for name, row in kept.items() if row.accepted_at < what * DAY_S]
                assert await records.trim(accepted_before=what * DAY_S) == len(doomed)
                for name in doomed:
                    del kept[name]
        by = ["owner", "day", "model", "tag:team"]
        assert await records.usage(EVER, by=by, limit=99) == naive_usage(list(usage.values()), EVER, by)
        assert {f"r{at}": await records.get(RequestId(f"r{at}")) for at in range(10)} == {
            f"r{at}": kept.get(f"r{at}") for at in range(10)
        }

    async def test_a_record_without_a_bill_is_not_counted(self, records: Records) -> None:
        await records.save([record("open", state=State.IN_PROGRESS), record("of an older version")])
        assert await records.usage(EVER, by=[], limit=9) == []
        await records.save([billed("open", bill=Bill(prompt_tokens=3, nano_usd=5))])
        (line,) = await records.usage(EVER, by=[], limit=9)
        assert (line.group, line.estimated) == ((), TokenSum(requests=1, prompt_tokens=3, nano_usd=5))

    async def test_a_settlement_corrects_row_and_record_and_loses_nothing_else(self, records: Records) -> None:
        first = billed(
            "r1", stream_id="s", state=State.CANCELLED, cause=Cause.CLIENT_GONE, tags={"team": 'ü "x"'}, first_content_at=1.0000001
        )  # fmt: skip
        await records.save([first, billed("r2")])
        perceived = Perceived(total_ms=12.5, transport="fetch")
        await records.add_perceived(S, perceived)
        bill = Bill(prompt_tokens=9, cached_tokens=2, completion_tokens=7, nano_usd=None, basis=Basis.REPORTED)
        bill = msgspec.structs.replace(bill, rule=BillRule.VENDOR)
        await records.settle([settlement(first, Bill(nano_usd=99)), settlement(first, bill)])
        kept = msgspec.structs.replace(settled(first, settlement(first, bill)), perceived=perceived)
        assert await records.get(first.id) == kept
        assert await records.get(RequestId("r2")) == billed("r2")
        line, other = await records.usage(EVER, by=["state"], limit=9)
        assert line.reported == TokenSum(requests=1, prompt_tokens=9, cached_tokens=2, completion_tokens=7)
        assert (line.group, line.estimated, line.unpriced_requests) == (("cancelled",), NOTHING, 1)
        assert other.estimated == TokenSum(requests=1, nano_usd=1)

    async def test_what_a_client_perceived_comes_after_a_settlement_as_well(self, records: Records) -> None:
        first, perceived = billed("r1", stream_id="s"), Perceived(transport="fetch")
        saving = records.save([first])
        settling = records.settle([settlement(first, Bill(nano_usd=5))])
        kept = settled(first, settlement(first, Bill(nano_usd=5)))
        assert await records.add_perceived(S, perceived) == kept
        await asyncio.gather(saving, settling)
        assert await records.of_stream(S) == [msgspec.structs.replace(kept, perceived=perceived)]

    async def test_a_settlement_of_an_unknown_request_is_left_out(self, records: Records) -> None:
        await records.settle([settlement(record("r"), Bill(nano_usd=5))])
        assert await records.usage(EVER, by=[], limit=9) == []
        assert await records.get(RequestId("r")) is None

    async def test_many_are_saved_and_settled_at_once(self, records: Records) -> None:
        rows = [billed(f"r{at}") for at in range(200)]
        await records.save(rows)
        await records.settle([settlement(row, Bill(nano_usd=at)) for at, row in enumerate(rows)])
        await records.save(rows[:100])
        (line,) = await records.usage(EVER, by=[], limit=9)
        assert (line.estimated.requests, line.estimated.nano_usd, line.delivered_tokens) == (200, 19_900, 200)

    async def test_counts_beyond_all_reason_are_cut_and_break_no_sum(self, records: Records) -> None:
        """Engines report what they like, and it must not keep a record from being saved."""
        mad = Bill(prompt_tokens=10**30, completion_tokens=-5, nano_usd=10**40, basis=Basis.REPORTED)
        rows = [billed(f"r{at}", bill=mad, prompt_tokens=10**30) for at in range(50)]
        await records.save(rows)
        assert await records.get(rows[0].id) == rows[0]
        (line,) = await records.usage(EVER, by=[], limit=9)
        assert 0 == line.reported.completion_tokens < line.reported.prompt_tokens < 2**63
        assert 50 * 10**9 < line.reported.nano_usd < 2**63
        await records.settle([settlement(rows[0], mad, generated_tokens=10**30)])
        kept = await records.get(rows[0].id)
        assert kept is not None
        assert kept.bill is not None
        assert kept.prompt_tokens == 10**30
        assert kept.bill.prompt_tokens == kept.generated_tokens < 2**63

    async def test_a_tag_that_no_request_has_is_empty(self, records: Records) -> None:
        await records.save([billed("r1", tags={"team": "x"}), billed("r2", tags={"team": ""}), billed("r3")])
        lines = await records.usage(EVER, by=["tag:team", "tag:other"], limit=9)
        assert [(line.group, line.estimated.requests) for line in lines] == [(("", ""), 2), (("x", ""), 1)]
        with_empty = msgspec.structs.replace(EVER, tag=("team", ""))
        assert [line.estimated.requests for line in await records.usage(with_empty, by=[], limit=9)] == [1]

    @pytest.mark.parametrize("by", [["colour"], ["owner; DROP TABLE usage"], ["owner", "key", "model", "day", "state"]])
    async def test_groupings_that_there_are_not_are_refused(self, records: Records, by: list[str]) -> None:
        with pytest.raises(ValueError, match="usage can"):
            await records.usage(EVER, by=by, limit=9)

    async def test_what_was_spent_is_told_by_owner_key_and_day(self, records: Records) -> None:
        rows = [
            billed("r0", DAY_S - 0.5, key_id="k1", bill=Bill(nano_usd=1)),
            billed("r1", float(DAY_S), key_id="k1", bill=Bill(nano_usd=2)),
            billed("r2", DAY_S + 5.0, key_id="k1", bill=Bill(nano_usd=4)),
            billed("r3", DAY_S + 5.0, key_id="k2", bill=Bill(nano_usd=8)),
            billed("r4", DAY_S + 5.0, owner="bob", bill=Bill(nano_usd=None)),
        ]
        await records.save(rows)
        later = [
            Spent("ann", KeyId("k1"), "1970-01-02", 6),
            Spent("ann", KeyId("k2"), "1970-01-02", 8),
            Spent("bob", KeyId(""), "1970-01-02", 0),
        ]
        assert await records.spent(since=float(DAY_S)) == later
        assert await records.spent(since=0) == [Spent("ann", KeyId("k1"), "1970-01-01", 1), *later]
        await records.settle([settlement(rows[3], Bill(nano_usd=3))])
        assert [line.nano_usd for line in await records.spent(since=float(DAY_S))] == [6, 3, 0]

    async def test_old_rows_are_dropped_and_records_stay(self, records: Records) -> None:
        rows = [billed(f"r{at}", float(at)) for at in range(700)]
        await records.save(rows)
        assert await records.trim_usage(accepted_before=600.0) == 600
        assert await records.trim_usage(accepted_before=600.0) == 0
        (line,) = await records.usage(EVER, by=[], limit=9)
        assert line.estimated.requests == 100
        assert await records.get(RequestId("r0")) == rows[0]
