"""The rules for answers that were cut off: what was delivered, what was generated, what the vendor says.

All streams of one relay run at the same time: most of them wait for something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.processes import Simulator
from tests.system.money import (
    ADDED_TOKENS,
    CASE_HEADER,
    Reader,
    Till,
    bearer,
    cases_of,
    chat_body,
    money,
    request,
    written,
)
from tests.waiting import until

RULES = ("delivered", "generated", "vendor")
PROMPT_TOKENS = 2
"""By the simulator's count of words."""

ANSWER = {"tokens": 60, "itl_ms": 20}
ENDLESS = {"tokens": 100_000, "itl_ms": 20}
BREAKS = {"tokens": 60, "itl_ms": 20, "fault": {"kind": "error_event", "at": 20}}
STALLS = {"tokens": 20, "itl_ms": 10, "fault": {"kind": "silence", "at": 8, "ms": 2500}}
"""Longer than the relay waits, and then the rest."""

LONG = {"deltas": [" far more text than any token has"], "tokens": 60, "itl_ms": 20}
LONG_TOKENS = 9
"""Of one of its deltas by our count; the engine counts one."""

MODEL = """
[models.{rule}]
cancelled = "{rule}"
truncated = "{rule}"
price = {{ input = "0", output = "1000000" }}
"""
"""A dollar a token of the answer."""

SETTINGS = "".join(MODEL.format(rule=rule) for rule in RULES) + '[billing]\ndrain = "3s"\n'

View = dict[str, Any]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(*[word for rule in RULES for word in ("--model", rule)]) as simulator:
        yield simulator


@pytest.fixture
def till(simulator: Simulator, tmp_path: Path) -> Iterator[Till]:
    with Till(simulator, tmp_path, SETTINGS, environ={"HEADRACE_TIMEOUTS__IDLE": "1s"}) as till:
        yield till


@pytest.fixture
def counting_till(simulator: Simulator, tmp_path: Path) -> Iterator[Till]:
    """A relay that asks its engine for usage with every chunk."""
    with Till(simulator, tmp_path, SETTINGS, environ={"HEADRACE_ENGINE__CONTINUOUS_USAGE": "true"}) as till:
        yield till


async def ask(till: Till, key: str, name: str, model: str, script: dict[str, Any], **fields: Any) -> Reader:
    linger = fields.pop("linger", None)
    headers = {**bearer(key), CASE_HEADER: name, "headrace-stream-id": name}
    headers |= {} if linger is None else {"headrace-linger": linger}
    body = {**chat_body(script, stream=True, **fields), "model": model}
    return await request(till.port, "/v1/chat/completions", headers=headers, body=body)


async def stopped(till: Till, key: str, name: str, model: str, script: dict[str, Any], **fields: Any) -> Reader:
    client = await ask(till, key, name, model, script, **fields)
    await client.some(3)
    await (await request(till.port, f"/v1/streams/{name}/cancel", headers=bearer(key))).end()
    await client.end()
    return client


async def left(till: Till, key: str, name: str, model: str, script: dict[str, Any], **fields: Any) -> Reader:
    client = await ask(till, key, name, model, script, **fields)
    await client.some(3)
    await client.leave()
    return client


async def heard(till: Till, key: str, name: str, model: str, script: dict[str, Any], **fields: Any) -> Reader:
    client = await ask(till, key, name, model, script, **fields)
    await client.end()
    return client


async def at_once(till: Till, key: str, wanted: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Reader, View]]:
    """Let all streams live at the same time, and return client and view of each, when all bills are settled.

    ``wanted`` says by the stream's name what lives it, and how it is asked for.
    """
    async with asyncio.TaskGroup() as group:
        tasks = {
            name: group.create_task(way(till, key, name, model, script, **fields))
            for name, (way, model, script, fields) in wanted.items()
        }
    await until(partial(till.has_settled, len(wanted)))
    await until(till.agrees)
    views = {view["id"]: view for view in till.streams()}
    assert views.keys() == wanted.keys()
    return {name: (task.result(), views[name]) for name, task in tasks.items()}


