"""Budgets: a stream goes on for one tick at most when the money is gone, and what is spent is spent.

A token of an answer costs a dollar here and prompts are free, so a budget in dollars is a number of tokens.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.processes import Simulator
from tests.system.endings import DOORS, ENDLESS, Case, Desk
from tests.system.money import Reader, SocketReader, Till, cases_of, money, written
from tests.waiting import until

SETTINGS = """
[models.sim.price]
input = "0"
output = "1000000"
[owners.family.budget]
month_usd = "60"
"""

BUDGET = 40
CROWD = 200
CROWD_BUDGET = 1000

View = dict[str, Any]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def till(simulator: Simulator, tmp_path: Path) -> Iterator[Till]:
    simulator.forget()
    with Till(simulator, tmp_path, SETTINGS) as till:
        yield till


def tick_tokens(till: Till, stream_id: str) -> int:
    """Return how many tokens the last tick of an ended stream brought: it ended within it."""
    flushes = till.get(f"/v1/streams/{stream_id}/timeline")["flushes"]
    last: int = flushes[-1]["entries"]
    # The first entry of all says the role.
    return last - 1 if len(flushes) == 1 else last


def shown_error(client: Reader | SocketReader) -> dict[str, Any]:
    """Return the error object that a client's stream, or its request, ended with."""
    if isinstance(client, SocketReader):
        final = client.final
        assert final is not None
        error: dict[str, Any] = final["error"] if final["type"] == "error" else final["end"]
        return error
    return client.error


async def spend_all(desk: Desk, case: Case, script: dict[str, Any] = ENDLESS) -> Reader | SocketReader:
    client = await desk.ask(case, script)
    await client.end()
    if isinstance(client, Reader) and "headrace-stream-id" in client.headers:
        case.stream_id = client.stream_id
    case.tokens = client.tokens
    return client


async def is_refused(desk: Desk, case: Case) -> None:
    """Ask for one more stream, and make sure that nobody begins it and that the answer says why."""
    client = await spend_all(desk, case)
    error = shown_error(client)
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota"), error
    assert "is spent" in error["message"]
    if isinstance(client, Reader):
        assert client.status == 429
        assert client.headers["x-should-retry"] == "false"
        # Not before the next month, or day, begins; SDKs must not wait for that.
        assert int(client.headers["retry-after"]) >= 1


def check_end(case: Case, client: Reader | SocketReader, view: View, *, budget: int, ahead: int) -> None:
    """Hold a stream that used up its key's budget against that budget.

    Args:
        case: It.
        client: What its client saw.
        view: What the relay says of it.
        budget: In tokens.
        ahead: Tokens of the last tick.
    """
    assert (view["state"], view["cause"]) == ("cancelled", "budget")
    assert view["delivered_tokens"] == case.tokens
    billed = view["cost"]["completion_tokens"]
    assert money(view["cost"]["usd"]) == billed == view["generated_tokens"]
    assert budget < billed <= budget + ahead, (case.name, billed, ahead)
    error = shown_error(client)
    assert f"the key's budget of {budget} US dollars for the " in error["message"], error
    if case.door in {"websocket", "lines"}:
        assert (error["state"], error["cause"]) == ("cancelled", "budget")
    else:
        assert (error["code"], error["type"]) == ("budget", "stream_cancelled"), error
    if case.door == "blocking":
        assert isinstance(client, Reader)
        assert client.status == 429
        assert client.headers["x-should-retry"] == "false"


async def test_a_budget_stops_its_stream_within_the_tick_and_lets_nobody_else_in(
    simulator: Simulator, till: Till
) -> None:
    keys = {door: till.new_key(budget={"day_usd" if door == "chat" else "month_usd": str(BUDGET)}) for door in DOORS}
    desks = {door: Desk(till=till, key=key["key"]) for door, key in keys.items()}
    cases = {door: Case(way="budget", door=door, number=0) for door in DOORS}
    clients = await asyncio.gather(*[spend_all(desks[door], cases[door]) for door in DOORS])
    await until(partial(till.has_settled, len(DOORS)))
    with written(f"one stream on a budget of {BUDGET} tokens") as lines:
        for (door, case), client in zip(cases.items(), clients, strict=True):
            view, ahead = till.stream(case.stream_id), tick_tokens(till, case.stream_id)
            assert view is not None
            billed = view["cost"]["completion_tokens"]
            lines.append(f"{door:11}: {billed} billed, {billed - BUDGET} too many, {ahead} in the last tick")
            check_end(case, client, view, budget=BUDGET, ahead=ahead)
            assert till.spent_of(keys[door]) == billed
    asked = len(simulator.requests())
    await asyncio.gather(*[is_refused(desks[door], Case(way="after", door=door, number=0)) for door in DOORS])
    assert len(simulator.requests()) == asked
    assert till.usage()["total"]["requests"] == len(DOORS) == len(till.streams())


