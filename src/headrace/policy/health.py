"""How the engines are: what became of the requests of the last while, and who should be left alone for now.

Nothing here closes a route. Who rests is asked last, and is asked when there is no other.
"""

from __future__ import annotations

import enum
import math

import msgspec

from headrace.policy.breaker import Breaker, BreakerState
from headrace.policy.faults import Fault
from headrace.policy.health_settings import HealthSettings
from headrace.policy.samples import Percentiles, Samples
from headrace.policy.window import Window

__all__ = ["Health", "HealthReport", "HealthSettings", "Standing", "TargetHealth"]

MAX_KNOWN = 4096
"""Models of engines that are known at once: names of models may come from clients."""

MAX_SWEPT = 64
"""Of them, how many are looked at for one that may be forgotten."""

LIMITED_S = 1.0
"""How long an engine rests that is at its limit and does not say for how long."""

MAX_LIMITED_S = 3600.0
"""A longer rest than an hour is not believed."""

_REQUESTS, _FAILED, _LIMITED, _KINDS = range(4)

_SAYS_NOTHING = frozenset({Fault.CONTEXT_TOO_LONG, Fault.POLICY_REFUSAL, Fault.REJECTED})
"""Faults of the request, not of the engine."""


class Standing(enum.StrEnum):
    """How a target is to be taken at the moment."""

    READY = "ready"
    PROBING = "probing"
    """It has failed and rested; the next request finds out how it is now."""
    RESTING = "resting"
    """Others first."""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """How one model of one engine has done over the window."""

    engine: str
    model: str
    standing: Standing
    breaker: BreakerState
    ready_in_s: float
    """How long it still rests, in seconds."""
    is_slow: bool
    failures_in_a_row: int
    requests: int
    """Begun."""
    failed: int
    limited: int
    """Answered with 429."""
    first_token: Percentiles | None
    """From asking it to its first content."""
    longest_gap: Percentiles | None
    """Of each answer, between two chunks with content."""


