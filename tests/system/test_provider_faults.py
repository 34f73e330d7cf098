"""What engines of a route do wrong, and what becomes of the request: every line of ``docs/provider-faults.md``."""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from tests.system.provider_bench import (
    FAILURES,
    REST_MAX_S,
    REST_S,
    Call,
    Clerk,
    Counter,
    Observation,
    Played,
    Route,
    Wiring,
    counter,
    measured,
    play,
)
from tests.system.provider_case import (
    CUT,
    RETRY,
    RETRY_AFTER_S,
    SECRET,
    TEXT,
    TIMEOUTS,
    WORDS,
    Engine,
    Row,
    Sees,
)
from tests.system.provider_faults import (
    CONTINUED_BILL,
    CONTINUES,
    CONTINUING,
    CUT_HERE,
    DOWN,
    FAILOVER_BILL,
    FLAPPING,
    LEAVES,
    ROWS,
    STORIES,
    WELL,
    always,
    once,
    refusing,
)
from tests.system.provider_table import DOCUMENT, with_table
from tests.waiting import until

from headrace.types.outcome import State

MUST_SHOW = 16
"""Rows that such a table has at least."""

PRICES = (("1", "2"), ("30", "150"))
"""Of the first and the second engine's models, dollars for a million tokens."""

ROUNDED_S = 0.005
"""What the waits of all attempts may be too long by as they are shown."""

CROWD = 18
"""Requests that come while a breaker is open; with those before and after, over 20."""

