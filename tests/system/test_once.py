"""Requests that are the same are generated once, whoever leaves and whatever dies in between."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.processes import Relay, Simulator
from tests.system.once import Persistent, asking, completed, crowd, error_of, sharing_relay, text_of
from tests.waiting import until
from tests.wire_client import Wire, WireClient
from websockets.asyncio.client import connect

CLIENTS = 500
KILLS = 20
RELAYS = 2
"""Each is killed in its share of the rounds."""
KEYS = 3
"""Requests under way at each kill, each with a key of its own."""
REPEATS = 9
"""Clients of each key."""

SHORT = {"tokens": 20, "itl_ms": 8, "ttft_ms": 30}
STOP_S = 0.2
LINGER_S = 0.6
ENDLESS = {"tokens": 100_000, "itl_ms": 10}


@pytest.fixture(scope="module")
def relay(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with sharing_relay(simulator, tmp_path_factory.mktemp("once")) as relay:
        yield relay


@pytest.fixture(scope="module")
def forgetful(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with sharing_relay(simulator, tmp_path_factory.mktemp("once"), store="memory:") as relay:
        yield relay


@pytest.fixture(autouse=True)
def _nothing_asked(simulator: Simulator) -> None:
    simulator.forget()


@pytest.fixture
async def wire(relay: Relay) -> AsyncIterator[Wire]:
    async with Wire(relay.port) as wire:
        yield wire


async def records_of(wire: Wire, log_id: str, *, most: int = 600) -> list[dict[str, Any]]:
    """Return what is told of all requests on one log."""
    found: list[dict[str, Any]] = []
    after = ""
    while len(found) < most:
        page = (await wire.fetch(f"/v1/streams?limit=100{after}")).json()
        found += [view for view in page["data"] if view["log_id"] == log_id]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    return found


def id_of(client: WireClient) -> str:
    return client.headers["headrace-stream-id"]


# One generation


@pytest.mark.parametrize("stored", ["relay", "forgetful"])
async def test_500_identical_requests_make_one_generation_and_one_bill(
    stored: str, simulator: Simulator, request: pytest.FixtureRequest
) -> None:
    relay: Relay = request.getfixturevalue(stored)
    body = msgspec.json.encode(asking(SHORT))
    started_s = time.monotonic()
    clients = await crowd(relay.port, [body] * CLIENTS)
    await completed(clients)
    took_s = time.monotonic() - started_s
    assert {client.status for client in clients} == {200}
    texts = {text_of(client) for client in clients}
    assert len(texts) == 1
    assert len(texts.pop().split()) == SHORT["tokens"]
    assert {error_of(client) for client in clients} == {None}
    assert len({id_of(client) for client in clients}) == CLIENTS
    assert [one["outcome"] for one in simulator.requests()] == ["completed"]
    async with Wire(relay.port) as wire:
        log_id = (await wire.fetch(f"/v1/streams/{id_of(clients[0])}")).json()["log_id"]
        rows = await records_of(wire, log_id)
    assert sorted(view["id"] for view in rows) == sorted(map(id_of, clients))
    assert Counter(view["source"] for view in rows) == {"engine": 1, "joined": CLIENTS - 1}
    assert {(view["state"], view["cause"]) for view in rows} == {("completed", "stop")}
    paid = [view for view in rows if view["cost"]["completion_tokens"] or view["generated_tokens"]]
    assert [view["id"] for view in paid] == [log_id]
    print(f"{stored}: {CLIENTS} identical requests, 1 generation, {took_s:.2f} s")  # noqa: T201 (a measurement)


async def test_500_requests_with_one_key_make_one_generation_streaming_or_not(
    relay: Relay, simulator: Simulator
) -> None:
    bodies = [msgspec.json.encode(asking(SHORT, stream=bool(number % 2), temperature=1)) for number in range(CLIENTS)]
    clients = await crowd(relay.port, bodies, {"idempotency-key": "500 of one kind"})
    await completed(clients)
    assert Counter(client.status for client in clients) == {200: CLIENTS}
    assert len({text_of(client) for client in clients}) == 1
    assert len(text_of(clients[0]).split()) == SHORT["tokens"]
    (again,) = await crowd(relay.port, bodies[:1], {"idempotency-key": "500 of one kind"})
    await completed([again])
    assert text_of(again) == text_of(clients[0])
    assert [one["outcome"] for one in simulator.requests()] == ["completed"]
    print(f"{CLIENTS} requests with one key, 1 generation")  # noqa: T201 (a count)


@pytest.mark.timeout(120)
async def test_a_key_is_generated_again_after_kill_9_only_when_nothing_of_it_was_delivered(
    simulator: Simulator, tmp_path: Path
) -> None:
    outcomes: Counter[str] = Counter()
    started_s = time.monotonic()
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        for number in range(RELAYS):
            (tmp_path / str(number)).mkdir()
            group.create_task(be_killed(simulator, tmp_path / str(number), random.Random(number), outcomes))
    took_s = time.monotonic() - started_s
    asked = KILLS * KEYS * REPEATS
    print(f"{KILLS} kills, {asked} clients with {KILLS * KEYS} keys, {took_s:.1f} s: {dict(outcomes)}")  # noqa: T201
    assert outcomes.total() == KILLS * KEYS
    assert outcomes["truncated"] >= 3
    assert outcomes["whole"] >= 3
    assert outcomes["whole at the second try"] >= 1


async def be_killed(simulator: Simulator, folder: Path, chance: random.Random, outcomes: Counter[str]) -> None:
    """Kill one relay again and again, each time while several keys are in some phase of theirs."""
    with sharing_relay(simulator, folder) as relay:
        for number in range(KILLS // RELAYS):
            clients = {f"{folder.name}-{number}-{each}": [Persistent() for _ in range(REPEATS)] for each in range(KEYS)}
            kill_after_s = chance.uniform(0.0, 0.3)
            async with asyncio.TaskGroup() as group:
                for each, key in enumerate(clients):
                    group.create_task(ask_as_one(relay, key, clients[key], begin_after_s=0.08 * each))
                await asyncio.sleep(kill_after_s)
                relay.kill()
                relay.start(wait=False)
            assert relay.is_running
            generations = Counter(record["headers"].get("x-client") for record in simulator.requests())
            outcomes.update(outcome_of(clients[key], generations[key]) for key in clients)


async def ask_as_one(relay: Relay, key: str, clients: list[Persistent], *, begin_after_s: float) -> None:
    """Have all ask with one key, every other one for a stream, until each has an answer."""
    await asyncio.sleep(begin_after_s)
    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(clients):
            body = asking(SHORT, stream=number % 2 == 0, temperature=1)
            group.create_task(client.ask(relay, key, msgspec.json.encode(body)))


def outcome_of(clients: list[Persistent], generations: int) -> str:
    """Make sure that the clients of one key were all told the same; returns how that went.

    A generation has an id of its own in all its chunks, so what a client saw tells how many have reached it.
    """
    seen = set().union(*(client.seen for client in clients))
    assert len(seen) <= 1, "text of two generations was delivered under one key"
    assert len({(client.text, client.error) for client in clients}) == 1, [
        (client.text, client.error, client.status) for client in clients
    ]
    client = clients[0]
    assert client.error in (None, "node_lost")
    assert bool(seen) is bool(client.text)
    assert (len(client.text.split()) == SHORT["tokens"]) is (client.error is None)
    # Had text of a generation been delivered that was repeated, two would have been seen.
    if client.error is not None:
        return "truncated" if generations == 1 else "begun again, then truncated"
    return "whole" if generations == 1 else "whole at the second try"


# Who leaves


async def shared(wire: Wire, simulate: dict[str, Any], count: int, **headers: str) -> list[WireClient]:
    """Return clients of one stream that all have some text; the first one has begun it."""
    clients = []
    for number in range(count):
        asked = asking(simulate, seed=int(simulate["itl_ms"]))
        clients.append(await wire.request("POST", "/v1/chat/completions", headers=headers, body=asked))
        await clients[-1].until(lambda client=clients[-1]: bool(text_of(client)))  # type: ignore[misc]
        assert (number == 0) is ("cache-status" not in clients[-1].headers)
    return clients


async def view(wire: Wire, stream_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await wire.fetch(f"/v1/streams/{stream_id}")).json()
    return found


def end_of(told: dict[str, Any]) -> tuple[str, str | None]:
    return told["state"], told["cause"]


async def test_the_first_client_leaves_and_the_others_go_on_to_the_end(wire: Wire, simulator: Simulator) -> None:
    first, *others = await shared(wire, {"tokens": 60, "itl_ms": 11}, 3)
    first.leave()
    for other in others:
        await other.completed()
        assert len(text_of(other).split()) == 60
    assert [one["outcome"] for one in simulator.requests()] == ["completed"]
    begun = await view(wire, id_of(first))
    assert end_of(begun) == ("cancelled", "client_gone")
    assert begun["generated_tokens"] == begun["cost"]["completion_tokens"] == 60
    for other in others:
        told = await view(wire, id_of(other))
        assert end_of(told) == ("completed", "stop")
        assert told["log_id"] == id_of(first)
        assert told["cost"]["completion_tokens"] == 0
        assert told["delivered_tokens"] == 60


async def test_the_first_request_is_stopped_by_its_id_and_the_others_go_on(wire: Wire, simulator: Simulator) -> None:
    first, *others = await shared(wire, {"tokens": 60, "itl_ms": 12}, 3)
    stopped = await wire.fetch(f"/v1/streams/{id_of(first)}/cancel", method="POST")
    assert end_of(stopped.json()) == ("cancelled", "client_stop")
    await first.completed()
    assert error_of(first) == "client_stop"
    assert len(text_of(first).split()) < 60
    for other in others:
        await other.completed()
        assert len(text_of(other).split()) == 60
    assert end_of(await view(wire, id_of(first))) == ("cancelled", "client_stop")
    assert [one["outcome"] for one in simulator.requests()] == ["completed"]


@pytest.mark.parametrize("how", ["cancel", "leave", "erase"])
async def test_a_request_that_joined_ends_alone(how: str, wire: Wire, simulator: Simulator) -> None:
    pace = {"cancel": 13, "leave": 14, "erase": 15}[how]
    first, joined = await shared(wire, {"tokens": 60, "itl_ms": pace}, 2)
    if how == "cancel":
        await wire.fetch(f"/v1/streams/{id_of(joined)}/cancel", method="POST")
        await joined.completed()
        assert error_of(joined) == "client_stop"
    elif how == "leave":
        joined.leave()
    else:
        assert (await wire.fetch(f"/v1/streams/{id_of(joined)}", method="DELETE")).status == 204
    await first.completed()
    assert len(text_of(first).split()) == 60
    assert end_of(await view(wire, id_of(first))) == ("completed", "stop")
    assert [one["outcome"] for one in simulator.requests()] == ["completed"]
    told = await wire.fetch(f"/v1/streams/{id_of(joined)}")
    if how == "erase":
        assert told.status == 404
        assert id_of(joined) not in [one["id"] for one in await records_of(wire, id_of(first))]
    else:
        cause = "client_stop" if how == "cancel" else "client_gone"
        assert end_of(told.json()) == ("cancelled", cause)
        assert told.json()["cost"]["completion_tokens"] == 0


@pytest.mark.alone
async def test_the_engine_stops_within_200_ms_of_the_last_client_that_leaves(wire: Wire, simulator: Simulator) -> None:
    took_s = []
    for pace in (16, 17, 18):
        simulator.forget()
        clients = await shared(wire, ENDLESS | {"itl_ms": pace}, 4)
        random.Random(pace).shuffle(clients)
        for client in clients:
            assert simulator.requests()[0]["ended_at"] is None
            client.leave()
            await asyncio.sleep(0.05)
        took_s.append(await stopped_after_s(simulator, clients[-1]))
    print(f"the engine stopped {max(took_s) * 1000:.1f} ms after the last of 4 clients had left")  # noqa: T201
    assert max(took_s) < STOP_S


@pytest.mark.alone
@pytest.mark.parametrize("lingering", ["first", "last"])
async def test_the_engine_stops_within_200_ms_of_the_longest_linger(
    lingering: str, wire: Wire, simulator: Simulator
) -> None:
    pace = 19 if lingering == "first" else 20
    lingers = {"headrace-linger": str(LINGER_S)}
    (first,) = await shared(wire, ENDLESS | {"itl_ms": pace}, 1, **(lingers if lingering == "first" else {}))
    asked = asking(ENDLESS | {"itl_ms": pace}, seed=pace)
    headers = lingers if lingering == "last" else {}
    last = await wire.request("POST", "/v1/chat/completions", headers=headers, body=asked)
    await last.until(lambda: bool(text_of(last)))
    first.leave()
    await asyncio.sleep(LINGER_S / 2)
    last.leave()
    counts_from = first if lingering == "first" else last
    took_s = await stopped_after_s(simulator, counts_from)
    print(f"linger of the {lingering}: the engine stopped {took_s:.3f} s after it had left")  # noqa: T201
    assert LINGER_S <= took_s < LINGER_S + STOP_S
    assert end_of(await view(wire, id_of(counts_from))) == ("cancelled", "client_gone")


async def stopped_after_s(simulator: Simulator, client: WireClient) -> float:
    """Return how long after a client has left the engine was told to stop, in seconds."""
    await until(lambda: simulator.requests()[-1]["ended_at"] is not None, within_s=10)
    (record,) = simulator.requests()
    assert record["outcome"] == "client_closed"
    assert client.left_at is not None
    stopped_s: float = record["client_closed_at"] - client.left_at
    return stopped_s


# Every door, and the way back


async def begin_over_websocket(relay: Relay, name: str, asked: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the text and the end of a stream that a WebSocket starts."""
    text = ""
    address = f"ws://127.0.0.1:{relay.port}/v1/stream"
    async with connect(address, subprotocols=["headrace.v1"], proxy=None) as socket:  # type: ignore[list-item]
        await socket.send(msgspec.json.encode({"type": "start", "stream": name, "request": asked}).decode())
        async for message in socket:
            told = msgspec.json.decode(message)
            if told["type"] == "end":
                return text, told["end"]
            assert told["type"] == "entry", told
            text += "".join(choice["delta"].get("content") or "" for choice in told["chunk"]["choices"])
    raise AssertionError("no end came")


