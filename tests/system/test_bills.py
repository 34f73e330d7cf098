"""Bills: a thousand streams that end in every way there is, and the rules for answers that were cut off.

What the relay says that it delivered is held against what clients received, what it says was generated against what the
simulator sent, and the usage against the streams.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import math
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.processes import Simulator
from tests.system.endings import CUT_AT, DOORS, ENDLESS, EXPECTED, ITL_MS, WAYS, Case, Desk, is_quiet
from tests.system.money import ADDED_TOKENS, Reader, Till, bearer, cases_of, chat_body, money, request, written
from tests.waiting import until

STREAMS = 1000
CRASHED = 50
LAST = 60
"""End just before the crash, whose last word on what was delivered may not be saved yet."""

AT_ONCE = 240
SLOTS = 400
"""Of the key; more than ``AT_ONCE``, since a slot is freed a moment after its client has left."""

ENGINE_LATE_S = 0.5
"""On a busy machine the simulator is that late with what it then sends at once."""

PER_MINUTE = 600_000
PRICES = """
[models.sim.price]
input = "3"
output = "15"
"""

View = dict[str, Any]

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def simulator(simulator: Simulator) -> Simulator:
    simulator.forget()
    return simulator


def all_cases() -> list[Case]:
    """Return as many cases of each way and door as of any other, give or take one."""
    pairs = [(way, door) for way in WAYS for door in DOORS]
    ways_and_doors = itertools.islice(itertools.cycle(pairs), STREAMS - CRASHED - LAST)
    return [Case(way=way, door=door, number=at // len(pairs)) for at, (way, door) in enumerate(ways_and_doors)]


async def live(desk: Desk, cases: list[Case]) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with room:
            await WAYS[case.way](desk, case)

    async with asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(one(case), name=case.name)


async def crash(desk: Desk) -> list[Case]:
    """Kill the relay under streams that all have begun, and right behind others that have ended.

    The clients of those that ran come back and read the rest.
    """
    doors = [door for door in DOORS if door != "blocking"]
    cases = [Case(way="crashed", door=doors[at % len(doors)], number=at) for at in range(CRASHED)]
    clients = [await desk.ask(case, ENDLESS, linger_s=30) for case in cases]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.some(3))
    pairs = itertools.cycle([(way, door) for way in ("completed", "stopped", "cut") for door in DOORS])
    last = [Case(way=way, door=door, number=STREAMS + at) for at, (way, door) in zip(range(LAST), pairs, strict=False)]
    await live(desk, last)
    await asyncio.to_thread(desk.till.relay.kill)
    for client in clients:
        await until(partial(getattr, client, "is_closed"))
    await asyncio.to_thread(desk.till.relay.start)
    for case, client in zip(cases, clients, strict=True):
        if isinstance(client, Reader):
            case.stream_id = client.stream_id
        case.live_tokens = client.tokens
        case.tokens = client.tokens + await desk.rest(case, client)
    return cases + last


def most_ahead(case: Case, view: View, seen: View | None, wall_less_monotonic_s: float) -> int:
    """Return how many tokens the engine may have sent beyond those that a record says were generated."""
    if case.way == "crashed":
        # What the relay had not committed, and what was on its way, when it was killed.
        return math.ceil(2 * ENGINE_LATE_S * 1000 / ITL_MS)
    if case.way == "cut":
        # A reset takes with it what lay unread in the relay's kernel.
        return CUT_AT
    if view["state"] != "cancelled" or is_quiet(case) or seen is None or seen["client_closed_at"] is None:
        return 0
    gap_s: float = max(0.0, seen["client_closed_at"] + wall_less_monotonic_s - view["ended_at"])
    return math.ceil((gap_s + ENGINE_LATE_S) * 1000 / ITL_MS) + 1


def faults_of(case: Case, view: View, ahead: int, most: int) -> Iterator[str]:
    """Hold one stream's record against its client and its engine: yields what is wrong."""
    if (view["state"], view["cause"]) not in EXPECTED[case.way]:
        yield f"it is {view['state']}/{view['cause']}"
    if view["delivered_tokens"] != case.tokens:
        yield f"{view['delivered_tokens']} tokens delivered, {case.tokens} received"
    if not view["delivered_tokens"] <= view["generated_tokens"]:
        yield f"{view['delivered_tokens']} tokens delivered of {view['generated_tokens']}"
    if case.live_tokens > view["generated_tokens"]:
        yield f"{case.live_tokens} tokens were received before the crash, {view['generated_tokens']} generated"
    if not 0 <= ahead <= most:
        yield f"the engine sent {ahead} tokens more than were generated, {most} can have been on their way"


