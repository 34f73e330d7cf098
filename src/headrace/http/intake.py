"""The intake: from what a client asks, by whatever door, to a stream that it follows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import msgspec

from headrace.errors import BudgetExhausted, RelayError, StoreError, StreamExists, Unauthorized
from headrace.http.asgi import Headers
from headrace.http.ask import Ask
from headrace.http.departures import Refused
from headrace.http.followed import Followed
from headrace.http.node import Node
from headrace.http.ordering import Ordered, order_of
from headrace.http.sharing import Found, found, missed
from headrace.http.terms import purse_of, rules_of, scopes_of
from headrace.policy.meter import Meter
from headrace.policy.purse import Purse
from headrace.policy.queueing import Waiting
from headrace.policy.quote import Quote
from headrace.policy.scopes import max_output_tokens
from headrace.policy.slots import Slot
from headrace.pump.charge import Charge
from headrace.pump.pump import Pump
from headrace.types.ids import StreamId
from headrace.types.outcome import Cause

T = TypeVar("T")

CLAIM_WAIT_S = 10.0
"""How long a store may take to remember an ``Idempotency-Key``; what it remembers later is replaced by the next request."""


class Waits(Protocol):
    """How a door waits: it gives up when its client leaves."""

    async def __call__(self, work: Coroutine[Any, Any, T]) -> T: ...


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream that a client is to follow."""

    followed: Followed
    headers: Headers
    """What tells the client of its limits, and of the cache."""
    stop: Callable[[str], None] | None
    """Ends it for want of room, with a message for the client; None of one that is shared."""


async def begin(node: Node, ask: Ask, *, waits: Waits) -> Begun:
    """Find an answer that need not be generated, or start a stream as soon as the limits of all concerned allow it.

    When it returns, the caller must follow the log in the same round of the event loop: see ``Supervisor.start``.

    Raises:
        ClientRequestError: The request cannot be served to this caller; nothing was started.
        StreamExists: The id that the client proposes is taken.
        Overloaded: A limit, a budget or the node itself is at its end; nothing was started.
        StoreError: What the request may share an answer with cannot be looked up, or not be remembered.
        ConsumerClosed: The client left while it waited.
    """
    ordered = order_of(node, ask)
    key = ordered.same.departure_key
    if ask.proposed_as is not None:
        await _require_free(node, ask.stream_id, param=ask.proposed_as)
    while True:
        shared = await found(node, ordered.same, ordered.route, ordered.order.requester)
        if isinstance(shared, Found):
            return _shared(shared, ask)
        if key is None:
            return await _begun(node, ask, ordered, shared, waits)
        if ordered.same.claim is None and node.departures.running(key) is not None:
            continue  # somebody began while the cache was looked into
        departing = node.departures.enter(key)
        if departing is not None:
            await _departed(departing, ask, waits)
            continue
        begun = await _departing(node, ask, ordered, shared, waits)
        if begun is not None:
            return begun


async def _departed(departing: asyncio.Future[None], ask: Ask, waits: Waits) -> None:
    """Wait until somebody else has begun what is asked for too, or was refused it.

    Raises:
        RelayError: The same key was refused it.
        ConsumerClosed: The client left meanwhile.
    """
    try:
        # Shielded: others wait for it too.
        await waits(_until(asyncio.shield(departing)))
    except Refused as refused:
        # Another key has limits of its own.
        if refused.key_id == ask.caller.key_id:
            raise refused.error.with_traceback(None) from None


async def _departing(node: Node, ask: Ask, ordered: Ordered, instead_of: StreamId | None, waits: Waits) -> Begun | None:
    """Begin a stream that others wait for; None: somebody was faster, look again."""
    key = ordered.same.departure_key or ""
    pump: Pump | None = None
    refused: Refused | None = None
    try:
        if instead_of is not None:
            # What that came to was looked up before the others had to wait: somebody may have been about to begin it.
            again = await found(node, ordered.same, ordered.route, ordered.order.requester)
            if isinstance(again, Found):
                return _shared(again, ask)
            instead_of = again
        begun = await _begun(node, ask, ordered, instead_of, waits)
        pump = node.supervisor.find(ask.stream_id)
        return begun
    except _Overtaken:
        return None
    except RelayError as error:
        if not isinstance(error, _OWN_FAULTS):
            refused = Refused(error, ask.caller.key_id)
        raise
    finally:
        node.departures.leave(key, pump, refused)


