"""The intake: from what a client asks, by whatever door, to a stream that runs."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from headrace.errors import BudgetExhausted, ClientRequestError, StreamExists
from headrace.http.asgi import Headers
from headrace.http.node import Node
from headrace.http.parameters import tags_of
from headrace.http.terms import purse_of, quote_of, rules_of, scopes_of
from headrace.policy.meter import Meter
from headrace.policy.purse import Purse
from headrace.policy.queueing import Waiting
from headrace.policy.quote import Quote
from headrace.policy.scopes import max_output_tokens
from headrace.policy.slots import Slot
from headrace.protocol.request import GenerationRequest, engine_body
from headrace.pump.charge import Charge
from headrace.pump.order import Order
from headrace.pump.pump import Pump
from headrace.types.access import Caller
from headrace.types.engine import Endpoint, EngineRequest
from headrace.types.ids import RequestId, StreamId

T = TypeVar("T")


class Waits(Protocol):
    """How a door waits: it gives up when its client leaves."""

    async def __call__(self, work: Coroutine[Any, Any, T]) -> T: ...


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for, read and checked as far as its door can."""

    caller: Caller
    request: GenerationRequest
    body: bytes
    """The request as it came."""
    endpoint: Endpoint
    stream_id: StreamId
    """A free one."""
    proposed_as: str | None = None
    """What the client calls the id that it proposes; None: the id is ours."""
    request_id: RequestId
    headers: dict[bytes, bytes]
    """All headers of the client, by lower-case name."""
    linger_s: float | None
    """How long the stream goes on without a consumer; None: not at all."""
    wants_usage: bool
    """Whether the usage chunk is shown."""


async def begin(node: Node, ask: Ask, *, waits: Waits) -> tuple[Pump, Headers]:
    """Start a stream as soon as the limits of all concerned allow it.

    When it returns, the caller must follow the log in the same round of the event loop: see ``Supervisor.start``.

    Returns:
        The stream's pump, and headers that tell the client what is left of its limits.

    Raises:
        ClientRequestError: The request cannot be served to this caller; nothing was started.
        StreamExists: The id that the client proposes is taken.
        Overloaded: A limit, a budget or the node itself is at its end; nothing was started.
        ConsumerClosed: The client left while it waited.
    """
    model = _model_of(node, ask)
    scopes = scopes_of(node, ask.caller, model)
    order = _order_of(node, ask, model, max_output_tokens(scopes))
    if ask.proposed_as is not None:
        await _require_free(node, ask.stream_id, param=ask.proposed_as)
    asked = node.lobby.admission.ask(ask.caller.owner, scopes, order.prompt_tokens)
    has_waited = isinstance(asked, Waiting)
    slot = await _turn(node, asked, waits) if isinstance(asked, Waiting) else asked
    try:
        if has_waited:
            # Much may have happened meanwhile.
            node.gate.caller_of(ask.caller.credential)
            if ask.proposed_as is not None:
                await _require_free(node, ask.stream_id, param=ask.proposed_as)
        return _start(node, ask, order, slot), _quota(slot, node.clocks.monotonic_s())
    except BaseException:
        slot.undo()
        raise


async def _turn(node: Node, waiting: Waiting, waits: Waits) -> Slot:
    """Wait for a slot; who gives up holds none, however early."""
    try:
        return await waits(node.lobby.turn(waiting))
    except BaseException:
        waiting.cancel()
        raise


def _model_of(node: Node, ask: Ask) -> str:
    """Return the name of the model that is asked for; empty when the engine decides.

    Raises:
        ClientRequestError: It is not served, or not to this caller (404).
    """
    model, key = ask.request.model, ask.caller.key
    model = model if model is not None else node.default_model
    allowed = key.models if key is not None else None
    served = node.models if allowed is None else [name for name in node.models or allowed if name in allowed]
    if served is not None and model not in served:
        raise ClientRequestError(
            f"the model {model!r} does not exist here; served: {', '.join(served)}",
            status=404,
            code="model_not_found",
            param="model",
        )
    return model or ""


