"""``kill -9`` of the relay: whatever a client has seen is there after the restart, and every stream says how it ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.crash.log import Log, log_of, text_of
from tests.processes import Relay, Simulator
from tests.waiting import until
from tests.wire_client import Wire, WireClient

STREAMS = 50
ROUNDS = 20

ENDLESS = {"itl_ms": 20, "jitter_ms": 10, "tokens": 100_000}
SILENT = {"fault": {"kind": "silence_before"}}


@pytest.fixture
def relay(simulator: Simulator, tmp_path: Path) -> Iterator[Relay]:
    with Relay(simulator.url, tmp_path / "headrace.db", environ={"HEADRACE_TIMEOUTS__DRAIN": "0.1s"}) as relay:
        yield relay


@pytest.fixture
async def wire(relay: Relay) -> AsyncIterator[Wire]:
    async with Wire(relay.port) as wire:
        yield wire


async def start(wire: Wire, tag: str, simulate: dict[str, Any], *, streams: int = STREAMS) -> dict[str, WireClient]:
    """Start streams; returns their clients by stream id."""
    ids = [f"{tag}-{number}" for number in range(streams)]
    return {name: await wire.chat(simulate, headers={"headrace-stream-id": name}) for name in ids}


async def kill(relay: Relay, clients: dict[str, WireClient]) -> None:
    """Kill the relay and wait until every client has seen that its connection is gone."""
    relay.kill()
    for client in clients.values():
        await client.closed()
        assert not client.is_complete


def was_lost(outcome: dict[str, Any]) -> bool:
    """Whether a record or an end says that the relay died."""
    return (outcome["state"], outcome["cause"]) == ("truncated", "node_lost")


async def assert_nothing_lost(wire: Wire, stream_id: str, seen: list[str]) -> None:
    """Compare the log with what the client saw before the kill, and resume where the client was."""
    log = await log_of(wire, stream_id)
    assert log.chunks[: len(seen)] == seen
    assert log.offsets == list(range(len(log.chunks) + 1))
    assert was_lost(log.end)
    view = (await wire.fetch(f"/v1/streams/{stream_id}")).json()
    assert was_lost(view)
    assert view["last_offset"] == len(log.chunks)
    resumed = await log_of(wire, stream_id, after=len(seen) - 1)
    assert seen + resumed.chunks == log.chunks
    assert resumed.offsets == log.offsets[len(seen) :]
    assert resumed.end == log.end


def has_text(client: WireClient) -> bool:
    return bool(text_of([event.data for event in client.events]))


async def nothing_is_open(wire: Wire) -> bool:
    """Whether no record of a restarted relay still says that its stream runs."""
    pages = [await wire.fetch(f"/v1/streams?state={state}") for state in ("queued", "in_progress")]
    return all(page.json()["data"] == [] for page in pages)


@pytest.mark.timeout(240)
async def test_what_clients_saw_survives_kill_9_twenty_times(relay: Relay, wire: Wire) -> None:
    chance = random.Random(7)
    chunks = 0
    for number in range(ROUNDS):
        clients = await start(wire, f"round-{number}", ENDLESS)
        for client in clients.values():
            await client.until(partial(has_text, client))
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        await kill(relay, clients)
        relay.start()
        for stream_id, client in clients.items():
            seen = [event.data for event in client.events]
            assert text_of(seen)
            await assert_nothing_lost(wire, stream_id, seen)
            chunks += len(seen)
        assert await nothing_is_open(wire)
        assert (await wire.fetch("/healthz")).json()["streams"] == 0
    print(f"{ROUNDS} kills under {STREAMS} streams: {chunks} chunks were seen, none is lost")  # noqa: T201 (a count)


async def test_what_had_ended_before_the_kill_stays_as_it_was(relay: Relay, wire: Wire) -> None:
    running = await start(wire, "running", ENDLESS, streams=5)
    ended = await start(wire, "ended", {"tokens": 20}, streams=5)
    for client in ended.values():
        await client.response()
    stopped = await wire.fetch("/v1/streams/running-0/cancel", method="POST")
    assert stopped.json()["state"] == "cancelled"
    before = [(await wire.fetch(f"/v1/streams/{name}")).json() for name in (*ended, "running-0")]
    relay.kill()
    relay.start()
    after = [(await wire.fetch(f"/v1/streams/{name}")).json() for name in (*ended, "running-0")]
    assert after == before
    for stream_id, client in ended.items():
        log = await log_of(wire, stream_id)
        assert log.chunks == [event.data for event in client.events if event.data != "[DONE]"]
        assert (log.end["state"], log.end["cause"]) == ("completed", "stop")
    assert was_lost((await log_of(wire, "running-1")).end)
    for client in running.values():
        client.leave()


async def test_a_kill_before_the_first_commit_leaves_no_trace_or_a_whole_one(relay: Relay, wire: Wire) -> None:
    chance = random.Random(11)
    traces = 0
    for number in range(6):
        clients = await start(wire, f"round-{number}", SILENT if number % 2 else ENDLESS, streams=20)
        # Later from round to round: a busy machine takes longer to its first commit.
        await asyncio.sleep(chance.uniform(0.0, 0.06 * (1 + number)))
        await kill(relay, clients)
        relay.start()
        for stream_id, client in clients.items():
            view = await wire.fetch(f"/v1/streams/{stream_id}")
            if view.status == 404:
                assert (await wire.fetch(f"/v1/streams/{stream_id}/events")).status == 404
                assert client.events == []
            else:
                traces += 1
                await assert_nothing_lost(wire, stream_id, [event.data for event in client.events])
        assert await nothing_is_open(wire)
    assert traces > 0


async def test_a_kill_of_an_idle_relay_changes_nothing(relay: Relay, wire: Wire) -> None:
    client = await (await wire.chat({"tokens": 5}, headers={"headrace-stream-id": "early"})).response()
    before = (await wire.fetch("/v1/streams")).json()
    relay.kill()
    relay.start()
    assert (await wire.fetch("/v1/streams")).json() == before
    assert (await log_of(wire, "early")).chunks == [event.data for event in client.events if event.data != "[DONE]"]
    assert (await (await wire.chat({"tokens": 5})).response()).status == 200


async def test_a_second_kill_during_or_after_the_recovery_changes_nothing(relay: Relay, wire: Wire) -> None:
    clients = await start(wire, "twice", ENDLESS)
    for client in clients.values():
        await client.events_seen(2)
    await kill(relay, clients)
    for wait_s in (0.25, 0.35, 0.45, 0.55):  # about when it recovers
        relay.start(wait=False)
        await asyncio.sleep(wait_s)
        relay.kill()
    relay.start()
    ends = {stream_id: (await log_of(wire, stream_id)).end for stream_id in clients}
    relay.kill()
    relay.start()
    for stream_id, client in clients.items():
        await assert_nothing_lost(wire, stream_id, [event.data for event in client.events])
        assert (await log_of(wire, stream_id)).end == ends[stream_id]


async def test_a_client_that_lost_its_relay_resumes_by_the_offset_it_has(relay: Relay, wire: Wire) -> None:
    """As an EventSource does: same address, ``Last-Event-ID``."""
    started = await wire.chat(ENDLESS, headers={"headrace-stream-id": "resumed", "headrace-linger": "30"})
    await started.events_seen(2)
    follower = await wire.request("GET", "/v1/streams/resumed/events")
    await follower.events_seen(10)
    relay.kill()
    await follower.closed()
    relay.start()
    last = follower.events[-1]
    again = Log(await wire.fetch("/v1/streams/resumed/events", headers={"last-event-id": last.id}))
    assert again.offsets[0] == int(last.id) + 1
    assert was_lost(again.end)
    whole = await log_of(wire, "resumed")
    assert [event.data for event in follower.events] + again.chunks == whole.chunks


async def test_a_stream_id_is_still_taken_after_a_kill(relay: Relay, wire: Wire) -> None:
    client = await wire.chat(ENDLESS, headers={"headrace-stream-id": "mine"})
    await client.events_seen(2)
    relay.kill()
    relay.start()
    again = await (await wire.chat(ENDLESS, headers={"headrace-stream-id": "mine"})).response()
    assert again.status == 409


async def test_a_second_process_on_the_same_file_is_refused_and_harms_nothing(
    relay: Relay, wire: Wire, simulator: Simulator
) -> None:
    client = await wire.chat(ENDLESS, headers={"headrace-stream-id": "first"})
    await client.events_seen(2)
    assert isinstance(relay.store, Path)
    code, output = Relay(simulator.url, relay.store).run_to_end()
    assert code == 2
    assert f"is being served by process {relay.pid}" in output
    assert len(output.splitlines()) == 1, output
    await client.events_seen(len(client.events) + 5)
    view = (await wire.fetch("/v1/streams/first")).json()
    assert view["state"] == "in_progress"
    client.leave()
    await until(lambda: relay.stream("first")["state"] == "cancelled")


async def test_sigterm_ends_what_runs_as_truncated_by_the_shutdown(simulator: Simulator, tmp_path: Path) -> None:
    options = {"HEADRACE_TIMEOUTS__DRAIN": "0.2s"}
    with Relay(simulator.url, tmp_path / "headrace.db", environ=options) as relay:
        wire = Wire(relay.port)
        clients = await start(wire, "running", ENDLESS, streams=10)
        for client in clients.values():
            await client.events_seen(2)
        relay.signal_end()
        for client in clients.values():
            await client.completed()
        assert relay.wait() == 0
        relay.start()
        for stream_id, client in clients.items():
            *seen, last = [event.data for event in client.events]
            assert msgspec.json.decode(last)["error"]["code"] == "shutdown"
            log = await log_of(wire, stream_id)
            assert log.chunks == seen
            assert (log.end["state"], log.end["cause"]) == ("truncated", "shutdown")