class TargetHealth:
    """How one model of one engine is. Times are monotonic seconds.

    Each attempt is reported with ``began``, and then with exactly one of ``succeeded``, ``failed``, ``limited``, ``neutral``
    and ``faulted``; ``first_content`` may stand between. ``began`` returns the attempt's *turn*, which the others take, so
    that what began before the engine failed does not pass for the probe that is out now.

    Args:
        settings: When it counts as ill.
        engine: Its name.
        model: What the model is called there.
    """

    __slots__ = ("_breaker", "_counts", "_first_tokens", "_gaps", "_limited_until_s", "_settings", "engine", "model")

    def __init__(self, settings: HealthSettings, *, engine: str = "", model: str = "") -> None:
        self.engine = engine
        self.model = model
        self._settings = settings
        self._breaker = Breaker(settings)
        self._counts = Window(settings.window_s, _KINDS)
        self._first_tokens = Samples()
        self._gaps = Samples()
        self._limited_until_s = -math.inf

    def standing(self, now_s: float) -> Standing:
        """Return how it is to be taken now."""
        if now_s < self._limited_until_s or not self._breaker.allows(now_s):
            return Standing.RESTING
        if self._breaker.state(now_s) is BreakerState.HALF_OPEN:
            return Standing.PROBING
        return Standing.RESTING if self._is_slow(now_s) else Standing.READY

    def rests(self, now_s: float) -> bool:
        """Return whether others are to be asked first."""
        return self.standing(now_s) is Standing.RESTING

    def ready_in_s(self, now_s: float) -> float:
        """Return how long it still rests, in seconds; 0 when it does not, or rests only because it is slow."""
        return max(0.0, self._limited_until_s - now_s, self._breaker.rests_for_s(now_s))

    @property
    def rests_until_s(self) -> float:
        """When its latest rest is over, or was; minus infinity when it never had one."""
        return max(self._limited_until_s, self._breaker.until_s)

    def began(self, now_s: float) -> int:
        """Report that it is asked, and return the turn of this attempt."""
        self._counts.add(_REQUESTS, now_s)
        return self._breaker.began(now_s)

    def first_content(self, ttft_s: float, now_s: float, turn: int | None = None) -> None:
        """Report the first content of an attempt.

        Args:
            ttft_s: How long it took from asking, in seconds.
            now_s: The time.
            turn: What ``began`` returned; None: it began since the engine last failed. Likewise below.
        """
        self._first_tokens.add(ttft_s, now_s)
        self._breaker.came_alive(now_s, turn)

    def succeeded(self, longest_gap_s: float | None, now_s: float, turn: int | None = None) -> None:
        """Report a whole answer, and the longest gap between two of its chunks; None when it had only one."""
        if longest_gap_s is not None:
            self._gaps.add(longest_gap_s, now_s)
        self._breaker.succeeded(now_s, turn)

    def failed(self, now_s: float, turn: int | None = None) -> None:
        """Report that it failed, before its first token or after, by its own fault."""
        self._counts.add(_FAILED, now_s)
        self._breaker.failed(now_s, turn)

    def limited(self, retry_after_s: float | None, now_s: float, turn: int | None = None) -> None:
        """Report that it answered with 429: it rests as long as it said, in seconds; None: ``LIMITED_S``."""
        self._counts.add(_LIMITED, now_s)
        rest_s = LIMITED_S if retry_after_s is None or math.isnan(retry_after_s) else min(retry_after_s, MAX_LIMITED_S)
        self._limited_until_s = max(self._limited_until_s, now_s + rest_s)
        self._breaker.neutral(now_s, turn)

    def neutral(self, now_s: float, turn: int | None = None) -> None:
        """Report an attempt that says nothing of it: the client left, or the request was at fault."""
        self._breaker.neutral(now_s, turn)

    def faulted(self, fault: Fault, retry_after_s: float | None, now_s: float, turn: int | None = None) -> None:
        """Report an attempt that failed before its first token, as what its fault says of the engine."""
        if fault in _SAYS_NOTHING:
            self.neutral(now_s, turn)
        elif fault is Fault.RATE_LIMITED:
            self.limited(retry_after_s, now_s, turn)
        else:
            self.failed(now_s, turn)

    def adopt(self, settings: HealthSettings) -> None:
        """Take over new settings. A new length of the window begins with empty counts."""
        if settings.window_s != self._settings.window_s:
            self._counts = Window(settings.window_s, _KINDS)
        self._settings = settings
        self._breaker.adopt(settings)

    def report(self, now_s: float) -> HealthReport:
        """Return how it has done."""
        window_s = self._settings.window_s
        requests, failed, limited = self._counts.totals(now_s)
        return HealthReport(
            engine=self.engine,
            model=self.model,
            standing=self.standing(now_s),
            breaker=self._breaker.state(now_s),
            ready_in_s=self.ready_in_s(now_s),
            is_slow=self._is_slow(now_s),
            failures_in_a_row=self._breaker.failures_in_a_row,
            requests=requests,
            failed=failed,
            limited=limited,
            first_token=self._first_tokens.percentiles(window_s, now_s),
            longest_gap=self._gaps.percentiles(window_s, now_s),
        )

    def _is_slow(self, now_s: float) -> bool:
        settings = self._settings
        return self._is_above(settings.slow_first_token_s, self._first_tokens, now_s) or self._is_above(
            settings.slow_gap_s, self._gaps, now_s
        )

    def _is_above(self, bound_s: float | None, samples: Samples, now_s: float) -> bool:
        if bound_s is None:
            return False
        spread = samples.glance(self._settings.window_s, now_s)
        return spread is not None and spread.count >= self._settings.min_requests and spread.p90_s > bound_s


class Health:
    """The health of every model of every engine that was asked of late; no more than ``MAX_KNOWN`` of them.

    Args:
        settings: When one counts as ill.
    """

    def __init__(self, settings: HealthSettings) -> None:
        self._settings = settings
        self._known: dict[tuple[str, str], TargetHealth] = {}
        """The one that was asked for longest ago first."""

    def __len__(self) -> int:
        return len(self._known)

    def of(self, engine: str, model: str) -> TargetHealth:
        """Return the health of a model, as its engine knows it; a new one when there is none."""
        found = self._known.pop((engine, model), None)
        if found is None:
            if len(self._known) >= MAX_KNOWN:
                self._forget_one()
            found = TargetHealth(self._settings, engine=engine, model=model)
        self._known[engine, model] = found
        return found

    def adopt(self, settings: HealthSettings) -> None:
        """Hold all of them to new settings from now on."""
        self._settings = settings
        for known in self._known.values():
            known.adopt(settings)

    def reports(self, now_s: float) -> list[HealthReport]:
        """Return how all of them are, by engine and model."""
        return [self._known[names].report(now_s) for names in sorted(self._known)]

    def _forget_one(self) -> None:
        """Forget, of those that were asked for longest ago, the one whose rest is over for longest."""
        oldest = [names for names, _ in zip(self._known, range(MAX_SWEPT), strict=False)]
        del self._known[min(oldest, key=lambda names: self._known[names].rests_until_s)]
