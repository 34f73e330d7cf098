"""Limits with 500 clients at once: nobody gets in beyond them, nobody waits too long, and owners share fairly.

What got in is measured at the simulator: its records say when each answer began and ended.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, NamedTuple

import pytest
from tests.processes import Relay, Simulator
from tests.system.crowd import Crowd, Visitor, answered, leave
from tests.system.reloading import SettingsFile, add_keys, bearer, figures, most_at_once
from tests.system.wire import chat_body
from tests.waiting import until
from websockets.asyncio.client import ClientConnection, connect

from headrace.policy.keys import KeyWish
from headrace.types.chunk import BYTES_PER_TOKEN

pytestmark = pytest.mark.alone

CLIENTS = 500
QUEUE_S = 0.5
LATE_S = 0.2
"""How much longer than the deadline of the queue a client may wait."""

LOOK_EVERY_S = 0.01

BASE = """
[engine]
forward_headers = ["x-client"]
[timeouts]
queue = "{queue}"
idle = "{idle}s"
[limits]
max_queued = {max_queued}
max_queued_per_owner = {max_queued_per_owner}
"""

IDLE_S = 0.5
SHORT = {"tokens": 3, "itl_ms": 30, "usage": "never"}
ENDLESS = {"tokens": 1_000_000, "itl_ms": 100, "usage": "never"}
CONCURRENT, REQUESTS, TOKENS = 20, 120, 6000


class Place(NamedTuple):
    """A relay, its engine, and what it goes by."""

    relay: Relay
    simulator: Simulator
    settings: SettingsFile
    keys: dict[str, str]
    """Secrets by owner."""

    def apply(
        self, text: str, *, queue: str = f"{QUEUE_S}s", max_queued: int = 250, max_queued_per_owner: int = 250
    ) -> None:
        base = BASE.format(idle=IDLE_S, queue=queue, max_queued=max_queued, max_queued_per_owner=max_queued_per_owner)
        self.settings.apply(self.relay, base + text)
        self.simulator.forget()

    def records(self) -> list[dict[str, Any]]:
        """What the engine remembers, in the order of arrival."""
        return sorted(self.simulator.requests(), key=lambda record: record["accepted_at"])

    def names(self) -> list[str]:
        return [record["headers"]["x-client"] for record in self.records()]


@pytest.fixture(scope="module")
def place(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("limits")
    owners = ["crowd", "many", "few"]
    keys = asyncio.run(add_keys(folder / "streams.db", *(KeyWish(owner=owner) for owner in owners)))
    settings = SettingsFile(folder / "headrace.toml")
    settings.write(BASE.format(idle=IDLE_S, queue="10s", max_queued=1, max_queued_per_owner=1))
    with Relay(simulator.url, folder / "streams.db", *settings.options) as relay:
        secrets = {owner: secret for owner, (_, secret) in zip(owners, keys, strict=True)}
        yield Place(relay, simulator, settings, secrets)


@pytest.fixture
async def crowd(place: Place) -> AsyncIterator[Crowd]:
    async with Crowd(place.relay.port) as crowd:
        yield crowd
    # What the visitors left behind must not count for the next test.
    await until(lambda: place.simulator.summary()["active"] == 0)


# Nobody gets in beyond a limit


def check_concurrent(records: list[dict[str, Any]], _: int) -> str:
    most = most_at_once([(record["accepted_at"], record["ended_at"]) for record in records])
    assert most == CONCURRENT
    return f"{most} at once"


def check_requests(records: list[dict[str, Any]], _: int) -> str:
    return check_rate([(record["accepted_at"], 1) for record in records], REQUESTS)


def check_tokens(records: list[dict[str, Any]], prompt_tokens: int) -> str:
    return check_rate([(record["accepted_at"], prompt_tokens) for record in records], TOKENS)


def check_rate(taken: list[tuple[float, int]], per_minute: int) -> str:
    """Make sure that no stretch of time has more than a full bucket and what flows in meanwhile.

    On its way to the engine a request may lose time to the one before it, a second at most.
    """
    for first in range(len(taken)):
        total = 0
        for at, amount in taken[first:]:
            total += amount
            assert total <= per_minute * (1 + (at - taken[first][0] + 1) / 60)
    return f"{sum(amount for _, amount in taken)} in {taken[-1][0] - taken[0][0]:.2f} s"


SCOPES = {"key": "keys", "owner": "owners.crowd", "model": "models.sim", "engine": "engine"}
LIMITS: dict[str, tuple[int, Callable[[list[dict[str, Any]], int], str]]] = {
    "concurrent_streams": (CONCURRENT, check_concurrent),
    "requests_per_minute": (REQUESTS, check_requests),
    "tokens_per_minute": (TOKENS, check_tokens),
}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("scope", SCOPES)
async def test_500_clients_never_exceed_a_limit_and_wait_no_longer_than_allowed(
    place: Place, crowd: Crowd, scope: str, limit: str
) -> None:
    amount, check = LIMITS[limit]
    place.apply(f"[{SCOPES[scope]}.limits]\n{limit} = {amount}\n")
    # As long at the engine as it comes here, so that its bill is what it was admitted with.
    body = chat_body(simulate=SHORT, content="x" * 400, stream_options={"include_usage": True})
    async with lags_of(crowd) as lags:
        visitors = await crowd.many(CLIENTS, "crowd", bearer(place.keys["crowd"]), body)
        await answered(visitors)
    served = [visitor for visitor in visitors if visitor.status == 200]
    refused = [visitor for visitor in visitors if visitor.is_refused]
    records = place.records()
    assert len(served) + len(refused) == CLIENTS
    assert {visitor.name for visitor in served} == set(place.names())
    assert len(served) >= CONCURRENT
    told = check(records, len(body) // BYTES_PER_TOKEN)
    for visitor in refused:
        check_refusal(visitor, scope, limit, amount)
    for visitor in served:
        check_quota(visitor, limit, amount)
    begun_s = {record["headers"]["x-client"]: record["accepted_at"] for record in records}
    waits = [begun_s[visitor.name] - visitor.sent_s for visitor in served]
    waits += [visitor.waited_s for visitor in refused]
    queued = [visitor for visitor in refused if "in the queue" in visitor.error["message"]]
    lag_s = max([*lags, *(visitor.waited_s for visitor in refused if visitor not in queued)])
    # What is late by more is late because of the machine: on the way to the relay, and to the engine.
    assert max(waits) <= QUEUE_S + LATE_S + 2 * lag_s
    assert min(visitor.waited_s for visitor in queued) >= QUEUE_S - 0.01
    figures(
        f"{limit} = {amount} of one {scope}, {CLIENTS} clients",
        [
            f"served {len(served)}, refused at once {len(refused) - len(queued)}, after waiting {len(queued)}",
            f"at the engine {told}; longest wait {max(waits):.3f} s of {QUEUE_S} s, the machine's lag {lag_s:.3f} s",
        ],
    )


@asynccontextmanager
async def lags_of(crowd: Crowd) -> AsyncIterator[list[float]]:
    """Collect, until the block ends, how long the relay takes for what it answers at once, in seconds."""
    lags: list[float] = []

    async def collect() -> None:
        (visitor,) = await crowd.connect(1)
        while True:
            began_s = time.monotonic()
            visitor.send("GET", "/healthz", {}, b"")
            await visitor.completed()
            lags.append(time.monotonic() - began_s)
            visitor.expect_another()
            await asyncio.sleep(LOOK_EVERY_S)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(collect())
        yield lags
        task.cancel()


def check_refusal(visitor: Visitor, scope: str, limit: str, amount: int) -> None:
    error = visitor.error
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert f"the {scope}" in error["message"]
    assert f"{limit} = {amount}" in error["message"] or "other requests wait" in error["message"]
    assert 1 <= int(visitor.headers["retry-after"]) <= 60
    check_quota(visitor, limit, amount)


def check_quota(visitor: Visitor, limit: str, amount: int) -> None:
    quota = {name: value for name, value in visitor.headers.items() if name.startswith("x-ratelimit-")}
    if limit == "concurrent_streams":
        assert not quota
        return
    what = limit.split("_", 1)[0]
    assert quota.keys() == {f"x-ratelimit-{part}-{what}" for part in ("limit", "remaining", "reset")}
    assert quota[f"x-ratelimit-limit-{what}"] == str(amount)
    assert 0 <= int(quota[f"x-ratelimit-remaining-{what}"]) < amount


# Owners share


async def test_450_clients_of_one_owner_do_not_keep_50_of_another_from_their_turns(place: Place, crowd: Crowd) -> None:
    slots = 10
    place.apply(
        f"[engine.limits]\nconcurrent_streams = {slots}\n", queue="60s", max_queued=CLIENTS, max_queued_per_owner=450
    )
    holders = await crowd.many(slots, "holder", bearer(place.keys["crowd"]), chat_body(simulate=ENDLESS))
    await until(lambda: all(holder.events for holder in holders))
    body = chat_body(simulate={"tokens": 2, "itl_ms": 20})
    visitors = await crowd.many(450, "many", bearer(place.keys["many"]), body)
    visitors += await crowd.many(50, "few", bearer(place.keys["few"]), body)
    await queue_is_full(crowd, place)
    opened_s = time.monotonic()
    await leave(holders)
    await answered(visitors)
    took_s = time.monotonic() - opened_s
    assert all(visitor.status == 200 for visitor in visitors)
    begun = [record for record in place.records() if not record["headers"]["x-client"].startswith("holder")]
    turns = [record["headers"]["x-client"].split("-")[0] for record in begun]
    first = Counter(turns[:100])
    lines = [f"{'owner':<6} {'waiting':>7} {'of the first 100':>16} {'mean wait':>10} {'longest':>8}"]
    waits = {}
    for owner, waiting in Counter(turns).items():
        waits[owner] = [record["accepted_at"] - opened_s for record in begun if owner in record["headers"]["x-client"]]
        mean_s, longest_s = sum(waits[owner]) / waiting, max(waits[owner])
        lines.append(f"{owner:<6} {waiting:>7} {first[owner]:>16} {mean_s:>8.3f} s {longest_s:>6.3f} s")
    figures(f"{slots} slots of an engine, {CLIENTS} clients wait; all were served within {took_s:.2f} s", lines)
    # In turn, give or take those that entered in one round.
    assert abs(first["few"] - 50) <= 2
    assert max(waits["few"]) < sum(waits["many"]) / 450
    assert most_at_once([(record["accepted_at"], record["ended_at"]) for record in begun]) <= slots


async def queue_is_full(crowd: Crowd, place: Place) -> None:
    """Wait until all who have asked wait, which leaves no place for anybody else."""
    for _ in range(3):
        # Connections are taken in the order in which they came, so that this one is served last.
        (last,) = await crowd.connect(1)
        last.send("GET", "/healthz", {}, b"")
        await last.completed()
    # Not one of the owners, so that it could not take a turn of theirs.
    probe = await crowd.one("probe", bearer(place.keys["crowd"]), chat_body(simulate=SHORT))
    await answered([probe])
    assert probe.is_refused
    assert f"max_queued = {CLIENTS}" in probe.error["message"]


# The queue


async def test_the_queue_is_bounded_and_whoever_leaves_it_frees_a_place(place: Place, crowd: Crowd) -> None:
    most, most_of_one = 100, 60
    place.apply(
        "[engine.limits]\nconcurrent_streams = 1\nrequests_per_minute = 10000\n",
        queue="60s",
        max_queued=most,
        max_queued_per_owner=most_of_one,
    )
    holder = await crowd.one("holder", bearer(place.keys["crowd"]), chat_body(simulate=ENDLESS))
    await until(lambda: bool(holder.events))
    # Half of them ask for a whole answer at once.
    bodies = [chat_body(simulate=SHORT), chat_body(simulate=SHORT, stream=False)]
    for turn in range(2):
        visitors: list[Visitor] = []
        for owner, body in zip(["many", "few"], bodies, strict=True):
            visitors += await crowd.many(CLIENTS // 2, f"{owner}-{turn}", bearer(place.keys[owner]), body)
        await until(lambda waiting=visitors: sum(one.is_refused for one in waiting) == CLIENTS - most)  # type: ignore[misc]
        queued = [visitor for visitor in visitors if not visitor.is_refused]
        of_owners = Counter(visitor.name.split("-")[0] for visitor in queued)
        assert of_owners == {"many": most_of_one, "few": most - most_of_one}
        reasons = Counter(
            visitor.error["message"].split(", and ")[1].split(" = ")[0] for visitor in visitors if visitor.is_refused
        )
        assert reasons == {
            "max_queued_per_owner": CLIENTS // 2 - most_of_one,
            "max_queued": CLIENTS // 2 - most + most_of_one,
        }
        assert not any(visitor.status for visitor in queued)
        await leave(queued)
    figures(
        f"a queue of {most}, of {most_of_one} for each owner, {CLIENTS} clients",
        [f"waiting {dict(of_owners)}, refused {dict(reasons)}; the same once these had left"],
    )
    await leave([holder])
    last = await crowd.one("last", bearer(place.keys["few"]), bodies[0])
    await answered([last])
    assert last.status == 200
    assert place.names() == ["holder", "last"]
    # One request since, but for what flowed in: nobody who left was counted.
    assert requests_left(last) >= requests_left(holder) - 1


async def test_clients_that_leave_at_any_moment_leak_no_slot(place: Place, crowd: Crowd) -> None:
    place.apply(
        f"[engine.limits]\nconcurrent_streams = {CONCURRENT}\nrequests_per_minute = 10000\n",
        queue="60s",
        max_queued=CLIENTS,
        max_queued_per_owner=CLIENTS,
    )
    random = Random(1)
    bodies = [chat_body(simulate=SHORT), chat_body(simulate=SHORT, stream=False)]
    visitors: list[Visitor] = []
    leaving: list[asyncio.TimerHandle] = []
    for number, visitor in enumerate(await crowd.connect(CLIENTS)):
        visitor.ask(f"churn-{number}", bearer(place.keys["many"]), bodies[number % 2])
        visitors.append(visitor)
        # Some before anybody looked at their request, some in the queue, some while they are served.
        leaving.append(asyncio.get_running_loop().call_later(random.expovariate(5), visitor.leave))
    await until(lambda: all(visitor.is_complete or visitor.is_closed for visitor in visitors))
    for timer in leaving:
        timer.cancel()
    served = [visitor for visitor in visitors if visitor.is_complete]
    assert all(visitor.status == 200 for visitor in served)
    await leave(visitors)
    # In a queue that somebody had left behind, nobody would be admitted at once.
    after = await crowd.many(CONCURRENT + 1, "after", bearer(place.keys["few"]), chat_body(simulate=ENDLESS))
    await until(lambda: sum(bool(visitor.events) for visitor in after) == CONCURRENT)
    (late,) = [visitor for visitor in after if not visitor.events]
    await leave([visitor for visitor in after if visitor.events][:1])
    await until(lambda: bool(late.events))
    figures(
        f"{CLIENTS} clients that leave when they like, {CONCURRENT} slots",
        [f"{len(served)} were served, {len(place.names()) - len(after)} reached the engine; all slots are back"],
    )
    await leave(after)


async def test_waiting_starts_of_a_websocket_can_be_stopped_detached_and_dropped(place: Place, crowd: Crowd) -> None:
    place.apply("[engine.limits]\nconcurrent_streams = 2\nrequests_per_minute = 10000\n", queue="60s")
    holders = await crowd.many(2, "holder", bearer(place.keys["crowd"]), chat_body(simulate=ENDLESS))
    await until(lambda: all(holder.events for holder in holders))
    async with socket_of(place, "few") as gone, socket_of(place, "few") as here:
        stamp = time.monotonic_ns()
        for number in range(50):
            await say(gone, type="start", stream=f"gone-{stamp}-{number}", request=short_request())
        await said(gone)
        names = {what: f"{what}-{stamp}" for what in ("stopped", "detached", "served")}
        for name in names.values():
            await say(here, type="start", stream=name, request=short_request())
        await say(here, type="stop", stream=names["stopped"])
        await say(here, type="detach", stream=names["detached"])
        told = await said(here)
        assert [(one["type"], one["stream"], one["error"]["code"]) for one in told] == [
            ("error", names["stopped"], "client_stop"),
            ("error", names["detached"], "client_stop"),
        ]
        await gone.close()
        await leave(holders)
        ended = await heard(here, "end")
        assert {one["stream"] for one in ended} == {names["served"]}
        assert ended[-1]["end"]["state"] == "completed"
        # A name that was turned away is free.
        await say(here, type="start", stream=names["stopped"], request=short_request())
        assert (await heard(here, "end"))[-1]["end"]["state"] == "completed"
    assert [name.split("-")[0] for name in place.names()] == ["holder", "holder", "few", "few"]
    # All slots are back: two run at once, and the third waits.
    visitors = await crowd.many(3, "after", bearer(place.keys["few"]), chat_body(simulate=ENDLESS))
    await until(lambda: sum(bool(visitor.events) for visitor in visitors) == 2)
    # Two requests of the sockets and two of these, but for what flowed in: whoever was turned away is not counted.
    begun = [visitor for visitor in visitors if visitor.events]
    assert min(map(requests_left, begun)) >= min(map(requests_left, holders)) - 4
    await leave(visitors)


def requests_left(visitor: Visitor) -> int:
    """Return what was left of the engine's requests once this one had been admitted."""
    return int(visitor.headers["x-ratelimit-remaining-requests"])


