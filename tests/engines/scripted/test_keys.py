"""What the simulator makes of keys: the table alone, and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.scripted import SimulatorServer
from headrace.engines.scripted.keys import KeyTable
from headrace.errors import ClientRequestError

Ask = Callable[..., Awaitable[Any]]
Body = Callable[..., bytes]
GOOD = {"name": "good", "key": "sk-good"}
LIMITED = {"name": "limited", "key": "sk-limited", "status": 429, "retry_after": 2}
REVOKED = {"name": "revoked", "key": "sk-revoked", "status": 401}


def table(*keys: dict[str, Any]) -> KeyTable:
    made = KeyTable()
    made.set(json.dumps({"keys": keys}).encode(), now_s=0.0)
    return made


def bearer(key: str) -> list[tuple[str, str]]:
    return [("host", "x"), ("authorization", f"Bearer {key}")]


def http(path: str, method: str, body: bytes = b"", key: str | None = None) -> bytes:
    authorization = "" if key is None else f"Authorization: Bearer {key}\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{authorization}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def put(ask: Ask) -> Callable[..., Awaitable[Any]]:
    """Set the keys that the simulator knows."""

    async def put(*keys: dict[str, Any]) -> Any:
        return await ask(raw=http("/simulator/keys", "PUT", json.dumps({"keys": keys}).encode()))

    return put


# The table.


def test_without_keys_everybody_is_let_in() -> None:
    assert KeyTable().judge([], now_s=0.0) == (None, None)


@pytest.mark.parametrize("headers", [[], bearer("sk-other"), [("authorization", "Basic sk-good")]])
def test_with_keys_strangers_are_not(headers: list[tuple[str, str]]) -> None:
    name, refusal = table(GOOD).judge(headers, now_s=0.0)
    assert name is None
    assert refusal is not None
    assert refusal.status == 401


def test_each_key_gets_its_own_answer() -> None:
    keys = table(GOOD, LIMITED, REVOKED)
    assert keys.judge(bearer("sk-good"), now_s=0.0) == ("good", None)
    name, refusal = keys.judge(bearer("sk-limited"), now_s=0.0)
    assert refusal is not None
    assert (name, refusal.status, refusal.retry_after) == ("limited", 429, "2")
    name, refusal = keys.judge(bearer("sk-revoked"), now_s=0.0)
    assert refusal is not None
    assert (name, refusal.status, refusal.retry_after) == ("revoked", 401, None)
    assert [(report.name, report.requests, report.refused) for report in keys.reports()] == [
        ("good", 1, 0),
        ("limited", 1, 1),
        ("revoked", 1, 1),
    ]


def test_a_rate_lets_in_what_it_says_and_tells_when_to_come_back() -> None:
    keys = table({**GOOD, "requests_per_minute": 30})
    assert [keys.judge(bearer("sk-good"), now_s=0.0)[1] for _ in range(30)] == [None] * 30
    _, refusal = keys.judge(bearer("sk-good"), now_s=0.5)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after) == (429, "1.5")
    assert keys.judge(bearer("sk-good"), now_s=2.0)[1] is None
    assert keys.judge(bearer("sk-good"), now_s=2.0)[1] is not None


@given(st.integers(1, 1000), st.lists(st.floats(0, 30), max_size=60))
def test_who_waits_as_told_is_let_in(limit: int, gaps_s: list[float]) -> None:
    keys = table({**GOOD, "requests_per_minute": limit})
    now_s, let_in = 0.0, 0
    for gap_s in gaps_s:
        now_s += gap_s
        refusal = keys.judge(bearer("sk-good"), now_s=now_s)[1]
        if refusal is not None:
            now_s += float(refusal.retry_after or 0)
            assert keys.judge(bearer("sk-good"), now_s=now_s)[1] is None
        let_in += 1
    assert let_in <= limit + now_s * limit / 60 + 1e-6


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        b"[]",
        b'{"keys":[{"name":"a"}]}',
        b'{"keys":[{"name":"a","key":"sk-secret","stat":1}]}',
        b'{"keys":[{"name":"a","key":"sk-secret","status":200}]}',
        b'{"keys":[{"name":"a","key":"sk-secret"},{"name":"a","key":"sk-2"}]}',
        b'{"keys":[{"name":"a","key":"sk-secret"},{"name":"b","key":"sk-secret"}]}',
    ],
)
def test_a_bad_table_changes_nothing_and_shows_nothing(body: bytes) -> None:
    keys = table(GOOD)
    with pytest.raises(ClientRequestError) as caught:
        keys.set(body, now_s=0.0)
    assert "sk-secret" not in str(caught.value)
    assert [report.name for report in keys.reports()] == ["good"]


# Over HTTP.


async def test_a_key_decides_before_the_script(ask: Ask, put: Ask, simulator: SimulatorServer, body_of: Body) -> None:
    await put(GOOD, LIMITED, REVOKED)
    body = body_of({"text": "Hello"})
    path = "/v1/chat/completions"
    good = await ask(raw=http(path, "POST", body, "sk-good"))
    assert (good.status, good.text) == (200, "Hello")
    limited = await ask(raw=http(path, "POST", body, "sk-limited"))
    assert (limited.status, limited.headers["retry-after"]) == (429, "2")
    assert json.loads(limited.body)["error"]["code"] == "rate_limit_exceeded"
    revoked = await ask(raw=http(path, "POST", body, "sk-revoked"))
    assert revoked.status == 401
    assert (await ask(raw=http(path, "POST", body))).status == 401
    found = [(record.key, record.status, record.outcome) for record in simulator.records.all()]
    assert found == [
        ("good", 200, "completed"),
        ("limited", 429, "fault:key"),
        ("revoked", 401, "fault:key"),
        (None, 401, "fault:key"),
    ]


async def test_the_list_of_models_wants_a_key_too(ask: Ask, put: Ask) -> None:
    await put(GOOD)
    assert (await ask(raw=http("/v1/models", "GET"))).status == 401
    assert (await ask(raw=http("/v1/models", "GET", key="sk-good"))).status == 200


async def test_keys_are_listed_by_name_only_and_can_be_forgotten(ask: Ask, put: Ask) -> None:
    shown = await put(GOOD, LIMITED)
    assert shown.status == 200
    listed = await ask(raw=http("/simulator/keys", "GET"))
    assert listed.body == shown.body
    assert b"sk-" not in listed.body
    assert [key["name"] for key in json.loads(listed.body)["keys"]] == ["good", "limited"]
    assert (await ask(raw=http("/simulator/keys", "DELETE"))).status == 204
    assert (await ask()).status == 200


async def test_a_bad_table_is_refused(ask: Ask) -> None:
    response = await ask(raw=http("/simulator/keys", "PUT", b'{"keys":[{"name":""}]}'))
    assert (response.status, json.loads(response.body)["error"]["param"]) == (400, "keys")


async def test_records_keep_their_shape_without_keys(ask: Ask) -> None:
    await ask({"tokens": 1})
    shown = json.loads((await ask(raw=http("/simulator/requests", "GET"))).body)[0]
    assert (shown["key"], shown["headers"]["authorization"]) == (None, "present")
