"""The order that a request becomes: for which model, along which route, and what it may share an answer with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from headrace.errors import ClientRequestError
from headrace.http.ask import Ask
from headrace.http.node import Node
from headrace.http.parameters import asked, tags_of, truth
from headrace.http.sharing import Sameness, key_of
from headrace.http.terms import engine_settings, most_output_tokens
from headrace.policy.cache_control import CacheControl
from headrace.policy.fingerprint import answer_digest, body_digest, is_ambiguous, is_deterministic, offers_tools
from headrace.policy.retry import Retries
from headrace.policy.routing import Needs, Route, Target, able, needs_of, ranked
from headrace.protocol.request import engine_body
from headrace.pump.course import Course
from headrace.pump.order import Order
from headrace.stream.store import Claim
from headrace.types.access import Owner
from headrace.types.chunk import BYTES_PER_TOKEN
from headrace.types.engine import Endpoint, EngineRequest

_TRACING = frozenset({b"traceparent", b"tracestate", b"baggage", b"x-request-id"})
"""Headers that follow a request and say nothing about its answer."""


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """A request, ready to be sent to any engine of its route."""

    order: Order
    route: Route
    targets: tuple[Target, ...]
    """Those that can serve it, best first; at least one."""
    same: Sameness
    request_for: Callable[[Target], EngineRequest]
    max_tokens: int | None
    """Bound on the answer, by the client or by its limits."""
    marks_seams: bool

    def bounded(self, node: Node, ask: Ask, most_tokens: int | None) -> Ordered:
        """Return the same for who may have answers of so many tokens only; None: as long as they like.

        Raises:
            ClientRequestError: It asks for more.
        """
        wanted = ask.request.max_output_tokens
        if most_tokens is None or most_tokens == self.max_tokens:
            return self
        if wanted is not None:
            if wanted > most_tokens:
                field = "max_tokens" if ask.request.max_completion_tokens is None else "max_completion_tokens"
                raise ClientRequestError(
                    f"{field} = {wanted} is more than the {most_tokens} that are allowed here", param=field
                )
            return self
        request_for = _requests(node, ask, most_tokens)
        order = msgspec.structs.replace(self.order, engine_request=request_for(self.targets[0]))
        return replace(self, order=order, request_for=request_for, max_tokens=most_tokens)

    def course(self, node: Node, accepted_at: float) -> Course:
        """Return the way that the stream takes if it is accepted now."""
        budget_s, now_s = node.timeouts.first_token_s, node.clocks.monotonic_s()
        return Course(
            self.route,
            self.targets,
            shared=node.engines,
            retries=Retries(
                node.settings.retry,
                until_s=now_s + budget_s,
                random=random.random,
                prompt_tokens=self.order.prompt_tokens,
            ),
            request_for=self.request_for,
            quote_for=lambda target: node.prices.quote(self.order.model, target, accepted_at),
            budget_s=budget_s,
            choices=self.order.choices,
            max_tokens=self.max_tokens,
            marks_seams=self.marks_seams,
            clock=node.clocks.monotonic_s,
        )


def order_of(node: Node, ask: Ask) -> Ordered:
    """Turn a request into an order.

    Raises:
        ClientRequestError: The model is not served, or not to this caller (404), no engine of it can serve the request, it asks
            for more tokens than are allowed, or what it says of its delivery is wrong.
    """
    model = _model_of(node, ask)
    route = node.routes.of(model)
    request, key, caller = ask.request, ask.caller.key, ask.caller
    tags = {**tags_of(ask.headers), **(key.tags if key is not None else {})}
    targets = _targets(node, ask, route, tags)
    request_for = _requests(node, ask, None)
    marks = asked({}, "seams", ask.headers, "Headrace-Seams")
    marks_seams = marks is not None and truth(*marks)
    settings, options = engine_settings(node, targets[0].engine), request.stream_options
    # Before anything is shared: an answer that had to be shorter is another one.
    most = most_output_tokens(node, caller, model, targets[0].engine)
    same = _sameness(node, ask, route, (ask.wants_usage, marks_seams, most, _reach(node, ask, route, tags)))
    # Who repeats a request comes back to its answer, so that is waited for.
    linger_s = ask.linger_s
    if same.claim is not None and linger_s is None:
        linger_s = node.timeouts.linger_s or None
    order = Order(
        stream_id=ask.stream_id,
        request_id=ask.request_id,
        owner=caller.owner,
        key_id=caller.key_id,
        tags=tags,
        model=model,
        engine_request=request_for(targets[0]),
        choices=request.choices,
        wants_usage=ask.wants_usage,
        hides_running_usage=settings.continuous_usage and not (options is not None and options.continuous_usage_stats),
        keeps_content=node.settings.store.store_content and request.store is not False,
        linger_s=linger_s,
        share_key=same.departure_key,
        cache_key=None if same.control.no_store else same.cache_key,
    )
    ordered = Ordered(
        order=order,
        route=route,
        targets=tuple(targets),
        same=same,
        request_for=request_for,
        max_tokens=request.max_output_tokens,
        marks_seams=marks_seams,
    )
    return ordered.bounded(node, ask, most)


def _model_of(node: Node, ask: Ask) -> str:
    """Return the name of the model that is asked for; empty when the engine decides.

    Raises:
        ClientRequestError: It is not served, or not to this caller (404).
    """
    model, key = ask.request.model, ask.caller.key
    model = model if model is not None else node.default_model
    allowed = key.models if key is not None else None
    served = None if node.models is None else [*node.models, *node.routes.names]
    if allowed is not None:
        served = [name for name in (allowed if served is None else served) if name in allowed]
    if served is not None and model not in served:
        raise ClientRequestError(
            f"the model {model!r} does not exist here; served: {', '.join(dict.fromkeys(served))}",
            status=404,
            code="model_not_found",
            param="model",
        )
    return model or ""


def _targets(node: Node, ask: Ask, route: Route, tags: dict[str, str]) -> list[Target]:
    """Return who can serve a request, best first."""
    if len(route.targets) == 1 and route.targets[0].name == node.engines.default:
        return list(route.targets)  # it says itself what it cannot do
    needs = needs_of(
        ask.body,
        endpoint=ask.endpoint,
        choices=ask.request.choices,
        prompt_tokens=len(ask.body) // BYTES_PER_TOKEN,
        owner=ask.caller.owner,
        tags=tags,
    )
    return _ranked(node, route, needs)


def _ranked(node: Node, route: Route, needs: Needs) -> list[Target]:
    now_s, engines = node.clocks.monotonic_s(), node.engines
    targets = able(route, needs, engines.capabilities)
    return ranked(
        targets,
        lambda target: engines.health_of(target).standing(now_s),
        random.random,
        ready_in_s=lambda target: engines.health_of(target).ready_in_s(now_s),
    )


def _requests(node: Node, ask: Ask, max_tokens: int | None) -> Callable[[Target], EngineRequest]:
    """Return what gives the request as one target's engine gets it.

    Args:
        node: Knows the engines.
        ask: The request.
        max_tokens: Bound for a request that has none; None leaves it out.
    """
    names = node.forwarded
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in ask.headers.items() if name in names
    )
    made: dict[str, EngineRequest] = {}

    def request_for(target: Target) -> EngineRequest:
        if target.name not in made:
            settings = engine_settings(node, target.engine)
            body = engine_body(
                ask.body,
                ask.request,
                model=target.model or node.default_model,
                max_tokens=max_tokens,
                max_tokens_as=_bound_name(node, target, ask.endpoint),
                continuous_usage=settings.continuous_usage,
            )
            made[target.name] = EngineRequest(
                body=body, headers=headers, endpoint=ask.endpoint, model=target.model or node.default_model or ""
            )
        return made[target.name]

    return request_for


def _bound_name(node: Node, target: Target, endpoint: Endpoint) -> str:
    """Return what the engine calls the bound on an answer; OpenAI's newer models refuse the older name in chats."""
    engine = engine_settings(node, target.engine)
    is_openai = engine.provider == "openai" or (engine.upstream or "").startswith("https://api.openai.com/")
    return "max_completion_tokens" if is_openai and endpoint is Endpoint.CHAT else "max_tokens"