async def events_text(wire: Wire, stream_id: str, *, after: int = -1) -> tuple[str, dict[str, Any]]:
    """Follow a stream by an id to its end; returns the text behind an offset, and the end."""
    client = await wire.request("GET", f"/v1/streams/{stream_id}/events?after={after}")
    await client.completed()
    assert client.status == 200, client.text
    assert client.headers["headrace-stream-id"] == stream_id
    offsets = [int(event.id) for event in client.events]
    assert offsets == list(range(after + 1, after + 1 + len(offsets)))
    chunks = [msgspec.json.decode(event.data) for event in client.events[:-1]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    return text, msgspec.json.decode(client.events[-1].data)


async def test_every_door_joins_and_each_request_is_found_again_by_its_own_id(
    simulator: Simulator, tmp_path: Path
) -> None:
    asked = asking({"tokens": 60, "itl_ms": 12}, max_tokens=256)
    prompt = {name: value for name, value in asked.items() if name != "messages"} | {"prompt": "Go on."}
    with sharing_relay(simulator, tmp_path) as relay:
        async with Wire(relay.port) as wire:
            first = await wire.request("POST", "/v1/chat/completions", body=asked)
            await first.events_seen(8)
            over_socket = asyncio.create_task(begin_over_websocket(relay, "socket", asked))
            blocking = await wire.request("POST", "/v1/chat/completions", body=asked | {"stream": False})
            lines = await wire.request("POST", "/api/v1/chat/stream", body=asked)
            source = await wire.request("POST", "/v1/completions/stream", body=prompt)
            for client in (lines, source):
                await client.until(lambda client=client: "headrace-stream-id" in client.headers)  # type: ignore[misc]
            running = await asyncio.gather(*[events_text(wire, id_of(each), after=4) for each in (lines, source)])
            for client in (first, blocking, lines, source):
                await client.completed()
                assert client.headers.get("cache-status") == (
                    None if client is first else "headrace; fwd=miss; collapsed"
                )
            whole = text_of(first)
            assert text_of(blocking) == (await over_socket)[0] == whole
            assert {text for text, _ in running} == {" " + whole.split(" ", 4)[4]}
            ids = [id_of(client) for client in (first, blocking, lines, source)] + ["socket"]
            await assert_found_again(wire, ids, whole)
        relay.kill()
        relay.start()
        async with Wire(relay.port) as wire:
            await assert_found_again(wire, ids, whole)
            await assert_told_and_erased(wire, ids)
    assert [one["outcome"] for one in simulator.requests()] == ["completed"]


async def assert_found_again(wire: Wire, ids: list[str], whole: str) -> None:
    """Make sure that each request's own id leads to all of the answer, and to what is told of it."""
    timelines = []
    for stream_id in ids:
        text, end = await events_text(wire, stream_id)
        assert text == whole
        assert end_of(end) == ("completed", "stop")
        rest, _ = await events_text(wire, stream_id, after=30)
        assert rest
        assert whole.endswith(rest)
        told = await view(wire, stream_id)
        assert (told["id"], told["log_id"]) == (stream_id, ids[0])
        assert end_of(told) == ("completed", "stop")
        assert told["source"] == ("engine" if stream_id == ids[0] else "joined")
        timelines.append((await wire.fetch(f"/v1/streams/{stream_id}/timeline")).json())
    assert all(one["flushes"] == timelines[0]["flushes"] != [] for one in timelines)
    listed = (await wire.fetch("/v1/streams")).json()["data"]
    assert sorted(one["id"] for one in listed) == sorted(ids)


async def assert_told_and_erased(wire: Wire, ids: list[str]) -> None:
    """Report on one request that joined, erase another, then the one that began the stream."""
    began, reported, erased, *others = ids
    report = {"total_ms": 5.0, "transport": "fetch"}
    answer = await wire.request("POST", f"/v1/streams/{reported}/perceived", body=report)
    assert (await answer.response()).status == 204
    assert (await view(wire, reported))["perceived"]["total_ms"] == 5.0
    assert (await view(wire, began))["perceived"] is None
    assert (await wire.fetch(f"/v1/streams/{erased}", method="DELETE")).status == 204
    assert (await wire.fetch(f"/v1/streams/{erased}/events")).status == 404
    assert (await events_text(wire, reported))[1]["state"] == "completed"
    assert (await wire.fetch(f"/v1/streams/{began}", method="DELETE")).status == 204
    for stream_id in (began, reported, *others):
        assert (await wire.fetch(f"/v1/streams/{stream_id}/events")).status in (404, 410)


async def test_a_crash_closes_all_requests_on_a_stream_and_bills_the_one_that_began_it(
    simulator: Simulator, tmp_path: Path
) -> None:
    with sharing_relay(simulator, tmp_path) as relay:
        async with Wire(relay.port) as wire:
            first, *others = await shared(wire, ENDLESS | {"itl_ms": 8}, 4)
            first.leave()
            others[0].leave()
            await others[1].events_seen(20)
            await until(lambda: relay.stream(id_of(others[0]))["state"] == "cancelled")
            relay.kill()
            for other in others:
                await other.closed()
        relay.start()
        async with Wire(relay.port) as wire:
            begun = await view(wire, id_of(first))
            assert end_of(begun) == ("cancelled", "client_gone")
            assert begun["generated_tokens"] == begun["cost"]["completion_tokens"] >= 19
            left, *lost = [await view(wire, id_of(other)) for other in others]
            assert end_of(left) == ("cancelled", "client_gone")
            assert {end_of(told) for told in lost} == {("truncated", "node_lost")}
            assert {told["cost"]["completion_tokens"] for told in (left, *lost)} == {0}
            text, end = await events_text(wire, id_of(others[1]))
            assert end_of(end) == ("truncated", "node_lost")
            assert text.startswith(text_of(others[1]))