def faults_of_cost(view: View) -> Iterator[str]:
    """Hold one stream's bill against its tokens, by the rule ``generated``: yields what is wrong."""
    cost = view["cost"]
    prompt, completion = cost["prompt_tokens"], cost["completion_tokens"]
    expected = 0 if view["state"] == "failed" else view["generated_tokens"]
    if completion != expected:
        yield f"{completion} tokens billed of {expected}"
    # An engine that never accepted the request has worked for nobody; one that did has read the prompt.
    rule = "generated" if view["state"] in {"cancelled", "truncated"} else None
    if cost["rule"] != rule and (completion or prompt or view["state"] != "cancelled"):
        yield f"billed by the rule {cost['rule']}"
    was_accepted = view["state"] == "completed" or cost["rule"] is not None
    if was_accepted != bool(prompt):
        yield f"a prompt of {prompt} tokens is billed"
    if cost["basis"] != ("reported" if view["state"] == "completed" else "estimated"):
        yield f"the basis is {cost['basis']}"
    if money(cost["usd"]) != (3 * prompt + 15 * completion) * Decimal("0.000001"):
        yield f"it costs {cost['usd']}"


def check_usage(till: Till, views: Iterable[View]) -> View:
    """Hold the usage, in all and by its groups, against the streams' costs: each request counts once."""
    told = till.usage("tag:way,tag:door,state")
    sums: dict[tuple[str, ...], dict[str, Any]] = collections.defaultdict(lambda: collections.defaultdict(Decimal))
    for view in views:
        groups = (view["tags"].get("way", ""), view["tags"].get("door", ""), view["state"])
        for group in (groups, ()):
            add(sums[group], view)
    assert len(told["data"]) == len(sums) - 1
    for line in told["data"]:
        check_sums(line, sums[tuple(line["group"].values())])
    check_sums(told["total"], sums[()])
    return told


def add(sums: dict[str, Any], view: View) -> None:
    cost = view["cost"]
    sums["requests"] += 1
    sums[f"{cost['basis']}_requests"] += 1
    for name in ("generated_tokens", "delivered_tokens"):
        sums[name] += view[name]
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens"):
        sums[name] += cost[name]
    sums["cost_usd"] += money(cost["usd"])


def check_sums(told: View, sums: dict[str, Any]) -> None:
    names = ("requests", "generated_tokens", "delivered_tokens", "prompt_tokens", "cached_tokens", "completion_tokens")
    assert {name: told[name] for name in names} == {name: sums[name] for name in names}, told
    assert money(told["cost_usd"]) == sums["cost_usd"], told
    assert [told[basis]["requests"] for basis in ("reported", "estimated")] == [
        sums["reported_requests"],
        sums["estimated_requests"],
    ]
    assert told["unpriced_requests"] == 0


def nothing_runs(till: Till) -> bool:
    return till.metric("headrace_streams_active") == 0


async def limits_are_free_again(till: Till, key: str, *, slots: int) -> None:
    """Make sure that all slots of a key can be had, and not one more, and that its rates are as if nothing had happened."""
    first = await request(till.port, "/v1/chat/completions", headers=bearer(key), body=chat_body({"tokens": 1}))
    await first.end()
    assert first.status == 200, first.text
    asked = len(msgspec.json.encode(chat_body({"tokens": 1}))) // 4 + ADDED_TOKENS
    assert int(first.headers["x-ratelimit-limit-requests"]) == PER_MINUTE
    # Full but for this request itself, of which the next milliseconds bring back some.
    assert PER_MINUTE - 1 <= int(first.headers["x-ratelimit-remaining-requests"]) <= PER_MINUTE
    assert PER_MINUTE - asked <= int(first.headers["x-ratelimit-remaining-tokens"]) <= PER_MINUTE
    await until(partial(nothing_runs, till))
    body = chat_body({"tokens": 2, "itl_ms": 3_600_000}, stream=True)
    ask = partial(request, till.port, "/v1/chat/completions", headers=bearer(key), body=body)
    running = [await ask() for _ in range(slots)]
    async with asyncio.TaskGroup() as group:
        for client in running:
            group.create_task(client.some(1))
    assert {client.status for client in running} == {200}
    beyond = await ask()
    await beyond.end()
    assert (beyond.status, beyond.error["code"]) == (429, "rate_limit_exceeded"), beyond.text
    for client in running:
        await client.leave()


