"""Routing: which engines may serve a request, and in which order they are asked.

Two steps, both pure. ``able`` leaves out what cannot serve the request, and says why when nothing is left. ``ranked`` orders
what is left: lower orders first, by chance within one order, heavier targets more often, and whoever rests last. Resting
never closes a route: a target that rests is asked when there is no other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from headrace.errors import ClientRequestError, Overloaded
from headrace.policy.health import Standing
from headrace.policy.needs import Needs, needs_of
from headrace.types.engine import Capabilities, Endpoint

__all__ = ["Conditions", "Needs", "Route", "Target", "able", "needs_of", "ranked"]


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests a target takes: those for which all of it holds."""

    tags: tuple[str, ...] = ()
    """Tags of the client's key, each as ``name=value``; all of them."""
    owners: tuple[str, ...] = ()
    """One of them; empty: anybody."""
    min_prompt_tokens: int | None = None
    max_prompt_tokens: int | None = None

    def hold(self, needs: Needs) -> bool:
        """Return whether the request is one of them."""
        return self.let_in(needs) and self.fit(needs)

    def let_in(self, needs: Needs) -> bool:
        """Return whether its client is."""
        if self.owners and needs.owner not in self.owners:
            return False
        return all(tag in needs.tags_as_text for tag in self.tags)

    def fit(self, needs: Needs) -> bool:
        """Return whether its prompt is."""
        return (self.min_prompt_tokens or 0) <= needs.prompt_tokens and (
            self.max_prompt_tokens is None or needs.prompt_tokens <= self.max_prompt_tokens
        )


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One engine, as one route uses it."""

    name: str
    """Told apart by it within a route."""
    engine: str
    model: str = ""
    """What the model is called there; empty when the engine decides."""
    order: int = 1
    """Lower ones are asked first."""
    weight: float = 1
    """Its share of the requests within its order; 0: drained, it is never chosen."""
    conditions: Conditions = Conditions()


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What a model name stands for, and what is allowed."""

    name: str
    """The model name that clients use."""
    targets: tuple[Target, ...]
    continues: bool = True
    """Go on after a cut where an engine can."""
    replays: bool = False
    """Ask again and compare, where none can."""
    shares: bool = False
    """Identical requests in flight at once make one generation."""
    cache: Literal["off", "owner", "shared"] = "off"
    """Whom a whole answer may be given to again."""
    cache_for_s: float = 3600.0
    cache_pace: Literal["at_once", "natural"] = "at_once"
    caches_sampled: bool = False
    """Also answers that chance had a part in."""

    @classmethod
    def implicit(cls, model: str, engine: str) -> Route:
        """Return the route of a model that has no settings: one engine, which knows it by the same name."""
        return cls(name=model, targets=(Target(name=engine, engine=engine, model=model),))


def able(route: Route, needs: Needs, capabilities: Mapping[str, Capabilities]) -> list[Target]:
    """Return the targets that can serve a request, in the order of the route; at least one.

    A context that seems too small leaves a target out only while there is another: the size of a prompt is an estimate.

    Args:
        route: The model's route.
        needs: What the request needs.
        capabilities: By the engine's name. A target whose engine is not among them cannot serve anything.

    Raises:
        ClientRequestError: No target can; ``param`` names the field that the last ones fail at.
        Overloaded: All targets are drained (503).
    """
    left = [target for target in route.targets if target.weight > 0 and target.engine in capabilities]
    if not left:
        raise Overloaded(
            f"no engine of the model {route.name} takes requests now", status=503, code="no_engine", param="model"
        )
    left = _some(
        [target for target in left if target.conditions.let_in(needs)],
        param="model",
        otherwise=f"the model {route.name} is not for this key",
    )
    left = _some(
        [target for target in left if target.conditions.fit(needs)],
        param="messages" if needs.endpoint is Endpoint.CHAT else "prompt",
        otherwise=f"no engine of the model {route.name} takes a prompt of about {needs.prompt_tokens} tokens",
    )
    for can, param, what in _demands(needs):
        left = _some(
            [target for target in left if can(capabilities[target.engine])],
            param=param,
            otherwise=f"{param}: no engine of the model {route.name} that could serve the rest of the request takes {what}",
        )
    size = needs.prompt_tokens + (needs.max_tokens or 0)
    return [target for target in left if size <= (capabilities[target.engine].context_tokens or math.inf)] or left


def ranked(
    targets: Sequence[Target],
    standing: Callable[[Target], Standing],
    random: Callable[[], float],
    *,
    ready_in_s: Callable[[Target], float] | None = None,
) -> list[Target]:
    """Return the targets in the order in which they are to be asked.

    Those that do not rest come first: lower orders before higher ones, drawn by weight within an order. The others follow,
    the one whose rest ends soonest first.

    Args:
        targets: What ``able`` returned.
        standing: How each one is.
        random: Numbers from 0 to below 1.
        ready_in_s: How long each one still rests, in seconds; None: the resting ones are ordered like the others.
    """
    drawn = sorted(targets, key=lambda target: (target.order, _draw(target.weight, random())))
    resting = [target for target in drawn if standing(target) is Standing.RESTING]
    ready = [target for target in drawn if target not in resting]
    return ready + (sorted(resting, key=ready_in_s) if ready_in_s is not None else resting)


def _draw(weight: float, random: float) -> float:
    """Return a target's place in the draw, lower first.

    An exponential clock for each target, running as fast as its weight: who rings first is drawn in proportion to the
    weights, and so are the next ones of those that are left (P. Efraimidis and P. Spirakis, 2006).
    """
    return -math.log(1.0 - random) / weight if weight > 0 else math.inf


def _some(targets: list[Target], *, param: str, otherwise: str) -> list[Target]:
    """Return the targets; none at all is an error of the request.

    Raises:
        ClientRequestError: There is none.
    """
    if not targets:
        raise ClientRequestError(otherwise, param=param, code="unsupported_by_engines")
    return targets


def _demands(needs: Needs) -> list[tuple[Callable[[Capabilities], bool], str, str]]:
    """Return what the request asks of engines: whether one can, in which field it is asked for, and what it is called."""
    demands: list[tuple[bool, Callable[[Capabilities], bool], str, str]] = [
        (True, lambda can: needs.endpoint in can.endpoints, "model", f"requests to {needs.endpoint}"),
        (needs.has_tools, lambda can: can.takes_tools, "tools", "tools"),
        (needs.has_schema, lambda can: can.takes_schemas, "response_format", "a JSON schema"),
        (needs.has_images, lambda can: can.takes_images, "messages", "content that is not text"),
        (needs.has_logprobs, lambda can: can.takes_logprobs, "logprobs", "logprobs"),
        (True, lambda can: needs.choices <= can.max_choices, "n", f"{needs.choices} choices"),
    ]
    return [(can, param, taken) for is_asked, can, param, taken in demands if is_asked]