def bill_line(name: str, client: Reader, view: View, sent: int) -> str:
    cost = view["cost"]
    return (
        f"{name:22} {view['state']}/{view['cause']}: {client.tokens} deltas received, {view['delivered_tokens']} tokens "
        f"delivered, {view['generated_tokens']} generated, {sent} sent, {cost['completion_tokens']} billed "
        f"({cost['basis']}, {cost['rule']})"
    )


async def test_answers_cut_off_are_billed_by_the_rule_of_their_model(simulator: Simulator, till: Till) -> None:
    simulator.forget()
    key = till.new_key()["key"]
    lingers = {"linger": "30"}
    wanted: dict[str, tuple[Any, ...]] = {}
    for rule in RULES:
        wanted |= {
            f"{rule}-stopped": (stopped, rule, ANSWER, {}),
            f"{rule}-left": (left, rule, ANSWER, {}),
            f"{rule}-broke": (heard, rule, BREAKS, {}),
            f"{rule}-broke-unheard": (left, rule, BREAKS, lingers),
            f"{rule}-stalled": (heard, rule, STALLS, {}),
        }
    wanted["vendor-endless"] = (stopped, "vendor", ENDLESS, {})
    found = await at_once(till, key, wanted)
    seen = cases_of(simulator)
    with written("answers cut off, by the rule of their model") as lines:
        lines += [bill_line(name, *pair, seen[name]["tokens_sent"]) for name, pair in found.items()]
    for name, (client, view) in found.items():
        rule, _, how = name.partition("-")
        cost, asked = view["cost"], seen[name]
        assert view["state"] == ("cancelled" if how in {"stopped", "left", "endless"} else "truncated")
        assert client.tokens == view["delivered_tokens"] <= view["generated_tokens"] <= asked["tokens_sent"]
        assert cost["rule"] == rule
        assert money(cost["usd"]) == cost["completion_tokens"]
        is_asked = rule == "vendor" and how in {"stopped", "left", "stalled"}
        assert cost["basis"] == ("reported" if is_asked else "estimated")
        if is_asked:
            # It ran to its end, unheard, and said what it counted.
            assert asked["outcome"] == "completed"
            assert cost["completion_tokens"] == asked["tokens_sent"] == view["generated_tokens"]
            assert cost["prompt_tokens"] == PROMPT_TOKENS
        else:
            counted = view["delivered_tokens" if rule == "delivered" else "generated_tokens"]
            assert cost["completion_tokens"] == counted
            assert cost["prompt_tokens"] > 0
    # Nobody waits for ever for a vendor's word.
    assert seen["vendor-endless"]["outcome"] == "client_closed"
    usage = till.usage("model")
    billed = {line["group"]["model"]: money(line["cost_usd"]) for line in usage["data"]}
    assert billed == {
        rule: sum(money(view["cost"]["usd"]) for name, (_, view) in found.items() if name.startswith(rule))
        for rule in RULES
    }


async def test_a_budget_stops_the_engine_also_where_its_vendor_would_be_asked(simulator: Simulator, till: Till) -> None:
    simulator.forget()
    budget = 10
    key = till.new_key(budget={"month_usd": str(budget)})
    found = await at_once(till, key["key"], {"over": (heard, "vendor", ANSWER, {})})
    _, view = found["over"]
    assert (view["state"], view["cause"]) == ("cancelled", "budget")
    assert (
        budget < till.spent_of(key) == view["cost"]["completion_tokens"] == view["generated_tokens"] < ANSWER["tokens"]
    )
    assert cases_of(simulator)["over"]["outcome"] == "client_closed"


