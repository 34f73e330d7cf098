"""A circuit breaker: who fails again and again is left alone for a while, and then tried with one request at a time.

::

    CLOSED ── tripped ──▶ OPEN ── rested ──▶ HALF_OPEN ── probe succeeded ──▶ CLOSED
                            ▲                    │
                            └── probe failed ────┘

A rest doubles with each opening that follows the one before soon, and is short again after a quiet window.

The breaker decides nothing for its callers: a request may begin although the breaker would rather have it elsewhere. Such a
request, and one that began before the breaker last changed, says nothing of how things stand now, and is told apart by the
*turn* in which it began.
"""

from __future__ import annotations

import enum
import math

from headrace.policy.health_settings import HealthSettings
from headrace.policy.window import Window


class BreakerState(enum.StrEnum):
    CLOSED = "closed"
    """Requests pass."""
    OPEN = "open"
    """None does."""
    HALF_OPEN = "half_open"
    """One at a time does."""


class BreakerEvent(enum.StrEnum):
    """What changes the state of a breaker."""

    TRIPPED = "tripped"
    RESTED = "rested"
    PROBE_SUCCEEDED = "probe_succeeded"
    PROBE_FAILED = "probe_failed"


NEXT_STATES = {
    BreakerState.CLOSED: {BreakerEvent.TRIPPED: BreakerState.OPEN},
    BreakerState.OPEN: {BreakerEvent.RESTED: BreakerState.HALF_OPEN},
    BreakerState.HALF_OPEN: {
        BreakerEvent.PROBE_SUCCEEDED: BreakerState.CLOSED,
        BreakerEvent.PROBE_FAILED: BreakerState.OPEN,
    },
}
"""What follows on what; a pair that is not here does not happen."""

NO_TURN = -1
"""The turn of a request whose outcome says nothing to the breaker."""

MAX_DOUBLINGS = 32
"""More would only make numbers that no rest can have."""

_SUCCESSES, _FAILURES, _KINDS = range(3)


class Breaker:
    """Times are monotonic seconds.

    Args:
        settings: When it opens, and for how long. ``adopt`` replaces them.
    """

    __slots__ = (
        "_closed_at_s",
        "_doublings",
        "_failures",
        "_opened_at_s",
        "_probe_is_out",
        "_state",
        "_turn",
        "_window",
        "settings",
        "until_s",
    )

    def __init__(self, settings: HealthSettings) -> None:
        self.settings = settings
        self._state = BreakerState.CLOSED
        self._turn = 0
        self._failures = 0
        self._window = Window(settings.window_s, _KINDS)
        self.until_s = -math.inf
        """When the latest rest is over, or was."""
        self._opened_at_s = -math.inf
        self._closed_at_s = -math.inf
        self._doublings = 0
        self._probe_is_out = False

    @property
    def failures_in_a_row(self) -> int:
        return self._failures

    def state(self, now_s: float) -> BreakerState:
        """Return how it stands; a rest that is over has ended."""
        if self._state is BreakerState.OPEN and now_s >= self.until_s:
            self._enter(BreakerEvent.RESTED)
        return self._state

    def allows(self, now_s: float) -> bool:
        """Return whether a request should pass now."""
        state = self.state(now_s)
        return state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and not self._probe_is_out)

    def rests_for_s(self, now_s: float) -> float:
        """Return how long it stays open, in seconds; 0 while it is not."""
        return self.until_s - now_s if self.state(now_s) is BreakerState.OPEN else 0.0

    def began(self, now_s: float) -> int:
        """Begin a request and return its turn, which its outcome is to be reported with.

        While it is half open, the first one is the probe.
        """
        if not self.allows(now_s):
            return NO_TURN
        self._probe_is_out = self._state is BreakerState.HALF_OPEN
        return self._turn

    def came_alive(self, now_s: float, turn: int | None = None) -> None:
        """Report that a request has its first content: of a probe that is enough, and of the others not yet a success.

        Args:
            now_s: The time.
            turn: As ``began`` returned it; None: it began in the present one. Likewise below.
        """
        if self._is_of_turn(turn) and self.state(now_s) is BreakerState.HALF_OPEN:
            self._enter(BreakerEvent.PROBE_SUCCEEDED)
            self._closed_at_s = now_s

    def succeeded(self, now_s: float, turn: int | None = None) -> None:
        """Report that a request has its whole answer."""
        self.came_alive(now_s, turn)
        if self._is_of_turn(turn) and self._state is BreakerState.CLOSED:
            self._failures = 0
            self._window.add(_SUCCESSES, now_s)

    def failed(self, now_s: float, turn: int | None = None) -> None:
        """Report that a request failed, and that it was not the request's fault."""
        state = self.state(now_s)
        if not self._is_of_turn(turn):
            return
        if state is BreakerState.HALF_OPEN:
            self._open(BreakerEvent.PROBE_FAILED, now_s)
        elif state is BreakerState.CLOSED:
            self._failures += 1
            self._window.add(_FAILURES, now_s)
            if self._is_tripped(now_s):
                self._open(BreakerEvent.TRIPPED, now_s)

    def neutral(self, now_s: float, turn: int | None = None) -> None:
        """Report that a request is over in a way that says nothing. A probe gives its place to the next one."""
        if self._is_of_turn(turn) and self.state(now_s) is BreakerState.HALF_OPEN:
            self._probe_is_out = False

    def adopt(self, settings: HealthSettings) -> None:
        """Take over new settings. What is open stays so for as long as it was to be, but for a shorter ``rest_max``."""
        if settings.window_s != self.settings.window_s:
            self._window = Window(settings.window_s, _KINDS)
        self.settings = settings
        self.until_s = min(self.until_s, self._opened_at_s + settings.rest_max_s)

    def _is_of_turn(self, turn: int | None) -> bool:
        return turn is None or turn == self._turn

    def _is_tripped(self, now_s: float) -> bool:
        settings = self.settings
        if self._failures >= settings.failures:
            return True
        successes, failures = self._window.totals(now_s)
        requests = successes + failures
        return requests >= settings.min_requests and failures >= settings.failure_rate * requests

    def _open(self, event: BreakerEvent, now_s: float) -> None:
        settings = self.settings
        is_again = event is BreakerEvent.PROBE_FAILED or now_s - self._closed_at_s < settings.window_s
        self._doublings = min(self._doublings + 1, MAX_DOUBLINGS) if is_again else 0
        self._enter(event)
        # What began before says nothing from here on.
        self._turn += 1
        self._opened_at_s = now_s
        self.until_s = now_s + min(settings.rest_s * 2**self._doublings, settings.rest_max_s)

    def _enter(self, event: BreakerEvent) -> None:
        """Change the state; each one begins with nothing known."""
        self._state = NEXT_STATES[self._state][event]
        self._probe_is_out = False
        if self._state is BreakerState.CLOSED:
            self._failures = 0
            self._window.clear()
