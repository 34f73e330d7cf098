"""Usage over HTTP: sums by group as JSON and CSV, and members see nobody but themselves."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.desk import MEMBER, NOW, Answer, Desk

from headrace.errors import ClientRequestError
from headrace.http.usage import GROUPINGS, MAX_BY, MAX_GROUPS, grouping_of, month_start, show_usage, time_of
from headrace.protocol.usage import COLUMNS, Usage, usage_csv
from headrace.stores import usage as stored
from headrace.types.access import ANYBODY, Caller
from headrace.types.bill import Basis, Bill
from headrace.types.ids import KeyId, RequestId, StreamId
from headrace.types.outcome import State
from headrace.types.record import Record

DAY_S = 86400.0


def record(
    number: int, *, owner: str = "search", reported: bool = True, nano_usd: int | None = 1_000, **fields: Any
) -> Record:
    """A request that has ended, of 10 prompt and 5 completion tokens."""
    bill = Bill(
        prompt_tokens=10,
        cached_tokens=4,
        completion_tokens=5,
        nano_usd=nano_usd,
        basis=Basis.REPORTED if reported else Basis.ESTIMATED,
    )
    values: dict[str, Any] = {
        "id": RequestId(f"req_{number}"),
        "stream_id": StreamId(f"strm_{number}"),
        "owner": owner,
        "model": "sim",
        "engine": "scripted",
        "accepted_at": NOW,
        "state": State.COMPLETED,
        "generated_tokens": 6,
        "delivered_tokens": 5,
        "bill": bill,
    }
    return Record(**{**values, **fields})


async def desk_with(*records: Record) -> Desk:
    desk = await Desk().open()
    await desk.records.save(records)
    desk.now += 60
    return desk


async def ask(desk: Desk, caller: Caller = ANYBODY, headers: dict[str, str] | None = None, **query: Any) -> Answer:
    return await desk.call(show_usage, caller=caller, query=urlencode(query), headers=headers)


def groups(reply: Answer) -> list[tuple[str, ...]]:
    assert reply.status == 200, reply.body
    return [tuple(line["group"].values()) for line in reply.json["data"]]


def rows_of(reply: Answer) -> list[list[str]]:
    return list(csv.reader(io.StringIO(reply.body.decode(), newline="")))


async def test_sums_are_told_by_model_for_this_month_unless_asked_otherwise() -> None:
    desk = await desk_with(
        record(1), record(2, reported=False, nano_usd=None), record(3, accepted_at=month_start(NOW) - 1)
    )
    reply = await ask(desk)
    assert reply.headers["cache-control"] == "no-store"
    reported = {
        "requests": 1, "prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 5, "cost_usd": "0.000001",
    }  # fmt: skip
    total = {
        "requests": 2,
        "prompt_tokens": 20,
        "cached_tokens": 8,
        "completion_tokens": 10,
        "cost_usd": "0.000001",
        "generated_tokens": 12,
        "delivered_tokens": 10,
        "reported": reported,
        "estimated": reported | {"cost_usd": "0"},
        "unpriced_requests": 1,
    }
    assert reply.json == {
        "object": "usage",
        "since": datetime(2026, 11, 1, tzinfo=UTC).timestamp(),
        "until": desk.now,
        "by": ["model"],
        "data": [total | {"group": {"model": "sim"}}],
        "total": total,
        "has_more": False,
    }


async def test_groups_are_told_apart_by_what_is_asked_for() -> None:
    desk = await desk_with(
        record(1, tags={"team": "a"}, key_id=KeyId("key_1")),
        record(2, tags={"team": "b"}, state=State.CANCELLED),
        record(3, owner="ops", accepted_at=NOW - DAY_S),
    )
    assert groups(await ask(desk, by="owner")) == [("ops",), ("search",)]
    assert groups(await ask(desk, by="tag:team,key")) == [("", ""), ("a", "key_1"), ("b", "")]
    assert groups(await ask(desk, by="day, state")) == [
        ("2026-11-20", "completed"), ("2026-11-21", "cancelled"), ("2026-11-21", "completed"),
    ]  # fmt: skip
    whole = await ask(desk, by="")
    assert groups(whole) == [()]
    assert whole.json["total"]["requests"] == 3


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ({"owner": "search"}, 3),
        ({"owner": "nobody"}, 0),
        ({"key": "key_1"}, 1),
        ({"model": "gpt-4o"}, 1),
        ({"tag": "team:a:b"}, 1),
        ({"tag": "team:other"}, 0),
        ({"since": "2026-11-21"}, 3),
        ({"until": "2026-11-21"}, 1),
        ({"since": "2026-11-20", "until": "2026-11-21"}, 1),
        ({"since": "2026-11-21T12:00:00+02:00"}, 3),
        ({"since": "2026-11-21T12:00:01+02:00"}, 0),
        ({"until": NOW}, 1),
    ],
)
async def test_requests_are_chosen(query: dict[str, Any], requests: int) -> None:
    desk = await desk_with(
        record(1, key_id=KeyId("key_1")),
        record(2, model="gpt-4o"),
        record(3, tags={"team": "a:b"}),
        record(4, owner="ops", accepted_at=NOW - DAY_S),
    )
    assert (await ask(desk, **query)).json["total"]["requests"] == requests


async def test_a_plus_that_became_a_space_is_still_an_offset() -> None:
    desk = await desk_with(record(1))
    reply = await desk.call(show_usage, query="since=2026-11-21T12:00:00+02:00")
    assert reply.json["since"] == NOW


async def test_members_see_their_own_and_cannot_tell_who_else_there_is() -> None:
    desk = await desk_with(record(1), record(2, owner="ops"), record(3, owner=""))
    assert groups(await ask(desk, MEMBER, by="owner")) == [("search",)]
    assert groups(await ask(desk, MEMBER, by="owner", owner="search")) == [("search",)]
    for other in ("ops", "nobody", ""):
        reply = await ask(desk, MEMBER, by="owner", owner=other)
        assert groups(reply) == []
        assert reply.json["total"]["requests"] == 0
    assert (await ask(desk, MEMBER, by="")).json["total"]["requests"] == 1
    assert rows_of(await ask(desk, MEMBER, owner="ops", format="csv")) == [["model", *COLUMNS]]
    assert groups(await ask(desk, by="owner", owner="")) == [("",)]


async def test_more_groups_than_asked_for_are_in_the_total() -> None:
    desk = await desk_with(*(record(number, model=f"m{number}") for number in range(5)))
    reply = await ask(desk, limit=2)
    assert (groups(reply), reply.json["has_more"]) == ([("m0",), ("m1",)], True)
    assert reply.json["total"]["requests"] == 5
    assert (await ask(desk, limit=5)).json["has_more"] is False
    table = await ask(desk, limit=2, format="csv")
    assert (len(rows_of(table)), table.headers["headrace-has-more"]) == (3, "true")


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"since": "2026-13-01"},
        {"until": "2026-11-21T25:00:00"},
        {"until": "-5"},
        {"since": "1e9"},
        {"since": "2026-11-21", "until": "2026-11-20"},
        {"by": "colour"},
        {"by": "tag:"},
        {"by": "tag:a b"},
        {"by": "owner,owner"},
        {"by": "owner,,model"},
        {"by": "owner,key,model,engine,state"},
        {"tag": "team"},
        {"tag": ":x"},
        {"format": "xml"},
        {"limit": 0},
        {"limit": MAX_GROUPS + 1},
        {"ownr": "search"},
    ],
)
async def test_a_wrong_parameter_is_named(query: dict[str, Any]) -> None:
    reply = await ask(await desk_with(), **query)
    assert reply.status == 400
    assert reply.json["error"]["param"] == next(iter(query))


@given(st.text(alphabet="0123456789-:TZ+. W", max_size=40))
def test_any_time_is_a_moment_or_a_request_error(text: str) -> None:
    try:
        moment = time_of(text, "since")
    except ClientRequestError:
        return
    assert -1e12 < moment < 1e12


@given(st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 (Hypothesis adds zones)
def test_every_iso_time_is_the_same_moment_on_the_wire(moment: datetime) -> None:
    if moment.utcoffset() is not None and moment.utcoffset().microseconds == 0:  # type: ignore[union-attr]
        assert time_of(moment.isoformat(), "since") == moment.timestamp()
        assert time_of(moment.isoformat().replace("+", " "), "since") == moment.timestamp()


def test_the_groupings_are_those_of_the_store() -> None:
    assert set(GROUPINGS) == set(stored.GROUPINGS)
    assert stored.MAX_GROUPINGS == MAX_BY
    stored.check_groupings(grouping_of("owner,model,day,tag:team"))


@pytest.mark.parametrize(
    ("headers", "query"),
    [({}, {"format": "csv"}), ({"Accept": "text/csv"}, {}), ({"Accept": "application/json"}, {"format": "csv"})],
)
async def test_csv_has_a_line_a_group(headers: dict[str, str], query: dict[str, Any]) -> None:
    desk = await desk_with(record(1), record(2, reported=False), record(3, model='=HYPERLINK("x"),\r\n'))
    reply = await ask(desk, headers=headers, by="owner,model", **query)
    assert reply.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert reply.headers["content-disposition"] == 'attachment; filename="headrace-usage.csv"'
    head, evil, plain = rows_of(reply)
    assert head[:3] == ["owner", "model", "requests"]
    assert evil[:3] == ["search", '\'=HYPERLINK("x"),\r\n', "1"]
    assert dict(zip(head, plain, strict=True)) == {
        "owner": "search",
        "model": "sim",
        "requests": "2",
        "prompt_tokens": "20",
        "cached_tokens": "8",
        "completion_tokens": "10",
        "generated_tokens": "12",
        "delivered_tokens": "10",
        "cost_usd": "0.000002",
        "reported_requests": "1",
        "reported_prompt_tokens": "10",
        "reported_cached_tokens": "4",
        "reported_completion_tokens": "5",
        "reported_cost_usd": "0.000001",
        "estimated_requests": "1",
        "estimated_prompt_tokens": "10",
        "estimated_cached_tokens": "4",
        "estimated_completion_tokens": "5",
        "estimated_cost_usd": "0.000001",
        "unpriced_requests": "0",
    }


async def test_json_wins_when_it_is_asked_for_by_name() -> None:
    reply = await ask(await desk_with(record(1)), headers={"Accept": "text/csv"}, format="json")
    assert reply.json["object"] == "usage"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.none() | st.integers(0, 10**12)), max_size=8))
async def test_sums_are_exact_whatever_the_prices(requests: list[tuple[str, bool, int | None]]) -> None:
    desk = await desk_with(
        *(
            record(n, model=model, reported=reported, nano_usd=nano)
            for n, (model, reported, nano) in enumerate(requests)
        )
    )
    usage = (await ask(desk)).json
    known = [nano for _, _, nano in requests if nano is not None]
    assert Decimal(usage["total"]["cost_usd"]) == Decimal(sum(known)).scaleb(-9)
    assert usage["total"]["unpriced_requests"] == len(requests) - len(known)
    for line in [*usage["data"], usage["total"]]:
        for field in ("requests", "prompt_tokens", "cached_tokens", "completion_tokens"):
            assert line[field] == line["reported"][field] + line["estimated"][field]
        parts = Decimal(line["reported"]["cost_usd"]) + Decimal(line["estimated"]["cost_usd"])
        assert Decimal(line["cost_usd"]) == parts


async def test_the_client_reads_what_the_relay_writes() -> None:
    reply = await ask(await desk_with(record(1), record(2, owner="ops")), by="owner")
    usage = msgspec.json.decode(reply.body, type=Usage)
    assert msgspec.json.decode(msgspec.json.encode(usage)) == reply.json
    table = await ask(await desk_with(record(1), record(2, owner="ops")), by="owner", format="csv")
    assert usage_csv(usage) == table.body