async def test_keys_of_one_owner_spend_its_budget_together(till: Till) -> None:
    first, second = (Desk(till=till, key=till.new_key(owner="family")["key"]) for _ in range(2))
    cases = [Case(way="together", door="chat", number=number) for number in range(2)]
    await spend_all(first, cases[0], {"tokens": 30})
    client = await spend_all(second, cases[1])
    await until(partial(till.has_settled, 2))
    view = till.stream(cases[1].stream_id)
    assert view is not None
    assert (view["state"], view["cause"]) == ("cancelled", "budget")
    assert 30 < view["cost"]["completion_tokens"] <= 30 + tick_tokens(till, cases[1].stream_id)
    assert "the owner's budget of 60 US dollars for the month" in shown_error(client)["message"]
    await is_refused(first, Case(way="after", door="chat", number=0))


async def test_a_crowd_overspends_a_nearly_empty_budget_by_a_tick_each_at_most(till: Till) -> None:
    key = till.new_key(budget={"month_usd": str(CROWD_BUDGET)})
    desk = Desk(till=till, key=key["key"])
    doors = ("chat", "lines", "blocking", "eventsource", "websocket")
    cases = [Case(way="crowd", door=doors[number % len(doors)], number=number) for number in range(CROWD)]
    # All are let in before the first of them spends anything.
    await asyncio.gather(*[spend_all(desk, case, {**ENDLESS, "ttft_ms": 1500}) for case in cases])
    await until(partial(till.has_settled, CROWD))
    views = {view["id"]: view for view in till.streams()}
    assert len(views) == CROWD
    ahead = {case.stream_id: tick_tokens(till, case.stream_id) for case in cases}
    billed = {name: view["cost"]["completion_tokens"] for name, view in views.items()}
    spent = sum(billed.values())
    over = spent - CROWD_BUDGET
    sizes = sorted(ahead.values())
    with written(f"{CROWD} streams on a budget of {CROWD_BUDGET} tokens") as lines:
        lines.append(f"{spent} tokens spent, {over} too many: {over / CROWD:.2f} a stream")
        lines.append(
            f"last ticks brought {sizes[CROWD // 2]} tokens in the median, {sizes[-1]} at most, {sum(sizes)} in all"
        )
        lines.append(
            f"streams had {min(billed.values())} to {max(billed.values())} tokens of {CROWD_BUDGET // CROWD} each"
        )
    assert {(view["state"], view["cause"]) for view in views.values()} == {("cancelled", "budget")}
    assert [views[case.stream_id]["delivered_tokens"] for case in cases] == [case.tokens for case in cases]
    assert 0 < over <= sum(sizes)
    assert till.spent_of(key) == spent == money(till.usage()["total"]["cost_usd"])
    await is_refused(desk, Case(way="after", door="chat", number=0))


def spent_by_streams(till: Till, key: dict[str, Any]) -> Decimal:
    return sum((money(view["cost"]["usd"]) for view in till.streams() if view["key_id"] == key["id"]), Decimal(0))


async def test_what_is_spent_is_spent_after_a_crash_and_after_a_restart(simulator: Simulator, till: Till) -> None:
    budget = 300
    key = till.new_key(budget={"month_usd": str(budget)})
    desk = Desk(till=till, key=key["key"], chance=random.Random(3))
    whole = [Case(way="whole", door="chat", number=number) for number in range(5)]
    await asyncio.gather(*[spend_all(desk, case, {"tokens": 20}) for case in whole])
    await until(partial(till.has_settled, len(whole)))
    assert till.spent_of(key) == 100
    cut_off = [Case(way="cut_off", door="chat", number=number) for number in range(10)]
    running = [await desk.ask(case, ENDLESS) for case in cut_off]
    async with asyncio.TaskGroup() as group:
        for client in running:
            group.create_task(client.some(5))
    await asyncio.to_thread(till.relay.kill)
    for client in running:
        await until(partial(getattr, client, "is_closed"))
    await asyncio.to_thread(till.relay.start)
    lost = sum(client.tokens for client in running)
    spent = till.spent_of(key)
    with written(f"a budget of {budget} tokens over a crash and a restart") as lines:
        lines.append(
            f"100 spent by whole answers, {spent - 100} by those cut off by the crash, whose clients had {lost}"
        )
        assert spent == spent_by_streams(till, key) == money(till.usage()["total"]["cost_usd"])
        assert 100 + lost <= spent < budget
        last = Case(way="last", door="chat", number=0)
        await spend_all(desk, last)
        await until(partial(till.has_settled, 1))
        view = till.stream(last.stream_id)
        assert view is not None
        assert (view["state"], view["cause"]) == ("cancelled", "budget")
        over = spent + view["cost"]["completion_tokens"] - budget
        lines.append(f"{view['cost']['completion_tokens']} by the last one, {over} too many")
        assert 0 < over <= tick_tokens(till, last.stream_id)
    await is_refused(desk, Case(way="after", door="chat", number=0))
    await asyncio.to_thread(till.relay.terminate)
    await asyncio.to_thread(till.relay.start)
    assert till.spent_of(key) == budget + over == spent_by_streams(till, key)
    await is_refused(desk, Case(way="after", door="chat", number=1))
    await asyncio.to_thread(till.kill_and_start)
    assert till.spent_of(key) == budget + over
    await is_refused(desk, Case(way="after", door="websocket", number=2))
    assert len(cases_of(simulator)) == len(whole) + len(cut_off) + 1