WIRINGS = (
    Wiring(
        name="flapping",
        # Enough to open the breaker, a probe that fails, and one whose answer takes a moment.
        engines=(Engine(scripts=(DOWN,) * (FAILURES + 1), then={"ttft_ms": 200}), WELL),
    ),
    Wiring(name="failover", engines=(always(DOWN), WELL), prices=PRICES),
    Wiring(name="continued", engines=(always(CUT_HERE), always(CONTINUING, settings=CONTINUES)), prices=PRICES),
    *(
        Wiring(name=f"left-{kind}", engines=(once(refusing(429, retry_after=RETRY_AFTER_S)),))
        for kind in ("streaming", "blocking")
    ),
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def playing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[asyncio.Task[Played]]:
    """All rows, under way while the stories are told: both mostly wait."""
    task = asyncio.ensure_future(play(tmp_path_factory.mktemp("providers")))
    yield task
    task.cancel()
    await asyncio.wait([task])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def played(playing: asyncio.Task[Played]) -> AsyncIterator[Played]:
    """What all rows showed; written at the end."""
    async with asyncio.timeout(60):
        played = await playing
    yield played
    lines = [f"  {measured(row, played.rows[row.name])}" for row in ROWS]
    title = f"{len(ROWS)} provider faults, streaming and blocking, in {played.elapsed_s:.1f} s:"
    sys.stdout.write("\n".join(["", title, *lines, ""]))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def desk(playing: asyncio.Task[Played], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Counter]:
    """A relay for the stories."""
    async with counter(tmp_path_factory.mktemp("stories"), WIRINGS) as desk:
        yield desk


async def test_the_documentation_has_the_table_as_it_is_checked_here() -> None:
    document = DOCUMENT.read_text()
    assert document == with_table(document), "python -m tests.system.provider_table --write"
    assert len(ROWS) >= MUST_SHOW
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(callable(globals()[story.test]) for story in STORIES)


# Stories


async def _whole(desk: Counter, clerk: Clerk, route: Route, *, streams: bool) -> Call:
    """Make a call that must get the whole answer."""
    call = await desk.call(clerk, route, streams=streams)
    assert (call.seen.error, call.seen.text) == (None, TEXT), call.seen.message
    return call


async def _crowd(desk: Counter, clerk: Clerk, route: Route, count: int) -> list[Call]:
    """Make several calls at once, every other one streaming."""
    calls = [_whole(desk, clerk, route, streams=number % 2 == 0) for number in range(count)]
    return list(await asyncio.gather(*calls))


def _by_engine(route: Route, calls: list[Call]) -> list[int]:
    """Return how many calls each engine has answered."""
    return [sum(call.view["engine"] == route.engine(number) for call in calls) for number in (1, 2)]


async def _comes(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await is_so():  # noqa: ASYNC110 (what happens in another process)
            await asyncio.sleep(0.02)


async def test_a_flapping_engine_is_left_alone_and_taken_back(desk: Counter) -> None:
    route, began_s = desk.routes["flapping"], time.monotonic()

    async def stands(breaker: str) -> bool:
        return bool((await desk.standing(route, 1))["breaker"] == breaker)

    async with desk.clerk((await desk.new_key("flapping"))["key"]) as clerk:
        first = [await _whole(desk, clerk, route, streams=streams) for streams in (True, False)]
        assert [len(call.attempts) for call in first] == [4, 3]
        report = await desk.standing(route, 1)
        assert (report["breaker"], report["standing"], report["failures_in_a_row"]) == ("open", "resting", FAILURES)
        assert 0 < report["ready_in_s"] <= REST_S

        left_alone = await _crowd(desk, clerk, route, CROWD)
        assert _by_engine(route, left_alone) == [0, CROWD]
        assert all(call.attempts == [] for call in left_alone)
        assert len(route.requests(1)) == FAILURES

        await _comes(functools.partial(stands, "half_open"))
        probed = await _crowd(desk, clerk, route, 4)
        assert _by_engine(route, probed) == [0, 4]
        assert sorted(len(call.attempts) for call in probed) == [0, 0, 0, 2]
        assert await stands("open")

        await _comes(functools.partial(stands, "half_open"))
        taken_back = await _crowd(desk, clerk, route, 4)
        assert _by_engine(route, taken_back) == [1, 3]
        assert await stands("closed")

        assert _by_engine(route, await _crowd(desk, clerk, route, 4)) == [4, 0]
    requests = route.requests(1)
    assert len(requests) == FAILURES + 1 + 1 + 4
    before, failed_probe, probe = requests[FAILURES - 1 : FAILURES + 2]
    assert before.ended_at is not None
    assert failed_probe.ended_at is not None
    rests_s = failed_probe.accepted_at - before.ended_at, probe.accepted_at - failed_probe.ended_at
    assert rests_s[0] >= REST_S
    assert rests_s[1] >= REST_MAX_S
    _tell(
        FLAPPING.name,
        f"{2 + CROWD + 12} requests whole in {time.monotonic() - began_s:.1f} s; the engine got {len(requests)}, after "
        f"rests of {rests_s[0]:.2f} s and {rests_s[1]:.2f} s",
    )


async def test_after_failover_only_the_engine_that_answered_is_paid(desk: Counter) -> None:
    route, key = desk.routes["failover"], await desk.new_key("failover")
    async with desk.clerk(key["key"]) as clerk:
        calls = [await _whole(desk, clerk, route, streams=streams) for streams in (True, False)]
    for call in calls:
        view, answered = call.view, call.attempts[-1]
        # The second request's are fewer: the breaker opens.
        assert {_tried(attempt) for attempt in call.attempts[:-1]} == {
            (route.engine(1), route.model(1), kind, "upstream_rejected", 503) for kind in ("first", "retry")
        }
        assert all(_is_free(attempt) for attempt in call.attempts[:-1])
        assert (view["engine"], view["engine_model"]) == (route.engine(2), route.model(2))
        usage = _usage(call)
        assert usage == {name: answered[name] for name in ("prompt_tokens", "completion_tokens")}
        assert usage["completion_tokens"] == len(WORDS)
        assert usage["prompt_tokens"] == route.requests(2)[0].prompt_tokens
        assert Decimal(view["cost"]["usd"]) == Decimal(answered["usd"]) == _usd(answered, 2)
        _check_model(call, route.model(2))
    spent = await _check_spent(desk, key, calls)
    _tell(FAILOVER_BILL.name, f"two calls after {len(route.requests(1))} refusals cost {spent} dollars")


async def test_after_a_cut_each_engine_is_paid_for_its_part(desk: Counter) -> None:
    route, key = desk.routes["continued"], await desk.new_key("continued")
    async with desk.clerk(key["key"]) as clerk:
        calls = [await _whole(desk, clerk, route, streams=streams) for streams in (True, False)]
    for call in calls:
        view, (cut, rest) = call.view, call.attempts
        # What the template strips off the prefill comes again: the engine was asked for it, and says so.
        sent = {route.requests(2)[at].tokens_sent for at in range(len(calls))}
        assert {rest["completion_tokens"]} == sent == {len(WORDS) - CUT + 1}
        assert (cut["completion_tokens"], rest["tokens_source"]) == (CUT, "engine")
        assert [Decimal(cut["usd"]), Decimal(rest["usd"])] == [_usd(cut, 1), _usd(rest, 2)]
        assert min(_usd(cut, 1), _usd(rest, 2)) > 0
        assert Decimal(view["cost"]["usd"]) == Decimal(cut["usd"]) + Decimal(rest["usd"])
        assert _usage(call) == {name: cut[name] + rest[name] for name in ("prompt_tokens", "completion_tokens")}
        assert (view["engine"], view["engine_model"]) == (route.engine(2), route.model(2))
        _check_model(call, route.model(2))
    spent = await _check_spent(desk, key, calls)
    _tell(CONTINUED_BILL.name, f"two calls cost {spent} dollars")


def _usage(call: Call) -> dict[str, int]:
    """Return what the client was told of its usage."""
    told = call.seen.completion.usage if call.seen.completion is not None else call.seen.chunks[-1].usage
    return {"prompt_tokens": told.prompt_tokens, "completion_tokens": told.completion_tokens}


def _usd(attempt: dict[str, int], engine: int) -> Decimal:
    """Return what an attempt costs by the price of its engine's model."""
    prompt, answer = PRICES[engine - 1]
    return (Decimal(prompt) * attempt["prompt_tokens"] + Decimal(answer) * attempt["completion_tokens"]) / 10**6


async def _check_spent(desk: Counter, key: dict[str, Any], calls: list[Call]) -> Decimal:
    """Hold what the key has spent, as its budget and the usage see it, against its streams; returns it."""
    cost = sum((Decimal(call.view["cost"]["usd"]) for call in calls), Decimal())

    async def agrees() -> bool:
        spent = (await desk.ask("GET", f"/v1/keys/{key['id']}"))["spent"]
        return Decimal(spent["day_usd"]) == Decimal(spent["month_usd"]) == cost

    await _comes(agrees)
    usage = await desk.ask("GET", "/v1/usage?by=owner")
    owned = [row for row in usage["data"] if row["group"] == {"owner": key["owner"]}]
    assert [Decimal(row["cost_usd"]) for row in owned] == [cost]
    return cost


async def test_a_client_that_leaves_during_a_wait_has_nobody_asked_again(desk: Counter) -> None:
    key = await desk.new_key("left")
    async with desk.clerk(key["key"]) as clerk:
        ended = await asyncio.gather(
            _leave(desk, desk.routes["left-streaming"], clerk.streamed),
            _leave(desk, desk.routes["left-blocking"], clerk.blocked),
        )
    assert Decimal((await desk.ask("GET", f"/v1/keys/{key['id']}"))["spent"]["day_usd"]) == 0
    _tell(LEAVES.name, f"{max(ended):.2f} s after leaving both streams had ended, of a wait of {RETRY_AFTER_S} s")


async def _leave(desk: Counter, route: Route, call: Callable[[str], Awaitable[Any]]) -> float:
    """Leave as soon as the engine has refused; returns how long the stream then took to end, in seconds."""
    calling = asyncio.ensure_future(call(route.name))
    await until(lambda: any(request.ended_at is not None for request in route.requests(1)))
    left_s, left_at = time.monotonic(), time.time()
    calling.cancel()

    async def is_over() -> bool:
        streams = (await desk.ask("GET", "/v1/streams?limit=100"))["data"]
        ours.extend(one for one in streams if one["model"] == route.name and one["ended_at"] is not None)
        return bool(ours)

    ours: list[dict[str, Any]] = []
    await _comes(is_over)
    view = ours[0]
    assert (view["state"], view["cause"]) == ("cancelled", "client_gone")
    assert [_tried(attempt) for attempt in view["attempts"]] == [
        (route.engine(1), route.model(1), "first", "upstream_rejected", 429)
    ]
    assert Decimal(view["cost"]["usd"] or 0) == 0
    # That nobody asks cannot be awaited otherwise.
    await asyncio.sleep(max(0.0, left_s + 1.1 * RETRY_AFTER_S + 0.3 - time.monotonic()))
    assert len(route.requests(1)) == 1
    return float(view["ended_at"]) - left_at


def _tell(name: str, what: str) -> None:
    sys.stdout.write(f"\n  {name}: {what}\n")


# Rows


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace("`", "").replace(" ", "-"))
async def test_a_provider_fault_ends_as_the_table_says(row: Row, played: Played) -> None:
    observed = played.rows[row.name]
    for call, sees in _calls(row, observed):
        _check_user(row, call, sees)
        _check_record(row, call)
        _check_attempts(row, call)
        _check_engines(row, call)
        seen = call.seen
        assert SECRET not in f"{seen.text} {seen.message} {seen.body} {seen.headers} {call.view}"
    assert SECRET not in played.printed


def _calls(row: Row, observed: Observation) -> list[tuple[Call, Sees | None]]:
    return [(observed.streaming, row.streaming), (observed.blocking, row.blocking)]


def _check_user(row: Row, call: Call, sees: Sees | None) -> None:
    seen = call.seen
    assert seen.text == row.text
    assert seen.elapsed_s <= row.within_s
    if sees is None:
        assert (seen.error, seen.finish_reason) == (None, "stop"), seen.message
        return
    assert (seen.error, seen.status) == (sees.error, sees.status), seen.message
    assert (seen.body["state"], seen.body["cause"]) == (row.state, row.cause)
    assert seen.body["code"] == sees.code
    assert seen.body["stream_id"] == seen.stream_id
    assert seen.message
    assert sees.says in seen.message
    if sees.status is not None:
        assert seen.headers["x-should-retry"] == "false"
        assert seen.headers.get("retry-after") == sees.retry_after


def _check_record(row: Row, call: Call) -> None:
    view, route = call.view, call.route
    last = row.tried[-1]
    assert (view["state"], view["cause"]) == (row.state, row.cause)
    assert (view["engine"], view["engine_model"]) == (route.engine(last.engine), route.model(last.engine))
    assert view["malformed_chunks"] == row.malformed
    assert view["durability"] == "durable"
    assert view["ended_at"] is not None
    assert (view["first_content_at"] is not None) == bool(row.text)
    if row.state is State.COMPLETED:
        _check_model(call, route.model(last.engine))


def _check_model(call: Call, model: str) -> None:
    """What a client is told of the model is that of the engine that answers, or that answered last."""
    if call.seen.completion is not None:
        assert call.seen.completion.model == model
        return
    last, usage = [chunk for chunk in call.seen.chunks if _has_text(chunk)][-1], call.seen.chunks[-1]
    assert (last.model, usage.model) == (model, model)
    assert usage.usage is not None


def _has_text(chunk: Any) -> bool:
    return any(choice.delta.content for choice in chunk.choices)


def _check_attempts(row: Row, call: Call) -> None:
    """An attempt has its line in the record as soon as there is more than one."""
    attempts, route = call.attempts, call.route
    if len(row.tried) == 1 and row.tried[0].cause == row.cause:
        assert attempts == []
        return
    assert [_tried(attempt) for attempt in attempts] == [
        (route.engine(tried.engine), route.model(tried.engine), kind, tried.cause, tried.status)
        for tried, kind in zip(row.tried, row.kinds, strict=True)
    ]
    assert len(attempts) <= RETRY.attempts
    assert call.view["retry_budget"] == TIMEOUTS.first_token_s
    waited_s = [attempt.get("waited_s", 0.0) for attempt in attempts]
    assert waited_s[0] == 0
    assert sum(waited_s) <= row.waits_s + ROUNDED_S
    for attempt in attempts:
        if "first_content_at" not in attempt:
            assert _is_free(attempt)


def _tried(attempt: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(attempt.get(name) for name in ("engine", "model", "kind", "cause", "status"))


def _is_free(attempt: dict[str, Any]) -> bool:
    return attempt["usd"] == "0" and all(attempt.get(name, 0) == 0 for name in ("prompt_tokens", "completion_tokens"))


def _check_engines(row: Row, call: Call) -> None:
    route = call.route
    asked = [route.requests(number) for number in range(1, len(row.engines) + 1)]
    assert [len(requests) for requests in asked] == row.asked
    for engine, requests in zip(row.engines, asked, strict=True):
        for at, (before, after) in enumerate(itertools.pairwise(requests)):
            assert before.ended_at is not None
            assert after.accepted_at - before.ended_at >= _retry_after_s(engine, at)


def _retry_after_s(engine: Engine, at: int) -> float:
    """Return when an engine wants to be asked again, by its answer to request number ``at``, in seconds."""
    script = engine.scripts[at] if at < len(engine.scripts) else engine.then or {}
    return float(script.get("fault", {}).get("retry_after", 0.0))