def _order_of(node: Node, ask: Ask, model: str, max_tokens: int | None) -> Order:
    """Turn a request into an order.

    Raises:
        ClientRequestError: It asks for more tokens than the caller may have, or its tags are wrong.
    """
    request, engine, key = ask.request, node.settings.engine, ask.caller.key
    wanted = request.max_output_tokens
    if max_tokens is not None and wanted is not None and wanted > max_tokens:
        field = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
        raise ClientRequestError(f"{field} = {wanted} is more than the {max_tokens} that are allowed here", param=field)
    names = node.forwarded
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in ask.headers.items() if name in names
    )
    body = engine_body(
        ask.body,
        request,
        model=node.default_model,
        max_tokens=max_tokens,
        max_tokens_as=_bound_name(node, ask.endpoint),
        continuous_usage=engine.continuous_usage,
    )
    options = request.stream_options
    return Order(
        stream_id=ask.stream_id,
        request_id=ask.request_id,
        owner=ask.caller.owner,
        key_id=ask.caller.key_id,
        tags={**tags_of(ask.headers), **(key.tags if key is not None else {})},
        model=model,
        engine_request=EngineRequest(body=body, headers=headers, endpoint=ask.endpoint),
        choices=request.choices,
        wants_usage=ask.wants_usage,
        hides_running_usage=engine.continuous_usage and not (options is not None and options.continuous_usage_stats),
        keeps_content=node.settings.store.store_content and request.store is not False,
        linger_s=ask.linger_s,
    )


def _bound_name(node: Node, endpoint: Endpoint) -> str:
    """Return what the engine calls the bound on an answer; OpenAI's newer models refuse the older name in chats."""
    engine = node.settings.engine
    is_openai = engine.provider == "openai" or (engine.upstream or "").startswith("https://api.openai.com/")
    return "max_completion_tokens" if is_openai and endpoint is Endpoint.CHAT else "max_tokens"


def _start(node: Node, ask: Ask, order: Order, slot: Slot) -> Pump:
    """Start the stream, if its prompt can be paid for.

    Raises:
        BudgetExhausted: It cannot.
        RelayError: It could not be started; nothing was charged.
    """
    accepted_at = node.clocks.wall_time()
    quote = quote_of(node.prices, order.model, accepted_at)
    purse = purse_of(node, ask.caller, accepted_at)
    try:
        _reserve_prompt(purse, quote, order.prompt_tokens, accepted_at)
        charge = Charge(_meter_of(ask, slot, purse, quote), rules=rules_of(node.settings, order.model), quote=quote)
        return node.supervisor.start(order, charge)
    except BaseException:
        purse.settle(0)
        raise


def _meter_of(ask: Ask, slot: Slot, purse: Purse, quote: Quote | None) -> Meter | None:
    """Return what the stream pays with; None when nothing bounds it and nobody counts what it spends."""
    if not slot.scopes and ask.caller.key is None:
        return None
    most = slot.max_output_tokens
    if most is not None:
        # Engines keep to it by themselves. Our own count, which only guards against one that does not, is rough.
        most = most * ask.request.choices * 5 // 4 + 16
    return Meter(slot, purse, quote, max_output_tokens=most)


def _reserve_prompt(purse: Purse, quote: Quote | None, prompt_tokens: int, accepted_at: float) -> None:
    """Reserve what the prompt costs by its estimate: something, so that a budget that is spent lets nobody in.

    Raises:
        BudgetExhausted: A budget has less left.
    """
    cost = quote.cost(prompt_tokens, 0, 0) if quote is not None else 0
    if not purse.reserve(max(1, cost)):
        account = purse.short_of
        why = account.explain() if account is not None else "the budget is spent"
        raise BudgetExhausted(
            why,
            retry_after_s=None if account is None else max(1.0, account.period.ends_at - accepted_at),
            headers=(("x-should-retry", "false"),),
        )


def _quota(slot: Slot, now_s: float) -> Headers:
    return [(name.encode(), value.encode()) for name, value in slot.quota_headers(now_s)]


async def _require_free(node: Node, stream_id: StreamId, *, param: str) -> None:
    """Make sure that no stream has the id that a client proposes.

    A record alone keeps an id taken too: its log may have been dropped for want of room, and whoever owned that stream would see
    the new one under its name.

    Raises:
        StreamExists: One has.
    """
    supervisor = node.supervisor
    is_here = supervisor.find(stream_id) is not None or supervisor.late(stream_id) is not None
    if is_here or await node.store.find(stream_id) is not None or await node.records.of_stream(stream_id):
        raise StreamExists(f"the stream id {stream_id} is taken", param=param)
