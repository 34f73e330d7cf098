"""The cache: what is given again, what never is, and what clients may ask for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.processes import Relay, Simulator
from tests.system.caching import (
    DOORS,
    TOOL,
    Generations,
    blocking,
    body_of,
    canary,
    chat,
    is_kept,
    name,
    question,
    relay_of,
    until_kept,
)
from tests.system.money import open_socket
from tests.system.wire import ask, read_log, wait_for

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", params=["sqlite", "memory"])
def relay(
    request: pytest.FixtureRequest, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Relay]:
    """A relay with a cache in each kind of store."""
    store = "memory:" if request.param == "memory" else ""
    with relay_of(simulator, tmp_path_factory.mktemp("cache"), store=store) as relay:
        yield relay


# --- a hit


@pytest.mark.parametrize("first", DOORS)
def test_an_answer_is_given_again_through_every_door(relay: Relay, simulator: Simulator, first: str) -> None:
    generations, asked = Generations(simulator), body_of(question())
    original = DOORS[first](relay.port, asked)
    assert original.text.count(" ") == 11
    until_kept(relay.port, asked)
    again = {name: door(relay.port, asked) for name, door in DOORS.items()}
    assert {name: got.text for name, got in again.items()} == dict.fromkeys(DOORS, original.text)
    assert generations() == 1
    assert all(got.is_hit for name, got in again.items() if name != "websocket")


def test_a_hit_is_the_same_bytes_under_an_id_of_its_own_and_costs_nothing(relay: Relay, simulator: Simulator) -> None:
    generations, asked = Generations(simulator), body_of(question())
    original = chat(relay.port, asked)
    assert original.cache_status == "headrace; fwd=miss"
    assert "age" not in original.headers
    until_kept(relay.port, asked)
    before = relay.get_json("/v1/usage")["total"]
    hit = chat(relay.port, asked)
    assert hit.body == original.body
    assert hit.headers["content-type"] == original.headers["content-type"]
    assert hit.stream_id != original.stream_id
    assert 3590 <= int(hit.cache_status.removeprefix("headrace; hit; ttl=")) <= 3600
    assert 0 <= int(hit.headers["age"]) <= 10
    wait_for(lambda: relay.stream(hit.stream_id)["delivered_tokens"] == 12)
    view = relay.stream(hit.stream_id)
    assert (view["source"], view["log_id"], view["state"]) == ("cache", original.stream_id, "completed")
    assert view["generated_tokens"] == 0
    assert (view["cost"]["prompt_tokens"], view["cost"]["completion_tokens"]) == (0, 0)
    after = relay.get_json("/v1/usage")["total"]
    assert after["requests"] == before["requests"] + 1
    assert after["generated_tokens"] == before["generated_tokens"]
    assert read_log(relay.port, hit.stream_id).text == original.text
    assert generations() == 1


def test_a_blocking_hit_tells_the_usage_as_the_first_answer_did(relay: Relay) -> None:
    asked = body_of(question())
    chat(relay.port, asked)
    until_kept(relay.port, asked)
    first, second = (json.loads(blocking(relay.port, asked).body) for _ in range(2))
    assert first == second
    assert first["usage"]["completion_tokens"] == 12


def test_usage_among_the_chunks_is_another_answer(relay: Relay, simulator: Simulator) -> None:
    generations, content = Generations(simulator), question()
    without = body_of(content)
    shown = body_of(content, stream_options={"include_usage": True})
    running = body_of(content, stream_options={"include_usage": True, "continuous_usage_stats": True})
    bodies = []
    for asked in (without, shown, running):
        bodies.append(chat(relay.port, asked).body)
        assert until_kept(relay.port, asked).body == bodies[-1]
    assert [body.count(b'"usage":{') for body in bodies] == [0, 1, bodies[2].count(b"data: {")]
    assert generations() == 3
    # Who says that usage is not wanted says nothing new.
    assert is_kept(relay.port, body_of(content, stream_options={"include_usage": False}))


@pytest.mark.parametrize("fields", [{"user": "u-1"}, {"metadata": {"a": "b"}}, {"service_tier": "flex"}])
def test_what_only_says_whom_it_is_for_makes_no_other_question(relay: Relay, fields: dict[str, Any]) -> None:
    content = question()
    chat(relay.port, body_of(content))
    assert until_kept(relay.port, body_of(content, **fields)).is_hit


# --- never served

REFUSED: dict[str, dict[str, Any]] = {
    "cut": {"tokens": 12, "fault": {"kind": "fin", "at": 6}},
    "reset": {"tokens": 12, "fault": {"kind": "rst", "at": 6}},
    "ended without a reason": {"tokens": 12, "fault": {"kind": "clean_end", "at": 6}},
    "error in the stream": {"tokens": 12, "fault": {"kind": "error_event", "at": 6}},
    "failed": {"tokens": 12, "fault": {"kind": "status", "code": 400}},
    "filtered by the engine": {"tokens": 12, "finish_reason": "content_filter"},
    "a chunk is missing": {"tokens": 12, "fault": {"kind": "malformed_json", "at": 6}},
}


@pytest.mark.parametrize("way", REFUSED)
def test_no_part_of_an_answer_is_given_again(relay: Relay, simulator: Simulator, way: str) -> None:
    generations, asked = Generations(simulator), body_of(question(), simulate=REFUSED[way])
    chat(relay.port, asked)
    # Another one that ends later is there: so this one would be, too.
    canary(relay)
    assert not is_kept(relay.port, asked)
    before = generations()
    chat(relay.port, asked)
    assert generations() > before


async def test_a_cancelled_answer_is_not_given_again(relay: Relay) -> None:
    asked = body_of(question(), simulate={"tokens": 1000, "itl_ms": 5})
    async with asyncio.timeout(20):
        socket = await open_socket(relay.port, {})
        await socket.say(type="start", stream=name(), request=asked)
        await socket.some(5)
        await socket.leave()
    await asyncio.to_thread(canary, relay)
    assert not is_kept(relay.port, asked)


@pytest.mark.parametrize(
    "fields",
    [
        {"store": False},
        {"tools": [TOOL]},
        {"functions": [{"name": "look"}]},
        {"temperature": 0.7},
        {"temperature": None},
        {"model": "plain"},
    ],
    ids=["store=false", "tools", "functions", "by chance", "by default", "no cache"],
)
def test_some_requests_have_nothing_to_do_with_the_cache(
    relay: Relay, simulator: Simulator, fields: dict[str, Any]
) -> None:
    generations, asked = Generations(simulator), body_of(question(), **fields)
    first = chat(relay.port, asked)
    assert first.status == 200
    assert first.cache_status == ""
    canary(relay)
    assert not is_kept(relay.port, asked)
    chat(relay.port, asked)
    assert generations() == 3


def test_a_seed_is_enough_and_so_is_a_route_that_keeps_what_chance_made(relay: Relay) -> None:
    for asked in (
        body_of(question(), temperature=0.7, seed=3),
        body_of(question(), temperature=1.5, model="sampled"),
    ):
        original = chat(relay.port, asked)
        assert until_kept(relay.port, asked).body == original.body


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "other"},
        {"max_tokens": 255},
        {"temperature": 0.0, "top_p": 0.5},
        {"seed": 1},
        {"stop": ["x"]},
        {"messages": [{"role": "system", "content": "Go on."}]},
        {"n": 2},
        {"logprobs": True},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_another_question_has_another_answer(relay: Relay, fields: dict[str, Any]) -> None:
    content = question()
    chat(relay.port, body_of(content))
    until_kept(relay.port, body_of(content))
    assert not is_kept(relay.port, body_of(content, **fields))


def test_a_header_that_the_engine_gets_is_a_part_of_the_question(relay: Relay) -> None:
    asked = body_of(question())
    chat(relay.port, asked, {"x-dialect": "one"})
    assert until_kept(relay.port, asked, {"x-dialect": "one"}).is_hit
    assert not is_kept(relay.port, asked)
    assert not is_kept(relay.port, asked, {"x-dialect": "two"})
    # Which trace it belongs to is none.
    assert is_kept(relay.port, asked, {"x-dialect": "one", "traceparent": f"00-{1:032x}-{1:016x}-01"})


def test_a_name_that_stands_twice_is_no_question_to_keep_an_answer_to(relay: Relay) -> None:
    good = json.dumps(body_of(question()))
    evil = good.replace('"content":', '"content": "something else", "content":')
    assert chat(relay.port, evil.encode()).status == 200
    canary(relay)
    assert not is_kept(relay.port, good.encode())
    assert not is_kept(relay.port, evil.encode())


def test_what_was_erased_is_gone(relay: Relay) -> None:
    asked = body_of(question())
    original = chat(relay.port, asked)
    alias = until_kept(relay.port, asked)
    # Who erases a request of its own on it erases that alone.
    assert ask(relay.port, "DELETE", f"/v1/streams/{alias.stream_id}").status == 204
    assert is_kept(relay.port, asked)
    assert ask(relay.port, "DELETE", f"/v1/streams/{original.stream_id}").status == 204
    assert not is_kept(relay.port, asked)
    assert ask(relay.port, "GET", f"/v1/streams/{alias.stream_id}/events").status == 404


def test_an_answer_grows_too_old(relay: Relay) -> None:
    asked = body_of(question(), model="brief")
    chat(relay.port, asked)
    hit = until_kept(relay.port, asked)
    assert hit.cache_status in {"headrace; hit; ttl=0", "headrace; hit; ttl=1"}
    wait_for(lambda: not is_kept(relay.port, asked), within_s=3, what="the end of a second")
    assert chat(relay.port, asked).cache_status == "headrace; fwd=miss"


# --- Cache-Control of the request


def test_no_store_is_neither_given_nor_kept(relay: Relay, simulator: Simulator) -> None:
    generations, asked = Generations(simulator), body_of(question())
    assert chat(relay.port, asked, {"cache-control": "no-store"}).cache_status == "headrace; fwd=request"
    canary(relay)
    assert not is_kept(relay.port, asked)
    kept = chat(relay.port, asked)
    until_kept(relay.port, asked)
    assert chat(relay.port, asked, {"cache-control": "no-store"}).body != kept.body
    assert until_kept(relay.port, asked).body == kept.body
    assert generations() == 4


def test_no_cache_is_not_given_but_kept(relay: Relay) -> None:
    asked = body_of(question())
    first = chat(relay.port, asked)
    until_kept(relay.port, asked)
    second = chat(relay.port, asked, {"cache-control": "no-cache"})
    assert second.cache_status == "headrace; fwd=request"
    assert second.body != first.body
    wait_for(lambda: until_kept(relay.port, asked).body == second.body, what="the newer answer")


def test_nothing_older_than_asked_for_is_given(relay: Relay) -> None:
    asked = body_of(question())
    first = chat(relay.port, asked)
    until_kept(relay.port, asked)
    assert chat(relay.port, asked, {"cache-control": "max-age=60"}).is_hit
    time.sleep(0.05)
    second = chat(relay.port, asked, {"cache-control": "max-age=0"})
    assert not second.is_hit
    assert second.body != first.body


def test_where_nothing_else_is_wanted_a_miss_is_an_error_and_asks_no_engine(relay: Relay, simulator: Simulator) -> None:
    generations = Generations(simulator)
    for asked in (body_of(question()), body_of(question(), tools=[TOOL]), body_of(question(), model="plain")):
        for headers in ({}, {"idempotency-key": question()}):
            got = chat(relay.port, asked, {"cache-control": "only-if-cached", **headers})
            assert (got.status, got.error["code"], got.error["param"]) == (504, "not_cached", "Cache-Control")
    assert generations() == 0


@pytest.mark.parametrize("value", ["", "max-age=-1", "max-age=soon", "stale-while-revalidate=5, =, ;;", "no-storey"])
def test_nonsense_asks_for_nothing(relay: Relay, value: str) -> None:
    asked = body_of(question())
    chat(relay.port, asked)
    until_kept(relay.port, asked)
    assert chat(relay.port, asked, {"cache-control": value}).is_hit


# --- with an Idempotency-Key


def test_an_idempotency_key_goes_before_the_cache(relay: Relay, simulator: Simulator) -> None:
    generations, asked, key = Generations(simulator), body_of(question()), question()
    first = chat(relay.port, asked)
    until_kept(relay.port, asked)
    # What a key stands for is its own; it is not bound to an answer of others.
    second = chat(relay.port, asked, {"idempotency-key": key})
    assert second.cache_status == "headrace; fwd=bypass"
    assert second.body != first.body
    again = chat(relay.port, asked, {"idempotency-key": key})
    assert (again.body, again.cache_status) == (second.body, "")
    # A whole answer under a key is kept for those without one.
    wait_for(lambda: until_kept(relay.port, asked).body == second.body, what="the newer answer")
    assert generations() == 2


# --- pace

SLOW = {"tokens": 10, "itl_ms": 30}


def test_at_its_natural_pace_an_answer_takes_as_long_as_the_first_time(relay: Relay, simulator: Simulator) -> None:
    generations, asked = Generations(simulator), body_of(question(), model="paced", simulate=SLOW)
    started_s = time.monotonic()
    original = chat(relay.port, asked)
    first_s = time.monotonic() - started_s
    until_kept(relay.port, asked)
    started_s = time.monotonic()
    hit = chat(relay.port, asked)
    again_s = time.monotonic() - started_s
    assert hit.is_hit
    assert hit.body == original.body
    assert 0.2 < again_s < first_s + 1
    assert generations() == 1


async def test_credit_holds_at_the_natural_pace_and_who_leaves_leaves_nothing_behind(relay: Relay) -> None:
    asked = body_of(question(), model="paced", simulate=SLOW)
    await asyncio.to_thread(chat, relay.port, asked)
    await asyncio.to_thread(until_kept, relay.port, asked)
    async with asyncio.timeout(20):
        for end in ("reads on", "leaves"):
            stream_id = name()
            socket = await open_socket(relay.port, {})
            await socket.say(type="start", stream=stream_id, request=asked, credit=4)
            await socket.some(3)  # and the role
            # What credit does not allow does not come, however long ago it was due.
            await asyncio.sleep(0.4)
            assert (socket.chunks, socket.is_over) == (4, False)
            if end == "reads on":
                await socket.say(type="credit", stream=stream_id, credit=1000)
                await socket.end()
                assert socket.tokens == 10
            else:
                await socket.leave(politely=False)
            view = await asyncio.to_thread(settled, relay, stream_id, delivered=10 if end == "reads on" else 3)
            assert view["source"] == "cache"
    assert relay.metric("headrace_consumers") == 0


def settled(relay: Relay, stream_id: str, *, delivered: int) -> dict[str, Any]:
    def view() -> dict[str, Any] | None:
        found = relay.stream(stream_id)
        return found if found["delivered_tokens"] == delivered else None

    found: dict[str, Any] = wait_for(view, what=f"{delivered} delivered tokens of {stream_id}")
    return found
