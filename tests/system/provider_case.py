"""What a line of the table of provider faults says, and how the table is written."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from headrace.engines.openai.keys import FIRST_REST_S
from headrace.policy.retry import JITTER
from headrace.policy.retry_rules import RetryPolicy
from headrace.policy.timeouts import Timeouts
from headrace.types.attempt import AttemptKind
from headrace.types.outcome import Cause, State

Script = dict[str, Any]

WORDS = ["Grüße", " 水", "  車", "\n\n", "🌊", " ha", " ha", " end."]
"""What an engine says that is well: characters of one to four bytes, white space of templates, a legal repetition."""

TEXT = "".join(WORDS)
CUT = 4
"""Words before a fault in the middle; white space is the last of them."""

SECRET = "sk-live-provider-3f9a"
"""The relay's key for its engines, which some of them repeat. Nobody may see it."""

RETRY = RetryPolicy(backoff_s=0.1, backoff_max_s=0.2, max_wait_s=2.0, silence_s=1.0)
TIMEOUTS = Timeouts(first_token_s=4.5, idle_s=0.8, head_wait_s=3.0, commit_wait_s=10.0)
"""Short ones, so that the table takes seconds; how often is asked again is the default. Whatever fails at once has its
status, also on a slow machine, since the response head waits longer than that."""

RETRY_AFTER_S = 1.0
"""What engines say that want to be left alone for a moment,"""
LONG_S = 60
"""and those that want it for longer than anybody waits."""

SHORTLY_S = 0.3
SLOW_S = 3.2
"""First tokens within the time that silence is waited for, and beyond it and beyond the response head."""

MAX_SECONDS = {
    "`Retry-After`": RETRY_AFTER_S * (1 + JITTER),
    "the rest of the engine's key": FIRST_REST_S * (1 + JITTER),
    "a backoff": RETRY.backoff_max_s,
    "`retry.silence`": RETRY.silence_s,
    "`timeouts.idle`": TIMEOUTS.idle_s,
    "`timeouts.first_token`": TIMEOUTS.first_token_s,
    "the answer's own pace": SLOW_S,
}
"""What a request may wait for, and for how long at most."""

SLACK_S = 3.0
"""What all the rest may take on a machine with two cores on which other tests run; a tenth of a second of it is how late
the relay notices that a time is over."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One engine of a route."""

    scripts: tuple[Script, ...] = ()
    """What its first requests get, one each; fields of the simulator's script."""
    then: Script | None = None
    """What all others get; None: the whole answer."""
    is_down: bool = False
    """Nobody listens at its address."""
    settings: str = ""
    """More of its settings, in TOML."""


@dataclass(frozen=True, kw_only=True)
class Sees:
    """The error that a client gets."""

    code: str
    status: int | None = None
    """None: an error event, since the response head was out."""
    retry_after: str | None = None
    says: str = ""
    """Its message has this."""

    @property
    def error(self) -> str:
        """The class of it in OpenAI's SDK."""
        named = {
            400: "BadRequestError",
            404: "NotFoundError",
            422: "UnprocessableEntityError",
            429: "RateLimitError",
        }
        return "APIError" if self.status is None else named.get(self.status, "InternalServerError")

    @property
    def words(self) -> str:
        status = "an error event" if self.status is None else f"{self.status}"
        later = f", `Retry-After: {self.retry_after}`" if self.retry_after is not None else ""
        return f"{status}, `{self.code}`{later}"


@dataclass(frozen=True)
class Tried:
    """One attempt."""

    engine: int
    """From 1, in the order of the route."""
    ended: Cause | int = Cause.STOP
    """Why it ended; a number is the status that the engine refused with."""
    kind: AttemptKind | None = None
    """None: the first one, again, or elsewhere, as the engine of the one before says."""

    @property
    def cause(self) -> Cause:
        return Cause.UPSTREAM_REJECTED if isinstance(self.ended, int) else self.ended

    @property
    def status(self) -> int | None:
        return self.ended if isinstance(self.ended, int) else None

    @property
    def words(self) -> str:
        goes_on = f" ({self.kind})" if self.kind is not None else ""
        how = "**whole**" if self.ended is Cause.STOP else f"`{self.ended}`"
        return f"{self.engine}{goes_on}: {how}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    engines: tuple[Engine, ...]
    tried: tuple[Tried, ...]
    streaming: Sees | None = None
    """What the SDK shows; None: the whole answer."""
    blocking: Sees | None = None
    state: State = State.COMPLETED
    cause: Cause = Cause.STOP
    text: str = TEXT
    """All that a client ever gets."""
    waits: tuple[str, ...] = ()
    """What for, of ``MAX_SECONDS``; nothing else may take long."""
    malformed: int = 0
    settings: str = ""
    """More of the route, in TOML."""
    fields: tuple[tuple[str, Any], ...] = ()
    """More of the request."""

    @property
    def waits_s(self) -> float:
        """Return how long a call may wait."""
        return sum(MAX_SECONDS[wait] for wait in self.waits)

    @property
    def within_s(self) -> float:
        """Return how long a call may take."""
        return self.waits_s + SLACK_S

    @property
    def asked(self) -> list[int]:
        """Return how many requests each engine may see, to the last one."""
        counts = collections.Counter(tried.engine for tried in self.tried)
        return [0 if engine.is_down else counts[at] for at, engine in enumerate(self.engines, 1)]

    @property
    def kinds(self) -> list[AttemptKind]:
        """Return why each attempt was made."""
        kinds = [AttemptKind.FIRST]
        for before, tried in zip(self.tried, self.tried[1:], strict=False):
            again = AttemptKind.RETRY if before.engine == tried.engine else AttemptKind.FAILOVER
            kinds.append(tried.kind or again)
        return kinds

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Return the line as the documentation has it."""
        attempts = [(words, len(list(equal))) for words, equal in itertools.groupby(each.words for each in self.tried)]
        waits = collections.Counter(self.waits).items()
        return (
            self.name,
            self.outcome,
            "; ".join(words if times == 1 else f"{words}, {times} times" for words, times in attempts),
            ", ".join(wait if times == 1 else f"{times} times {wait}" for wait, times in waits),
        )

    @property
    def outcome(self) -> str:
        """Return what a client gets, in words."""
        if self.streaming is None or self.blocking is None:
            return "rescued whole" if len(self.tried) > 1 else "whole"
        before = "what had come, then " if self.text else ""
        if self.streaming == self.blocking:
            return before + self.streaming.words
        return f"{before}{self.streaming.words}; blocking: {self.blocking.words}"


@dataclass(frozen=True, kw_only=True)
class Story:
    """A line of the table about more than one request; a test of its own tells it."""

    name: str
    outcome: str
    tried: str
    waits: str
    test: str
    """Name of the test."""

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Return the line as the documentation has it."""
        return self.name, self.outcome, self.tried, self.waits


def table(lines: Iterable[Row | Story]) -> str:
    """Return lines of the table in Markdown, as the documentation has them."""
    head = [
        "| What goes wrong | The client gets | Attempts: engine, how it ended | Waits at most for |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *(f"| {' | '.join(cell or '-' for cell in line.cells)} |" for line in lines)])