async def test_a_thousand_streams_ended_in_every_way_are_billed_exactly_once(
    simulator: Simulator, tmp_path: Path
) -> None:
    began_s = time.monotonic()
    with Till(simulator, tmp_path, PRICES) as till, written(f"{STREAMS} streams ended in every way") as lines:
        limits = {"concurrent_streams": SLOTS, "requests_per_minute": PER_MINUTE, "tokens_per_minute": PER_MINUTE}
        desk = Desk(till=till, key=till.new_key(limits=limits)["key"])
        cases = all_cases()
        await live(desk, cases)
        lived_s = time.monotonic() - began_s
        await until(partial(nothing_runs, till))
        known = len(till.streams())
        await until(partial(till.has_settled, known))
        await limits_are_free_again(till, desk.key, slots=SLOTS)
        await until(partial(till.has_settled, known + SLOTS + 1))
        await until(till.agrees)
        cases += await crash(desk)
        views = {view["id"]: view for view in till.streams()}
        assert len(views) == len(till.streams()) == len({view["request_id"] for view in views.values()})
        assert {view["state"] for view in views.values()} <= {"completed", "cancelled", "failed", "truncated"}
        seen = cases_of(simulator)
        ours = check_all(cases, views, seen, lines)
        told = check_usage(till, views.values())
        assert told["total"]["requests"] == len(views) == ours + SLOTS + 1
        till.kill_and_start()
        assert {view["id"]: view for view in till.streams()} == views
        assert check_usage(till, views.values())["total"] == told["total"]
        lines.append(
            f"usage: {told['total']['requests']} requests, {told['total']['cost_usd']} US dollars; the same after two kills"
        )
        lines.append(f"streams took {lived_s:.1f} s, all of it {time.monotonic() - began_s:.1f} s")


def check_all(cases: list[Case], views: dict[str, View], seen: dict[str, View], lines: list[str]) -> int:
    """Check every case, and write what came of each way. Returns how many of them have a record."""
    offset_s = time.time() - time.monotonic()
    found: dict[str, list[tuple[Case, View, int]]] = collections.defaultdict(list)
    wrong = []
    for case in cases:
        view, asked = views.get(case.stream_id), seen.get(case.name)
        if view is None:
            # It left while its request was being read.
            assert (case.way, asked) == ("gone_before", None), case
            continue
        ahead = (0 if asked is None else asked["tokens_sent"]) - view["generated_tokens"]
        found[case.way].append((case, view, ahead))
        most = most_ahead(case, view, asked, offset_s)
        wrong += [f"{case.name}: {what}" for what in (*faults_of(case, view, ahead, most), *faults_of_cost(view))]
    lines += table(found)
    assert not wrong, "\n".join(wrong)
    return sum(map(len, found.values()))


def table(found: dict[str, list[tuple[Case, View, int]]]) -> Iterator[str]:
    yield f"{'way':12} {'streams':>7} {'received':>9} {'delivered':>9} {'generated':>9} {'sent':>7} {'most ahead':>10}"
    for way, ended in found.items():
        received = sum(case.tokens for case, _, _ in ended)
        delivered = sum(view["delivered_tokens"] for _, view, _ in ended)
        generated = sum(view["generated_tokens"] for _, view, _ in ended)
        ahead = [ahead for _, _, ahead in ended]
        sent = generated + sum(ahead)
        yield f"{way:12} {len(ended):7} {received:9} {delivered:9} {generated:9} {sent:7} {max(ahead):10}"
