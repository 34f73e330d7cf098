"""The intake: what a request is held to before it runs, and that nothing is held once it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.node import MODEL, InProcess, node_in_process
from tests.waiting import until

from headrace.delivery.consumer import ConsumerClosed
from headrace.errors import BudgetExhausted, Overloaded, RateLimited, RelayError, StreamExists
from headrace.http.ask import Ask
from headrace.http.intake import Begun, Waits, begin
from headrace.http.node import Node, new_request_id, new_stream_id
from headrace.policy.limits import Limits
from headrace.policy.prices import Price
from headrace.protocol.request import parse_chat_request
from headrace.pump.pump import Pump
from headrace.settings.tree import EngineSettings, KeysSettings, ModelSettings, OwnerSettings
from headrace.types.access import ANYBODY, Allowance, Budget, Caller, ClientKey, Owner, Role
from headrace.types.engine import Endpoint
from headrace.types.ids import KeyId, StreamId
from headrace.types.outcome import Cause

ENDLESS = {"tokens": 1_000_000, "itl_ms": 20}
ONE_AT_ONCE = Allowance(concurrent_streams=1, requests_per_minute=100, tokens_per_minute=10_000)
PRICE = Price(input=Decimal(1), output=Decimal(2), request=Decimal(0))


def caller(owner: str = "search", **fields: Any) -> Caller:
    key = ClientKey(id=KeyId(f"key_{owner}"), name="", owner=Owner(owner), secrets=(), created_at=0.0, **fields)
    return Caller(owner=key.owner, role=Role.MEMBER, key=key)


def ask(
    who: Caller = ANYBODY, *, propose: str | None = None, headers: Mapping[bytes, bytes] | None = None, **fields: Any
) -> Ask:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True, **fields}
    body = msgspec.json.encode(asked)
    return Ask(
        caller=who,
        request=parse_chat_request(body, max_choices=16),
        body=body,
        endpoint=Endpoint.CHAT,
        stream_id=new_stream_id() if propose is None else StreamId(propose),
        proposed_as=None if propose is None else "Headrace-Stream-Id",
        request_id=new_request_id(),
        headers=dict(headers or {}),
        linger_s=None,
        wants_usage=False,
    )


async def stays(work: Coroutine[Any, Any, Any]) -> Any:
    """Wait as a client does that does not leave."""
    return await work


async def started(relay: InProcess, asked: Ask, waits: Waits = stays) -> Pump:
    """Begin a stream that goes on until it is stopped."""
    return pump_of(relay, await begin(relay.node, asked, waits=waits))


def pump_of(relay: InProcess, begun: Begun) -> Pump:
    """Return what runs the stream that was begun."""
    pump = relay.node.supervisor.find(begun.followed.stream_id)
    assert pump is not None
    return pump


async def refusal(relay: InProcess, asked: Ask, waits: Waits = stays) -> RelayError:
    """Return what a request is refused with; nothing is held of it."""
    with pytest.raises(RelayError) as raised:
        await begin(relay.node, asked, waits=waits)
    return raised.value


def holds_nothing(node: Node) -> bool:
    """Whether no request runs, waits or was counted: then every scope is as good as new, and forgotten."""
    admission = node.lobby.admission
    admission.dispatch(node.clocks.monotonic_s())
    return (admission.queued, admission.known_scopes) == (0, 0)


# What is asked for


async def test_tags_of_the_request_go_with_it_and_those_of_the_key_win() -> None:
    async with node_in_process() as relay:
        headers = {b"headrace-tags": b"team=other, feature=chat"}
        pump = await started(relay, ask(caller(tags={"team": "search"}), headers=headers))
        assert pump.order.tags == {"team": "search", "feature": "chat"}
        pump.stop(Cause.CLIENT_STOP)


@pytest.mark.parametrize(
    "tags", [b"chat", b"=chat", b"a b=chat", b"a=" + b"x" * 129, b"a=b," * 17, b"a=" + b"x" * 5000]
)
async def test_tags_that_are_none_are_refused_by_the_name_of_the_header(tags: bytes) -> None:
    async with node_in_process() as relay:
        error = await refusal(relay, ask(caller(), headers={b"headrace-tags": tags}))
        assert (error.status, error.param) == (400, "Headrace-Tags")
        assert holds_nothing(relay.node)


async def test_a_key_gets_no_model_that_it_may_not_ask_for_and_sees_none() -> None:
    async with node_in_process() as relay:
        error = await refusal(relay, ask(caller(models=("tiny",))))
        assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
        error = await refusal(relay, ask(caller(models=(MODEL, "tiny")), model="tiny"))
        assert (error.status, error.code) == (404, "model_not_found")
        assert error.message.endswith(f"served: {MODEL}")
        (await started(relay, ask(caller(models=(MODEL,))))).stop(Cause.CLIENT_STOP)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_more_output_than_allowed_is_refused_by_the_name_of_the_field(field: str) -> None:
    async with node_in_process() as relay:
        who = caller(limits=Allowance(max_output_tokens=50))
        more: dict[str, Any] = {field: 51}
        error = await refusal(relay, ask(who, **more))
        assert (error.status, error.param) == (400, field)
        assert error.message.startswith(f"{field} = 51 is more than the 50")
        enough: dict[str, Any] = {field: 50}
        pump = await started(relay, ask(who, **enough))
        assert msgspec.json.decode(pump.order.engine_request.body)[field] == 50
        pump.stop(Cause.CLIENT_STOP)


async def test_a_missing_bound_of_the_output_is_the_least_that_is_allowed() -> None:
    settings = {"engine": EngineSettings(limits=Allowance(max_output_tokens=40))}
    async with node_in_process(settings=settings) as relay:
        pump = await started(relay, ask(caller(limits=Allowance(max_output_tokens=50))))
        assert msgspec.json.decode(pump.order.engine_request.body)["max_tokens"] == 40
        pump.stop(Cause.CLIENT_STOP)


async def test_a_prompt_that_is_too_long_is_refused_at_once() -> None:
    settings = {"keys": KeysSettings(limits=Allowance(max_prompt_tokens=100))}
    async with node_in_process(settings=settings) as relay:
        long = ask(caller(), messages=[{"role": "user", "content": "x" * 400}])
        error = await refusal(relay, long)
        assert (error.status, error.code, error.param) == (400, "prompt_too_long", "messages")
        assert "max_prompt_tokens = 100" in error.message
        assert holds_nothing(relay.node)


async def test_what_is_left_of_the_limits_comes_with_the_answer() -> None:
    async with node_in_process() as relay:
        begun = await begin(relay.node, ask(caller(limits=Allowance(requests_per_minute=5))), waits=stays)
        assert (b"x-ratelimit-remaining-requests", b"4") in begun.headers
        pump_of(relay, begun).stop(Cause.CLIENT_STOP)


# Waiting


async def test_an_id_that_is_taken_while_its_request_waits_is_refused_and_the_slot_goes_on() -> None:
    settings = {"owners": {"search": OwnerSettings(limits=ONE_AT_ONCE)}}
    async with node_in_process(settings=settings) as relay:
        holder = await started(relay, ask(caller(), simulate=ENDLESS))
        late = asyncio.create_task(refusal(relay, ask(caller(), propose="mine")))
        behind = asyncio.create_task(started(relay, ask(caller(), simulate=ENDLESS)))
        await queued(relay.node, 2)
        # Another owner, who need not wait, is quicker.
        other = await started(relay, ask(caller("other"), propose="mine", simulate=ENDLESS))
        holder.stop(Cause.CLIENT_STOP)
        error = await late
        assert isinstance(error, StreamExists)
        assert error.param == "Headrace-Stream-Id"
        for pump in (await behind, other):
            pump.stop(Cause.CLIENT_STOP)
        assert relay.node.lobby.admission.queued == 0


async def test_an_id_that_is_taken_already_is_refused_without_waiting() -> None:
    settings = {"owners": {"search": OwnerSettings(limits=ONE_AT_ONCE)}}
    async with node_in_process(settings=settings) as relay:
        holder = await started(relay, ask(caller(), propose="mine", simulate=ENDLESS))
        assert isinstance(await refusal(relay, ask(caller(), propose="mine")), StreamExists)
        assert relay.node.lobby.admission.queued == 0
        holder.stop(Cause.CLIENT_STOP)


async def test_whoever_leaves_while_it_waits_holds_nothing() -> None:
    async def leaves(work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        raise ConsumerClosed(Cause.CLIENT_GONE)

    # So slow that nothing flows in during the test: whoever was admitted is seen.
    settings = {"owners": {"search": OwnerSettings(limits=Allowance(concurrent_streams=1, requests_per_minute=3))}}
    async with node_in_process(settings=settings) as relay:
        holder = await started(relay, ask(caller(), simulate=ENDLESS))
        for _ in range(5):
            with pytest.raises(ConsumerClosed):
                await begin(relay.node, ask(caller()), waits=leaves)
        assert relay.node.lobby.admission.queued == 0
        holder.stop(Cause.CLIENT_STOP)
        begun = await begin(relay.node, ask(caller(), simulate=ENDLESS), waits=stays)
        assert (b"x-ratelimit-remaining-requests", b"1") in begun.headers
        pump_of(relay, begun).stop(Cause.CLIENT_STOP)


async def test_a_request_that_is_refused_for_a_rate_says_when_to_come_back() -> None:
    settings = {"engine": EngineSettings(limits=Allowance(requests_per_minute=1)), "limits": Limits(max_queued=0)}
    async with node_in_process_with(settings) as relay:
        (await started(relay, ask(caller(), simulate=ENDLESS))).stop(Cause.CLIENT_STOP)
        error = await refusal(relay, ask(caller()))
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == pytest.approx(60, abs=1)
        assert ("x-ratelimit-remaining-requests", "0") in error.headers


# Refused by others


async def test_a_spent_budget_refuses_and_gives_the_slot_back() -> None:
    settings = {
        "models": {MODEL: ModelSettings(price=PRICE)},
        "owners": {"search": OwnerSettings(limits=ONE_AT_ONCE, budget=Budget(day_usd=Decimal("0.000001")))},
    }
    async with node_in_process(settings=settings) as relay:
        for _ in range(3):
            error = await refusal(relay, ask(caller()))
            assert isinstance(error, BudgetExhausted)
            assert ("x-should-retry", "false") in error.headers
            assert "owner" in error.message
        assert holds_nothing(relay.node)
        assert relay.node.ledger.spent_of("search", KeyId("key_search")) == (0, 0)


async def test_a_node_that_is_full_refuses_and_gives_slot_and_money_back() -> None:
    settings = {
        "models": {MODEL: ModelSettings(price=PRICE)},
        # Enough for one request at a time, and not for two.
        "owners": {"search": OwnerSettings(limits=ONE_AT_ONCE, budget=Budget(day_usd=Decimal("0.00004")))},
        "limits": Limits(max_streams=1),
    }
    async with node_in_process_with(settings) as relay:
        holder = await started(relay, ask(caller("other"), simulate=ENDLESS))
        for _ in range(3):
            error = await refusal(relay, ask(caller()))
            assert isinstance(error, Overloaded)
            assert error.status == 503
        holder.stop(Cause.CLIENT_STOP)


async def queued(node: Node, count: int) -> None:
    """Let the event loop go round until so many wait."""
    await until(lambda: node.lobby.admission.queued >= count, every_s=0)


def node_in_process_with(settings: dict[str, Any]) -> Any:
    """Return a node with sections that it takes apart from the others."""
    limits = settings.pop("limits")
    return node_in_process(limits=limits, settings=settings)
