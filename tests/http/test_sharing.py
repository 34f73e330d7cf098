"""What requests share: with an ``Idempotency-Key``, and when they are identical and come at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.node import MODEL, InProcess, Reply, node_in_process
from tests.waiting import until

from headrace.delivery.consumer import ConsumerClosed
from headrace.engines.scripted import ScriptedEngine
from headrace.engines.scripted.script import Script
from headrace.errors import BudgetExhausted, Overloaded, RelayError, StreamExists
from headrace.http.ask import Ask
from headrace.http.intake import Begun, begin
from headrace.http.node import new_request_id, new_stream_id
from headrace.policy.prices import Price
from headrace.policy.timeouts import Timeouts
from headrace.protocol.request import parse_chat_request
from headrace.settings import ModelSettings
from headrace.stream.store import Claim
from headrace.types.access import ANYBODY, Allowance, Budget, Caller, ClientKey, Owner, Role
from headrace.types.engine import Endpoint
from headrace.types.ids import KeyId, StreamId
from headrace.types.outcome import Cause
from headrace.types.record import Source

TEXT = "one two three four five six seven eight"
QUEUE_S = 0.15
KEY = {"idempotency-key": "k"}
PRICE = Price(input=Decimal(1), output=Decimal(1), request=Decimal(0))


@asynccontextmanager
async def shared_node(
    *, itl_ms: float = 5, max_active: int | None = None, scripts: Any = (), **model: Any
) -> AsyncIterator[tuple[InProcess, ScriptedEngine]]:
    """Run a node whose model shares, with an engine that talks slowly enough to be joined."""
    engine = ScriptedEngine(Script(text=TEXT, itl_ms=itl_ms), models=[MODEL], max_active=max_active, scripts=scripts)
    settings = {"models": {MODEL: ModelSettings(**({"shares": True} | model))}}
    timeouts = Timeouts(commit_wait_s=5, queue_s=QUEUE_S)
    async with asyncio.timeout(20), node_in_process(engine=engine, settings=settings, timeouts=timeouts) as relay:
        yield relay, engine


def caller(owner: str = "search", key: str | None = None, **fields: Any) -> Caller:
    key_id = KeyId(key or f"key_{owner}")
    held = ClientKey(id=key_id, name="", owner=Owner(owner), secrets=(), created_at=0.0, **fields)
    return Caller(owner=held.owner, role=Role.MEMBER, key=held)


def ask(who: Caller = ANYBODY, *, key: str | None = None, propose: str | None = None, **fields: Any) -> Ask:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True, "temperature": 0}
    body = msgspec.json.encode({**asked, **fields})
    return Ask(
        caller=who,
        request=parse_chat_request(body, max_choices=16),
        body=body,
        endpoint=Endpoint.CHAT,
        stream_id=new_stream_id() if propose is None else StreamId(propose),
        proposed_as=None if propose is None else "Headrace-Stream-Id",
        request_id=new_request_id(),
        headers={} if key is None else {b"idempotency-key": key.encode()},
        linger_s=None,
        wants_usage=False,
    )


async def stays(work: Coroutine[Any, Any, Any]) -> Any:
    """Wait as a client does that does not leave."""
    return await work


async def began(relay: InProcess, *asks: Ask) -> list[Begun | RelayError]:
    """Return what became of requests that come at once."""

    async def one(asked: Ask) -> Begun | RelayError:
        try:
            begun = await begin(relay.node, asked, waits=stays)
        except RelayError as error:
            return error
        if begun.followed.party is not None:
            begun.followed.party.came()
        return begun

    return await asyncio.gather(*map(one, asks))


def logs(begun: list[Begun | RelayError]) -> list[str]:
    """Return the logs that were begun or joined."""
    return [each.followed.log.stream_id for each in begun if isinstance(each, Begun)]


async def told(relay: InProcess, reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = (await relay.call("GET", f"/v1/streams/{reply.headers['headrace-stream-id']}")).json
    return found


# Identical requests


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ({"temperature": 0}, {"temperature": 0}, True),
        ({"temperature": 0}, {"temperature": 0.0, "user": "b", "metadata": {"a": "b"}}, True),
        ({"temperature": 0}, {"temperature": 0, "stream": False}, True),
        ({"temperature": 1, "seed": 7}, {"seed": 7, "temperature": 1}, True),
        ({}, {}, False),
        ({"temperature": 1}, {"temperature": 1}, False),
        ({"temperature": 0}, {"temperature": 0, "seed": 7}, False),
        ({"temperature": 0}, {"temperature": 0, "max_tokens": 100}, False),
        ({"temperature": 0}, {"temperature": 0, "stream_options": {"include_usage": True}}, False),
    ],
)
async def test_requests_without_chance_that_are_the_same_are_generated_once(
    one: dict[str, Any], other: dict[str, Any], *, is_shared: bool
) -> None:
    async with shared_node() as (relay, engine):
        replies = await asyncio.gather(relay.chat(**one), relay.chat(**other))
        assert [reply.status for reply in replies] == [200, 200]
        assert len(engine.requests()) == (1 if is_shared else 2)
        sources = Counter([(await told(relay, reply))["source"] for reply in replies])
        assert sources == ({"engine": 1, "joined": 1} if is_shared else {"engine": 2})


async def test_nothing_is_shared_unless_the_model_does() -> None:
    async with shared_node(shares=False) as (relay, engine):
        await asyncio.gather(*(relay.chat(temperature=0) for _ in range(5)))
        assert len(engine.requests()) == 5


async def test_owners_share_nothing_with_each_other_and_the_keys_of_one_do() -> None:
    async with shared_node() as (relay, engine):
        asks = [ask(caller(owner, key)) for owner in ("a", "b") for key in ("k1", "k2", "k1")]
        begun = logs(await began(relay, *asks))
        assert [len(set(begun[:3])), len(set(begun[3:])), len(set(begun))] == [1, 1, 2]
        assert len(engine.requests()) == 2


async def test_one_that_comes_after_the_end_is_generated_again() -> None:
    async with shared_node(itl_ms=0) as (relay, engine):
        for _ in range(2):
            assert (await relay.chat(temperature=0)).text == TEXT
        assert len(engine.requests()) == 2


async def test_an_eventsource_joins_a_chat_that_asks_the_same() -> None:
    async with shared_node() as (relay, engine):
        chat = asyncio.create_task(relay.chat(temperature=0, max_tokens=256))
        await until(lambda: engine.active() == 1)
        source = await relay.call("GET", "/v1/completions/stream?prompt=hi&temperature=0&model=scripted")
        assert source.status == 200
        assert source.headers["cache-status"] == "headrace; fwd=miss; collapsed"
        assert (await chat).text == TEXT
        assert len(engine.requests()) == 1


async def test_one_that_looked_into_the_cache_while_another_began_joins_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async with shared_node(cache="owner") as (relay, engine):
        looked, go_on = asyncio.Event(), asyncio.Event()
        find = relay.node.cache.find

        async def slow_find(key: str) -> Any:
            found = await find(key)
            if not looked.is_set():
                looked.set()
                await go_on.wait()
            return found

        monkeypatch.setattr(relay.node.cache, "find", slow_find)
        slow = asyncio.create_task(relay.chat(temperature=0))
        await looked.wait()
        quick = asyncio.create_task(relay.chat(temperature=0))
        await until(lambda: engine.active() == 1)
        go_on.set()
        assert (await slow).text == (await quick).text == TEXT
        assert len(engine.requests()) == 1


# Idempotency keys


async def test_a_key_stands_for_one_stream_while_it_runs_and_after_it() -> None:
    async with shared_node(shares=False) as (relay, engine):
        replies = await asyncio.gather(*(relay.chat(headers=KEY, stream=bool(n % 2)) for n in range(20)))
        replies.append(await relay.chat(headers=KEY))
        replies.append(await relay.chat(headers=KEY, stream=False))
        assert {reply.status for reply in replies} == {200}
        whole = [reply.text if reply.chunks else reply.json["choices"][0]["message"]["content"] for reply in replies]
        assert set(whole) == {TEXT}
        assert len(engine.requests()) == 1
        views = [await told(relay, reply) for reply in replies]
        assert Counter(view["source"] for view in views) == {"engine": 1, "repeated": len(replies) - 1}
        assert sum(view["generated_tokens"] for view in views) == 8
        assert {view["delivered_tokens"] for view in views} == {8}


@pytest.mark.parametrize("is_running", [True, False])
async def test_another_body_under_the_same_key_is_refused(*, is_running: bool) -> None:
    async with shared_node(itl_ms=20 if is_running else 0) as (relay, engine):
        first = asyncio.create_task(relay.chat(headers=KEY))
        if is_running:
            await until(lambda: engine.active() == 1)
        else:
            await first
        other = await relay.chat(headers=KEY, temperature=1)
        assert (other.status, other.json["error"]["code"]) == (422, "idempotency_key_reused")
        assert other.json["error"]["param"] == "Idempotency-Key"
        assert (await first).text == TEXT
        assert len(engine.requests()) == 1


async def test_a_key_belongs_to_its_owner() -> None:
    async with shared_node() as (relay, engine):
        begun = await began(relay, *(ask(caller(owner), key="k", seed=n) for n, owner in enumerate("ab")))
        assert len(set(logs(begun))) == 2
        assert len(engine.requests()) == 2


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a\tb", "a\x7fb"])
async def test_what_is_no_key_is_refused(key: str) -> None:
    async with shared_node() as (relay, engine):
        reply = await relay.chat(headers={"idempotency-key": key})
        assert (reply.status, reply.json["error"]["param"]) == (400, "Idempotency-Key")
        assert engine.requests() == []


async def test_one_who_leaves_comes_back_to_the_answer() -> None:
    async with shared_node(itl_ms=10) as (relay, engine):
        gone = asyncio.Event()
        left = asyncio.create_task(relay.chat(headers=KEY, gone=gone))
        await until(lambda: engine.active() == 1)
        gone.set()
        await left
        assert engine.active() == 1
        assert (await relay.chat(headers=KEY)).text == TEXT
        assert len(engine.requests()) == 1


async def test_a_stream_that_was_stopped_is_repeated_as_far_as_it_went() -> None:
    async with shared_node(itl_ms=15) as (relay, engine):
        first = asyncio.create_task(relay.chat(headers=KEY | {"headrace-stream-id": "mine"}))
        await until(lambda: any(pump.log.delivered_tokens > 1 for pump in relay.node.supervisor.running()))
        await relay.call("POST", "/v1/streams/mine/cancel")
        again = await relay.chat(headers=KEY)
        assert again.body == (await first).body.replace(b"mine", again.headers["headrace-stream-id"].encode())
        assert again.chunks[-1]["error"]["code"] == "client_stop"
        assert (await told(relay, again))["cause"] == "client_stop"
        assert len(engine.requests()) == 1


@pytest.mark.parametrize("cause", ["upstream_rejected", "client_stop"])
async def test_what_ended_before_anything_was_delivered_is_generated_anew(cause: str) -> None:
    is_stopped = cause == "client_stop"
    fault: dict[str, Any] = {"kind": "silence_before"} if is_stopped else {"kind": "status", "code": 400}
    async with shared_node(scripts=[{"fault": fault}]) as (relay, engine):
        first = asyncio.create_task(relay.chat(headers=KEY | {"headrace-stream-id": "mine"}))
        if is_stopped:
            await until(lambda: engine.active() == 1)
            await relay.call("POST", "/v1/streams/mine/cancel")
        failed = await first
        # A key makes the stream linger, and takes nothing from the status of what fails early.
        assert (failed.status, failed.json["error"]["cause"]) == (499 if is_stopped else 400, cause)
        assert (await relay.chat(headers=KEY)).text == TEXT
        assert (await relay.chat(headers=KEY)).text == TEXT
        assert len(engine.requests()) == 2


async def test_a_text_that_was_not_kept_is_generated_anew() -> None:
    async with shared_node(itl_ms=0) as (relay, engine):
        for _ in range(2):
            reply = await relay.chat(headers=KEY, store=False)
            assert (reply.status, reply.text) == (200, TEXT)
            await until(lambda: not relay.node.supervisor)
        assert len(engine.requests()) == 2


async def test_an_erased_answer_is_generated_anew() -> None:
    async with shared_node(itl_ms=0) as (relay, engine):
        first = await relay.chat(headers=KEY)
        await relay.call("DELETE", f"/v1/streams/{first.headers['headrace-stream-id']}")
        assert (await relay.chat(headers=KEY)).text == TEXT
        assert len(engine.requests()) == 2


async def test_the_answer_that_its_first_client_had_left_to_others_is_repeated_whole() -> None:
    async with shared_node(itl_ms=15) as (relay, engine):
        first = asyncio.create_task(relay.chat(headers=KEY | {"headrace-stream-id": "mine"}))
        await until(lambda: any(pump.log.delivered_tokens for pump in relay.node.supervisor.running()))
        other = asyncio.create_task(relay.chat(headers=KEY))
        await until(lambda: any(pump.parties.joined for pump in relay.node.supervisor.running()))
        await relay.call("POST", "/v1/streams/mine/cancel")
        assert (await first).chunks[-1]["error"]["code"] == "client_stop"
        joined = await other
        again = await relay.chat(headers=KEY)
        assert again.text == joined.text == TEXT
        assert [(await told(relay, reply))["state"] for reply in (again, joined)] == ["completed", "completed"]
        assert (await relay.call("GET", "/v1/streams/mine")).json["state"] == "cancelled"
        assert len(engine.requests()) == 1


async def test_one_that_looked_for_a_key_while_another_claimed_it_joins_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async with shared_node() as (relay, engine):
        looked, go_on = asyncio.Event(), asyncio.Event()
        find = relay.node.claims.find

        async def slow_find(owner: str, key: str) -> Claim | None:
            found = await find(owner, key)
            if not looked.is_set():
                looked.set()
                await go_on.wait()
            return found

        monkeypatch.setattr(relay.node.claims, "find", slow_find)
        slow = asyncio.create_task(relay.chat(headers=KEY))
        await looked.wait()
        quick = asyncio.create_task(relay.chat(headers=KEY))
        await until(lambda: engine.active() == 1)
        go_on.set()
        replies = [await slow, await quick]
        assert [reply.status for reply in replies] == [200, 200]
        assert {reply.text for reply in replies} == {TEXT}
        assert len(engine.requests()) == 1


async def test_a_claim_whose_stream_is_about_to_begin_is_not_taken_for_one_that_nothing_came_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with shared_node() as (relay, engine):
        claimed, begins, looked, go_on = (asyncio.Event() for _ in range(4))
        claim, own = relay.node.claims.claim, relay.node.records.own

        async def slow_claim(claimed_now: Claim, *, instead_of: StreamId | None = None) -> Claim:
            held = await claim(claimed_now, instead_of=instead_of)
            claimed.set()
            await begins.wait()
            return held

        async def slow_own(stream_id: StreamId) -> Any:
            found = await own(stream_id)
            looked.set()
            await go_on.wait()
            return found

        monkeypatch.setattr(relay.node.claims, "claim", slow_claim)
        monkeypatch.setattr(relay.node.records, "own", slow_own)
        first = asyncio.create_task(relay.chat(headers=KEY))
        await claimed.wait()
        other = asyncio.create_task(relay.chat(headers=KEY))
        await looked.wait()
        begins.set()
        await until(lambda: engine.active() == 1)
        go_on.set()
        replies = [await first, await other]
        assert {reply.text for reply in replies} == {TEXT}
        assert len(engine.requests()) == 1


# Refusals


async def test_a_full_engine_refuses_all_who_wait_for_one_and_takes_later_ones() -> None:
    async with shared_node(max_active=1, itl_ms=30) as (relay, engine):
        occupying = asyncio.create_task(relay.chat(temperature=1))
        await until(lambda: engine.active() == 1)
        refused = await began(relay, *(ask(key="k") for _ in range(10)))
        assert {type(each) for each in refused} == {Overloaded}
        assert (await occupying).text == TEXT
        assert len(set(logs(await began(relay, *(ask(key="k") for _ in range(10)))))) == 1
        assert len(engine.requests()) == 2


async def test_a_queue_that_takes_too_long_refuses_all_who_wait_for_one() -> None:
    async with shared_node(limits=Allowance(concurrent_streams=1), itl_ms=60) as (relay, engine):
        occupying = asyncio.create_task(relay.chat(temperature=1))
        await until(lambda: engine.active() == 1)
        refused = await began(relay, *(ask() for _ in range(10)))
        assert {(type(each).__name__, getattr(each, "status", 0)) for each in refused} == {("RateLimited", 429)}
        assert len({str(each) for each in refused}) == 1
        await occupying
        assert len(set(logs(await began(relay, *(ask() for _ in range(10)))))) == 1
        assert len(engine.requests()) == 2


async def test_a_budget_that_is_spent_refuses_those_who_share_it_only() -> None:
    async with shared_node(price=PRICE) as (relay, engine):
        poor = caller(key="poor", budget=Budget(day_usd=Decimal(0)))
        rich = caller(key="rich")
        became = await began(relay, *(ask(who, key="k") for who in (poor, poor, rich, poor, rich)))
        kinds = [type(each) for each in became]
        assert kinds[:2] == [BudgetExhausted, BudgetExhausted]
        assert kinds[2] is kinds[4] is Begun
        assert len(set(logs(became))) == 1
        assert len(engine.requests()) == 1


async def test_an_id_that_is_taken_meanwhile_keeps_nobody_else_from_beginning() -> None:
    async with shared_node(limits=Allowance(concurrent_streams=1), itl_ms=15) as (relay, engine):
        occupying = asyncio.create_task(relay.chat(temperature=1))
        await until(lambda: engine.active() == 1)
        waiting = asyncio.create_task(began(relay, ask(propose="mine"), ask(), ask()))
        await until(lambda: relay.node.lobby.admission.queued == 1)
        taken = await relay.node.records.own(StreamId("mine"))
        assert taken is None
        (record,) = (await relay.node.records.newest(owner="")).records
        await relay.node.records.save([msgspec.structs.replace(record, id=new_request_id(), stream_id="mine")])
        await occupying
        became = await waiting
        assert isinstance(became[0], StreamExists)
        assert len(logs(became)) == 2
        assert len(set(logs(became))) == 1
        assert len(engine.requests()) == 2


async def test_when_the_first_one_leaves_the_queue_another_one_begins() -> None:
    async with shared_node(limits=Allowance(concurrent_streams=1), itl_ms=15) as (relay, engine):
        occupying = asyncio.create_task(relay.chat(temperature=1))
        await until(lambda: engine.active() == 1)
        leaves = asyncio.Event()

        async def impatient(work: Coroutine[Any, Any, Any]) -> Any:
            waiting = asyncio.ensure_future(work)
            await leaves.wait()
            waiting.cancel()
            raise ConsumerClosed(Cause.CLIENT_GONE)

        first = asyncio.create_task(begin(relay.node, ask(), waits=impatient))
        await until(lambda: relay.node.lobby.admission.queued == 1)
        others = asyncio.create_task(began(relay, ask(), ask(), ask()))
        await asyncio.sleep(0)
        leaves.set()
        with pytest.raises(ConsumerClosed):
            await first
        became = await others
        assert len(logs(became)) == 3
        assert len(set(logs(became))) == 1
        await occupying
        assert len(engine.requests()) == 2


async def test_who_joins_by_a_taken_id_is_refused_and_the_stream_goes_on() -> None:
    async with shared_node() as (relay, engine):
        first = asyncio.create_task(relay.chat(temperature=0, headers={"headrace-stream-id": "mine"}))
        await until(lambda: engine.active() == 1)
        assert (await relay.chat(temperature=0, headers={"headrace-stream-id": "mine"})).status == 409
        joined = await relay.chat(temperature=0, headers={"headrace-stream-id": "other"})
        assert joined.headers["headrace-stream-id"] == "other"
        assert (await first).text == joined.text == TEXT
        assert (await relay.call("GET", "/v1/streams/other")).json["source"] == Source.JOINED


# Requests that end alone


@pytest.mark.parametrize("stopped", ["first", "second"])
async def test_who_stops_alone_sees_the_same_end_for_ever_and_the_others_all_of_the_answer(stopped: str) -> None:
    async with shared_node(itl_ms=20) as (relay, _):
        replies = {
            name: asyncio.create_task(relay.chat(temperature=0, headers={"headrace-stream-id": name}))
            for name in ("first", "second")
        }
        pump = None
        while pump is None or pump.log.published < 4 or len(pump.log.followers) < 2:
            await asyncio.sleep(0.005)
            pump = relay.node.supervisor.find(StreamId("first"))
        assert (await relay.call("POST", f"/v1/streams/{stopped}/cancel")).json["state"] == "cancelled"
        while_it_runs = await relay.call("GET", f"/v1/streams/{stopped}/events")
        done = {name: await reply for name, reply in replies.items()}
        afterwards = await relay.call("GET", f"/v1/streams/{stopped}/events")
        await until(lambda: not relay.node.supervisor)
        forgotten = await relay.call("GET", f"/v1/streams/{stopped}/events")
        view = (await relay.call("GET", f"/v1/streams/{stopped}")).json
    other = "second" if stopped == "first" else "first"
    assert done[other].text == TEXT
    assert done[stopped].chunks[-1]["error"]["cause"] == "client_stop"
    assert TEXT.startswith(done[stopped].text)
    # All but the words for people, which no record holds.
    said = while_it_runs.body.replace(b',"message":"stopped by request"', b"")
    assert said == afterwards.body.replace(b',"message":"stopped by request"', b"") == forgotten.body
    assert b"event: end" in forgotten.body
    assert f"id: {view['last_offset']}\n".encode() in forgotten.body
    assert (view["state"], view["cause"]) == ("cancelled", "client_stop")


async def test_an_answer_that_comes_again_at_its_natural_pace_can_be_stopped() -> None:
    async with shared_node(itl_ms=60, cache="owner", cache_pace="natural", shares=False) as (relay, engine):
        assert (await relay.chat(temperature=0)).text == TEXT
        await until(lambda: not relay.node.supervisor)
        again = asyncio.create_task(relay.chat(temperature=0, headers={"headrace-stream-id": "again"}))
        await until(lambda: relay.node.replays.find(StreamId("again")) is not None)
        await relay.call("POST", "/v1/streams/again/cancel")
        reply = await again
        view = (await relay.call("GET", "/v1/streams/again")).json
        assert relay.node.replays.find(StreamId("again")) is None
        assert len(engine.requests()) == 1
    assert reply.text != TEXT
    assert reply.chunks[-1]["error"]["cause"] == "client_stop"
    assert (view["state"], view["source"]) == ("cancelled", "cache")


async def test_a_handshake_says_nothing_of_the_cache() -> None:
    async with shared_node(cache="owner") as (relay, engine):
        for _ in range(2):
            reply = await relay.call(
                "GET",
                f"/v1/completions/stream?prompt=hi&model={MODEL}&temperature=0",
                headers={"cache-control": "no-cache"},
            )
            assert b"[DONE]" in reply.body
            await until(lambda: not relay.node.supervisor)
        assert len(engine.requests()) == 1
