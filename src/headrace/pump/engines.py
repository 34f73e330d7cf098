"""The engines of a node, as all streams share them."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.policy.health import Health, Standing, TargetHealth
from headrace.policy.retry import RetryPolicy
from headrace.policy.routing import Target
from headrace.types.engine import Capabilities, Engine


class Engines:
    """What all courses of a node share.

    Args:
        engines: By name.
        default: Name of the one that serves models without a route of their own.
        capabilities: What each can do, by name.
        health: How they do.
        policy: What is tried again.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        *,
        default: str,
        capabilities: Mapping[str, Capabilities],
        health: Health,
        policy: RetryPolicy,
    ) -> None:
        self.engines = engines
        self.default = default
        self.capabilities = capabilities
        self.health = health
        self.policy = policy
        self._refusing: set[tuple[str, str]] = set()

    def adopt(self, policy: RetryPolicy, capabilities: Mapping[str, Capabilities]) -> None:
        """Use these for streams that begin from now on; what was learned of the engines counts no more."""
        self.policy = policy
        self.capabilities = capabilities
        self._refusing.clear()

    def health_of(self, target: Target) -> TargetHealth:
        """Return how a target does."""
        return self.health.of(target.engine, target.model)

    def is_ready(self, target: Target, now_s: float) -> bool:
        """Return whether a target is one to ask now: it does not rest."""
        return self.health_of(target).standing(now_s) is not Standing.RESTING

    def refuses_partial(self, target: Target) -> bool:
        """Return whether a target has been found not to take partial answers, whatever its settings say."""
        return (target.engine, target.model) in self._refusing

    def note_refusal(self, target: Target) -> None:
        """Remember that it does not, until the next start."""
        self._refusing.add((target.engine, target.model))