async def test_with_continuous_usage_answers_cut_off_are_billed_as_the_engine_counts(
    simulator: Simulator, counting_till: Till
) -> None:
    simulator.forget()
    till = counting_till
    key = till.new_key()["key"]
    wanted: dict[str, tuple[Any, ...]] = {
        "generated-stopped": (stopped, "generated", LONG, {}),
        "generated-left": (left, "generated", LONG, {}),
        "generated-broke": (heard, "generated", {**LONG, "fault": {"kind": "fin", "at": 10}}, {}),
        "generated-choices": (heard, "generated", {**LONG, "n": 2, "fault": {"kind": "fin", "at": 10}}, {"n": 2}),
        "delivered-left": (left, "delivered", LONG, {}),
        "vendor-stopped": (stopped, "vendor", LONG, {}),
        "generated-whole": (heard, "generated", {**LONG, "tokens": 9}, {}),
    }
    found = await at_once(till, key, wanted)
    seen = cases_of(simulator)
    with written("answers cut off, with continuous usage") as lines:
        lines += [bill_line(name, *pair, seen[name]["tokens_sent"]) for name, pair in found.items()]
    for name, (client, view) in found.items():
        cost, per_delta = view["cost"], LONG_TOKENS
        deltas = view["generated_tokens"] // per_delta
        assert view["generated_tokens"] == deltas * per_delta
        assert cost["prompt_tokens"] == PROMPT_TOKENS
        if name.startswith("delivered"):
            assert cost["completion_tokens"] == client.tokens == view["delivered_tokens"] // per_delta
            continue
        assert cost["basis"] == "reported", name
        assert cost["completion_tokens"] == deltas, name
    assert found["vendor-stopped"][1]["cost"]["completion_tokens"] == LONG["tokens"]


async def test_only_clients_that_ask_for_usage_see_it(counting_till: Till) -> None:
    till = counting_till
    key = till.new_key()["key"]
    once, always = {"include_usage": True}, {"include_usage": True, "continuous_usage_stats": True}
    wanted: dict[str, tuple[Any, ...]] = {
        "silent": (heard, "generated", LONG, {}),
        "once": (heard, "generated", LONG, {"stream_options": once}),
        "always": (heard, "generated", LONG, {"stream_options": always}),
    }
    found = await at_once(till, key, wanted)
    usages = {name: usages_in(client) for name, (client, _) in found.items()}
    assert usages["silent"] == []
    assert [usage["completion_tokens"] for usage in usages["once"]] == [LONG["tokens"]]
    assert [usage["completion_tokens"] for usage in usages["always"]][-1] == LONG["tokens"]
    assert len(usages["always"]) > int(str(LONG["tokens"]))


def usages_in(client: Reader) -> list[dict[str, Any]]:
    chunks = [msgspec.json.decode(event.data) for event in client.events if event.data != "[DONE]"]
    return [chunk["usage"] for chunk in chunks if chunk.get("usage")]


def left_tokens(client: Reader) -> int:
    return int(client.headers["x-ratelimit-remaining-tokens"])


async def test_tokens_that_a_request_did_not_use_go_back_into_its_rate(till: Till) -> None:
    """The bucket refills so slowly that what is lost would be missed."""
    per_minute = 6000
    key = till.new_key(limits={"tokens_per_minute": per_minute})["key"]
    refused: dict[str, Any] = {"fault": {"kind": "status", "code": 500}}
    big = {"messages": [{"role": "user", "content": "word " * 4000}]}
    reserved = len(msgspec.json.encode(chat_body(refused, stream=True, **big))) // 4
    assert reserved > per_minute * 0.8
    for number, script in enumerate([refused, refused, {"tokens": 5}]):
        client = await heard(till, key, f"rate-{number}", "generated", script, **big)
        # The first takes most of it; the next could not come in if that were not given back.
        assert left_tokens(client) <= per_minute - reserved + 100
        assert client.status == (200 if number == 2 else 502), client.text
        await until(partial(till.has_settled, number + 1))
    # What was used is what the engine counted, not what was reserved.
    used = till.stream("rate-2")
    assert used is not None
    paid = used["cost"]["prompt_tokens"] + used["cost"]["completion_tokens"]
    assert paid == 4000 + 5
    after = await heard(till, key, "rate-3", "generated", {"tokens": 1})
    asked = (
        len(msgspec.json.encode({**chat_body({"tokens": 1}, stream=True), "model": "generated"})) // 4 + ADDED_TOKENS
    )
    assert per_minute - paid - asked <= left_tokens(after) < per_minute - asked