def _reach(node: Node, ask: Ask, route: Route, tags: Mapping[str, str]) -> tuple[Any, ...]:
    """Return who may answer a request and with which headers of its client, as far as that makes another answer.

    Keys whose tags or owners lead to other engines do not share; and what a model's former engine said is not given for the
    present one's.
    """
    if not route.shares and route.cache == "off":
        return ()
    needs = Needs(owner=ask.caller.owner, tags=tags)
    let_in = {(target.engine, target.model) for target in route.targets if target.conditions.let_in(needs)}
    names = node.forwarded - _TRACING
    headers = {name.decode(): value.decode("latin-1") for name, value in ask.headers.items() if name in names}
    return (sorted(let_in), sorted(headers.items()))


def _sameness(node: Node, ask: Ask, route: Route, shape: tuple[Any, ...]) -> Sameness:
    """Return what a request may share an answer with.

    Args:
        node: Knows the settings.
        ask: The request.
        route: Of its model.
        shape: What makes another answer besides its body.

    Raises:
        ClientRequestError: Its ``Idempotency-Key`` cannot be one.
    """
    key = key_of(ask.headers)
    claim = None
    if key is not None:
        claim = Claim(
            owner=ask.caller.owner,
            key=key,
            fingerprint=body_digest(ask.body, ask.endpoint, shows_usage=ask.wants_usage),
            log_id=ask.stream_id,
            claimed_at=node.clocks.wall_time(),
        )
    control = CacheControl.parse(ask.headers.get(b"cache-control", b"").decode("latin-1"))
    if not route.shares and route.cache == "off":
        return Sameness(claim=claim, control=control)
    is_settled = is_deterministic(ask.body)
    owned = _digest(ask, route, ask.caller.owner, shape)
    keeps = node.settings.store.store_content and ask.request.store is not False
    caches = route.cache != "off" and keeps and not offers_tools(ask.body) and (is_settled or route.caches_sampled)
    caches = caches and not is_ambiguous(ask.body)
    return Sameness(
        claim=claim,
        share_key=f"share:{owned}" if route.shares and is_settled else None,
        cache_key=None if not caches else owned if route.cache == "owner" else _digest(ask, route, None, shape),
        control=control,
    )


def _digest(ask: Ask, route: Route, owner: Owner | None, shape: tuple[Any, ...]) -> str:
    # No filter changes answers yet; what does will have its fingerprint here.
    return answer_digest(ask.body, ask.endpoint, route=route.name, owner=owner, filters="", shape=shape)