_OWN_FAULTS = (StreamExists, Unauthorized)
"""What keeps one request from beginning, and no other one that is the same."""


class _Overtaken(Exception):
    """The ``Idempotency-Key`` stands for another stream meanwhile."""


async def _until(departing: asyncio.Future[None]) -> bool:
    await departing
    return True


def _shared(shared: Found, ask: Ask) -> Begun:
    return Begun(replace(shared.followed, lingers=ask.linger_s is not None), shared.headers, None)


async def _begun(node: Node, ask: Ask, ordered: Ordered, instead_of: StreamId | None, waits: Waits) -> Begun:
    """Start a stream as soon as there is room for it."""
    order = ordered.order
    scopes = scopes_of(node, ask.caller, order.model, ordered.targets[0].engine)
    bounded = ordered.bounded(node, ask, max_output_tokens(scopes))
    if bounded is not ordered:
        # A limit that has changed since makes another answer than the one that its key in the cache stands for.
        ordered = replace(bounded, order=msgspec.structs.replace(bounded.order, cache_key=None))
    order = ordered.order
    asked = node.lobby.admission.ask(ask.caller.owner, scopes, order.prompt_tokens)
    has_waited = isinstance(asked, Waiting)
    slot = await _turn(node, asked, waits) if isinstance(asked, Waiting) else asked
    try:
        if has_waited:
            # Much may have happened meanwhile.
            node.gate.caller_of(ask.caller.credential)
            if ask.proposed_as is not None:
                await _require_free(node, ask.stream_id, param=ask.proposed_as)
        if ordered.same.claim is not None:
            await _claim(node, ordered, instead_of)
        pump = _start(node, ask, ordered, slot)
    except BaseException:
        slot.undo()
        raise
    # An Idempotency-Key makes it linger too, but whoever sends one does not say that it would rather not wait for the head.
    lingers = ask.linger_s is not None
    followed = Followed(stream_id=order.stream_id, log=pump.log, party=pump.parties.first, lingers=lingers)
    headers = [*_quota(slot, node.clocks.monotonic_s()), *missed(ordered.same)]
    return Begun(followed, headers, lambda message: pump.stop(Cause.EVENT_TOO_LARGE, message))


async def _claim(node: Node, ordered: Ordered, instead_of: StreamId | None) -> None:
    """Remember durably which stream the ``Idempotency-Key`` stands for, before any engine is asked.

    Raises:
        StoreError: It could not be remembered: then the request must not be generated.
        _Overtaken: Somebody claimed it while this request looked for it.
    """
    claim = ordered.same.claim
    if claim is None:
        return
    try:
        async with asyncio.timeout(CLAIM_WAIT_S):
            held = await node.claims.claim(claim, instead_of=instead_of)
    except TimeoutError:
        raise StoreError("the store is too slow to remember this Idempotency-Key; try again, or without one") from None
    if held.log_id != claim.log_id:
        raise _Overtaken


async def _turn(node: Node, waiting: Waiting, waits: Waits) -> Slot:
    """Wait for a slot; who gives up holds none, however early."""
    try:
        return await waits(node.lobby.turn(waiting))
    except BaseException:
        waiting.cancel()
        raise


def _start(node: Node, ask: Ask, ordered: Ordered, slot: Slot) -> Pump:
    """Start the stream, if its prompt can be paid for.

    Raises:
        BudgetExhausted: It cannot.
        RelayError: It could not be started; nothing was charged.
    """
    order = ordered.order
    accepted_at = node.clocks.wall_time()
    quote = node.prices.quote(order.model, ordered.targets[0], accepted_at)
    purse = purse_of(node, ask.caller, accepted_at)
    try:
        _reserve_prompt(purse, quote, order.prompt_tokens, accepted_at)
        charge = Charge(_meter_of(ask, slot, purse, quote), rules=rules_of(node.settings, order.model), quote=quote)
        return node.supervisor.start(order, ordered.course(node, accepted_at), charge)
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