def socket_of(place: Place, owner: str) -> connect:
    headers = {**bearer(place.keys[owner]), "x-client": owner}
    return connect(f"ws://127.0.0.1:{place.relay.port}/v1/stream", additional_headers=headers, proxy=None)


def short_request() -> dict[str, Any]:
    request: dict[str, Any] = json.loads(chat_body(simulate=SHORT))
    return request


async def say(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))


async def said(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return what the relay says up to its answer to a ping, by which it has handled all that was sent before."""
    await say(socket, type="ping")
    return (await heard(socket, "pong"))[:-1]


async def heard(socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """Return the messages up to the first of a kind."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while not messages or messages[-1]["type"] != kind:
            messages.append(json.loads(await socket.recv()))
    return messages


# Rates of tokens act during the stream


async def test_streams_on_a_rate_of_tokens_are_paced_alike_and_never_cut(place: Place, crowd: Crowd) -> None:
    per_minute, slow_per_minute, measured_s = 1200, 60, 3.0
    place.apply(
        f"[owners.few.limits]\ntokens_per_minute = {per_minute}\n"
        f"[owners.many.limits]\ntokens_per_minute = {slow_per_minute}\n"
    )
    body = chat_body(simulate={"tokens": 1_000_000, "itl_ms": 2, "deltas": ["a"], "usage": "never"})
    visitors = await crowd.many(2, "paced", bearer(place.keys["few"]), body)
    slow = await crowd.one("slow", bearer(place.keys["many"]), body)

    def counts() -> list[int]:
        return [len(visitor.events) for visitor in visitors]

    # At once what a full bucket holds, prompts included; the engine is fifty times as fast as the limit.
    burst_s = await until(lambda: sum(counts()) >= per_minute * 0.9)
    await until(lambda: len(slow.events) >= slow_per_minute * 0.5)
    await asyncio.sleep(0.2)
    before, began_s = counts(), time.monotonic()
    await until(lambda: time.monotonic() - began_s >= measured_s)
    took_s = time.monotonic() - began_s
    got = [after - earlier for after, earlier in zip(counts(), before, strict=True)]
    rate = sum(got) / took_s * 60
    figures(
        f"tokens_per_minute = {per_minute} of one owner, two streams of an engine with 60000 a minute",
        [
            f"burst {sum(before)} in {burst_s:.2f} s, then {rate:.0f} a minute; the streams got {got} in {took_s:.2f} s",
            f"with {slow_per_minute} a minute: {len(slow.events)} tokens, {slow.longest_pause_s:.2f} s without one, idle {IDLE_S} s",
        ],
    )
    assert not any(visitor.is_complete or visitor.is_closed for visitor in [*visitors, slow])
    assert rate == pytest.approx(per_minute, rel=0.15)
    assert max(got) - min(got) <= 0.15 * sum(got)
    # Its rate leaves gaps that are longer than the time-out for an idle engine.
    assert slow.longest_pause_s > IDLE_S
