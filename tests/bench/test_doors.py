"""Every door of a real relay is opened, and a stream that is not whole is noticed at each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import msgspec
import pytest
from bench.clients import Received
from bench.doors import DOORS, SSE, Door
from bench.load import Load
from bench.targets import free_port
from bench.visits import grouped, run_visits
from tests.processes import Relay, Simulator

LOAD = Load(streams=3, tokens=12, itl_ms=0, ramp_s=0.0)

OF_THE_RELAY = [door for door in DOORS if door.server == "relay"]

Require = Callable[[object, str], None]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    spoken = ["--http2"] if importlib.util.find_spec("h2") else []
    with Simulator() as simulator:
        store = tmp_path_factory.mktemp("relay") / "streams.db"
        with Relay(simulator.url, store, "--compress", *spoken) as relay:
            yield relay


async def _through(door: Door, port: int, *, expected: int = LOAD.tokens) -> Received:
    request = msgspec.structs.replace(door.request(port, LOAD), tokens=expected)
    groups = grouped([0.0] * LOAD.streams, door.streams_per_connection)
    return await run_visits(port, LOAD, request, door.visit, groups=groups, result=Received())


@pytest.mark.parametrize("door", OF_THE_RELAY, ids=lambda door: door.name)
async def test_every_token_is_counted_through_every_door(relay: Relay, door: Door, require: Require) -> None:
    require("--http2" not in door.options or importlib.util.find_spec("h2"), "h2")
    result = await _through(door, relay.port)
    assert result.failures == []
    assert (result.completed, result.tokens) == (LOAD.streams, LOAD.total_tokens)
    assert result.reads >= len(grouped([0.0] * LOAD.streams, door.streams_per_connection))


@pytest.mark.parametrize("door", OF_THE_RELAY, ids=lambda door: door.name)
async def test_a_missing_token_is_noticed_through_every_door(relay: Relay, door: Door, require: Require) -> None:
    require("--http2" not in door.options or importlib.util.find_spec("h2"), "h2")
    result = await _through(door, relay.port, expected=LOAD.tokens + 1)
    assert (result.completed, result.failed) == (0, LOAD.streams)
    assert "12 of 13 tokens" in result.failures[0]


async def test_compressed_answers_are_smaller(relay: Relay) -> None:
    doors = {door.name: door for door in OF_THE_RELAY}
    plain = await _through(doors[SSE], relay.port)
    for name, door in doors.items():
        if door.coding != "identity":
            assert (await _through(door, relay.port)).bytes < plain.bytes / 2, name


async def test_nobody_listening_is_a_failure_of_each_stream() -> None:
    doors = {door.name: door for door in OF_THE_RELAY}
    for door in (doors[SSE], doors["events, SSE"], doors["WebSocket, 20 streams a connection"]):
        result = await _through(door, free_port())
        assert (result.completed, result.failed) == (0, LOAD.streams)


def test_names_of_doors_are_their_own() -> None:
    assert len({door.name for door in DOORS}) == len(DOORS)
