"""Retries: what follows when an engine failed before its first token.

An engine that says when to come back (``Retry-After``) is never asked before, and left at once for another one that is ready.
Up to a tenth comes on top, so that those who were refused together do not come back together. One that does not say is
asked after an exponential backoff with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
What follows which fault is in ``retry_rules``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.policy.faults import Fault, fault_of
from headrace.policy.retry_rules import Elsewhere, RetryPolicy, RetryRule
from headrace.policy.routing import Target

__all__ = ["Again", "Elsewhere", "Fault", "Retries", "RetryPolicy", "RetryRule", "fault_of"]

JITTER = 0.1
"""How much of ``Retry-After`` comes on top, at most, as a share of it."""

SLACK_S = 1e-6
"""Times that are added up and taken apart again are rounded."""


@dataclass(frozen=True)
class Again:
    """Whom to ask next, and after which wait."""

    target: Target
    wait_s: float


@dataclass
class _Tried:
    """What is known of a target that has failed."""

    failures: int = 0
    not_before_s: float = -math.inf
    """When it may be asked again, at the earliest."""
    has_said_when: bool = False
    """Its last answer had a ``Retry-After``."""
    is_given_up: bool = False


class Retries:
    """The attempts of one request before its first token.

    Args:
        policy: The rules.
        until_s: When the first token must have come, in monotonic seconds; no wait reaches it.
        random: Numbers from 0 to below 1.
        prompt_tokens: Estimated size of the prompt; None: not known.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        until_s: float,
        random: Callable[[], float],
        prompt_tokens: int | None = None,
    ) -> None:
        self.policy = policy
        self.until_s = until_s
        self.attempts = 0
        """How many have failed."""
        self._random = random
        self._prompt_tokens = prompt_tokens
        self._tried: dict[str, _Tried] = {}
        self._least_context: float = 0
        """How many tokens a context must be known to hold, once the prompt was too long for one."""

    def is_given_up(self, target: Target) -> bool:
        """Return whether a target is not asked any more for this request."""
        tried = self._tried.get(target.name)
        return tried is not None and tried.is_given_up

    def after(
        self,
        fault: Fault,
        *,
        retry_after_s: float | None,
        now_s: float,
        target: Target,
        others: Sequence[Target],
        context_of: Callable[[Target], int | None],
        is_ready: Callable[[Target], bool] = lambda _: True,
    ) -> Again | None:
        """Return what follows a failed attempt; None: nothing, its fault is the answer. Called once for each.

        Args:
            fault: Why it failed.
            retry_after_s: When the engine wants to be asked again, in seconds from now; None: it did not say.
            now_s: Monotonic seconds.
            target: The one that failed.
            others: The targets that may be asked, best first. Those given up on, and ``target`` itself, may be among them.
            context_of: The context of a target's engine, in tokens; None: not known.
            is_ready: Whether a target is asked at once rather than waiting for another one: one that rests is not.
        """
        self.attempts += 1
        rule = self.policy.rule(fault)
        tried = self._note(rule, fault, retry_after_s, now_s, target)
        if rule.elsewhere is Elsewhere.LARGER:
            self._note_context(context_of(target))
        if self.attempts >= self.policy.attempts or now_s >= self.until_s:
            return None
        same = None if tried.is_given_up else self._when(target, now_s)
        wants_rest = fault is Fault.RATE_LIMITED or tried.has_said_when
        if same is not None and not wants_rest and is_ready(target):
            return same
        # One that wants to be left alone for now is not given up on: when another one has failed too, it may be waited for.
        left = [] if rule.elsewhere is Elsewhere.NO else self._left(target, others, context_of)
        return self._best(same, left, now_s, is_ready)

    def patience_s(
        self,
        *,
        now_s: float,
        target: Target,
        others: Sequence[Target],
        context_of: Callable[[Target], int | None],
        is_ready: Callable[[Target], bool] = lambda _: True,
    ) -> float:
        """Return how long an attempt that begins now may take to its first token, in seconds; arguments as of ``after``.

        That is ``silence`` while something could follow then, a target that does not rest, and else all the time left.
        """
        left_s = max(0.0, self.until_s - now_s)
        then_s = now_s + self.policy.silence_s
        rule = self.policy.silent
        if self.attempts + 1 >= self.policy.attempts or then_s >= self.until_s:
            return left_s
        tried = self._tried.get(target.name, _Tried())
        if tried.failures < rule.same:
            return self.policy.silence_s
        rivals = [] if rule.elsewhere is Elsewhere.NO else self._left(target, others, context_of)
        has_rival = any(is_ready(rival) and self._when(rival, then_s) is not None for rival in rivals)
        return self.policy.silence_s if has_rival else left_s

    def _note(self, rule: RetryRule, fault: Fault, retry_after_s: float | None, now_s: float, target: Target) -> _Tried:
        """Remember a failure, and when the target may be asked again."""
        tried = self._tried.setdefault(target.name, _Tried())
        tried.failures += 1
        tried.is_given_up = tried.failures > rule.same
        tried.not_before_s = now_s + self._wait_s(fault, retry_after_s, tried.failures, now_s)
        # Neither a number below 0 nor one that is none says anything.
        tried.has_said_when = retry_after_s is not None and retry_after_s > 0
        return tried

    def _wait_s(self, fault: Fault, retry_after_s: float | None, failures: int, now_s: float) -> float:
        """Return how long to leave a target alone."""
        policy = self.policy
        most_s = min(policy.backoff_s * 2.0 ** (failures - 1), policy.backoff_max_s)
        # Whoever is at a limit is never asked again at once.
        least_s = min(policy.backoff_s / 2, most_s) if fault is Fault.RATE_LIMITED else 0.0
        if retry_after_s is not None and retry_after_s > 0:
            least_s = max(least_s, retry_after_s)
            wait_s = least_s * (1 + JITTER * self._random())
            # Rather without jitter than not at all.
            return wait_s if self._fits(wait_s, now_s) else least_s
        if fault is not Fault.RATE_LIMITED:
            most_s = min(most_s, policy.max_wait_s)
        return least_s + (most_s - least_s) * self._random()

    def _note_context(self, context_tokens: int | None) -> None:
        """Remember that a prompt was too long for a context of that size; None: of a size that is not known."""
        least = self._prompt_tokens if context_tokens is None else context_tokens + 1
        # Without any number no other context is known to be large enough.
        self._least_context = max(1, self._least_context, math.inf if least is None else least)

    def _left(
        self, target: Target, others: Sequence[Target], context_of: Callable[[Target], int | None]
    ) -> list[Target]:
        """Return the other targets that may still be asked."""
        return [
            other
            for other in others
            if other.name != target.name
            and not self.is_given_up(other)
            and (not self._least_context or (context_of(other) or 0) >= self._least_context)
        ]

    def _when(self, target: Target, now_s: float) -> Again | None:
        """Return how long a target is to be waited for; None: longer than we would."""
        tried = self._tried.get(target.name)
        wait_s = 0.0 if tried is None else max(0.0, tried.not_before_s - now_s)
        return Again(target, wait_s) if self._fits(wait_s, now_s) else None

    def _fits(self, wait_s: float, now_s: float) -> bool:
        return wait_s <= self.policy.max_wait_s + SLACK_S and now_s + wait_s < self.until_s

    def _best(
        self, same: Again | None, left: Sequence[Target], now_s: float, is_ready: Callable[[Target], bool]
    ) -> Again | None:
        """Return whom to ask: who is ready, else whoever is ready soonest, else one that rests."""
        found = [again for again in (self._when(other, now_s) for other in left) if again is not None]
        at_once = [again for again in found if again.wait_s == 0]
        ready = next((again for again in at_once if is_ready(again.target)), None)
        if ready is not None:
            return ready
        waits = [again for again in (same, *found) if again is not None and again.wait_s > 0]
        if waits:
            return min(waits, key=lambda again: again.wait_s)
        return same or next(iter(at_once), None)
