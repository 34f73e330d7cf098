"""Plans of answers that break off, and what must become of them by the rules in the documentation.

Texts are cut into deltas at random places, inside runs of white space and between the characters that make one emoji, so
that a death may come anywhere.
"""

from __future__ import annotations

import collections
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PROMPT = "one two"
"""Of plain completions; chats ask the same."""

Door = Literal["sdk", "async", "blocking", "ndjson", "completions", "whole_completions"]
DOORS: Sequence[Door] = ("sdk", "async", "blocking", "ndjson", "completions", "whole_completions")

_WORDS = (
    "a",
    "ha",
    "Grüße",
    "水車の川",
    "👩‍🔧",
    "é",
    "вода",
    "water",
    "wheel.",
    "{}",
    '"x"',
    "\\n",
    "🌊🌊",
    "1,",
    "<b>",
)
_SPACES = (" ", " ", " ", "\n\n", "  \t", "\n", " \n ", "\u00a0", "\u3000", "\t\t")
MAX_DELTA_CHARS = 6

INSIDE = (
    {"kind": "fin"},
    {"kind": "rst"},
    {"kind": "cut_chunked"},
    {"kind": "cut_close_framed"},
    {"kind": "cut_close_framed", "inside": True},
    {"kind": "broken_framing"},
    {"kind": "clean_end"},
    {"kind": "error_event"},
    {"kind": "error_event", "type": "overloaded_error", "message": "no room"},
)
"""Deaths at one place of an answer."""

BEFORE = (
    {"kind": "early_eof_head"},
    {"kind": "fin", "at": 0},
    {"kind": "rst", "at": 0},
    {"kind": "clean_end", "at": 0},
    {"kind": "error_event", "at": 0},
    {"kind": "broken_framing", "at": 0},
)
"""Deaths before the first token."""

REFUSING = ({"kind": "status", "code": 500}, {"kind": "status", "code": 503}, {"kind": "status", "code": 529})
"""Likewise; these leave the connection to the engine open."""

HANGING_UP = ({"kind": "close_before_head"}, {"kind": "reset_before_head"})
"""Likewise; on a connection that has been used before, they mean that it was idle for too long, and it is dialled anew."""

SAME = {"upstream_closed": 2, "upstream_rejected": 2, "upstream_protocol": 0, "upstream_stalled": 0}
"""How often an engine is asked again before the first token, by why it failed."""

CONTINUATIONS = 5
STALLED = frozenset({"silence"})

Fault = dict[str, Any]


@dataclass(kw_only=True)
class Plan:
    """One answer and its deaths."""

    number: int
    door: Door
    deltas: list[str]
    engines: int
    """1, or 2 of which the other one takes over."""
    deaths: list[Fault]
    """Of the first tries, in their order."""
    closes: bool
    """Whether the answer that lives closes its connection."""
    stays_dead: Fault | None = None
    """What befalls all tries after ``deaths``."""

    @property
    def text(self) -> str:
        return "".join(self.deltas)

    @property
    def is_chat(self) -> bool:
        return "completions" not in self.door

    def fault(self, number: int) -> Fault | None:
        """Return what befalls one try."""
        return self.deaths[number] if number < len(self.deaths) else self.stays_dead

    def scripts(self, continues: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the simulator's scripts for the tries, and for all after them."""
        base: dict[str, Any] = {"deltas": self.deltas, "continues": continues, "prompt": PROMPT}
        mended = {**base, "framing": "close"} if self.closes else base
        last = mended if self.stays_dead is None else {**base, "fault": self.stays_dead}
        return [self._script(base, death) for death in self.deaths], last

    def _script(self, base: Mapping[str, Any], death: Fault) -> dict[str, Any]:
        script = {**base, "fault": death}
        if self.closes and death["kind"] in ("clean_end", "error_event"):
            script["framing"] = "close"
        if death["kind"] == "rst":
            # So that most of what was sent has been read when the reset comes, which drops the rest.
            script["itl_ms"] = 4
        return script


def drawn_deltas(draw: random.Random, *, words: int) -> list[str]:
    """Return a text with runs of white space, perhaps at its ends too, in random pieces."""
    text = draw.choice(("", "", "", " ", "\n\n"))
    for number in range(words):
        text += draw.choice(_SPACES) * bool(number) + draw.choice(_WORDS)
    text += draw.choice(("", "", "", " ", " \n"))
    return recut([text], draw)


def recut(deltas: Sequence[str], draw: random.Random) -> list[str]:
    """Return the same text in random pieces."""
    text, pieces = "".join(deltas), []
    while text:
        size = draw.randint(1, MAX_DELTA_CHARS)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def drawn_plan(number: int, draw: random.Random) -> Plan:
    """Return the plan of that number; of two in a row, one keeps its connections to the engine, the other does not."""
    closes = bool(number % 2)
    deltas = drawn_deltas(draw, words=draw.randint(5, 14))
    before = [*BEFORE, *BEFORE, *(HANGING_UP * 2 if closes else REFUSING)]
    deaths: list[Fault] = []
    for _ in range(draw.choice((0, 1, 1, 2, 2, 3, 3, 3))):
        if draw.random() < 0.3:
            deaths.append(dict(draw.choice(before)))
        else:
            # Most often early, so that more is left for the next death.
            at = draw.choice((draw.randint(1, 8), draw.randint(1, len(deltas))))
            deaths.append({**draw.choice(INSIDE), "at": at})
    door, engines = DOORS[number % len(DOORS)], draw.choice((1, 2, 2))
    return Plan(number=number, door=door, deltas=deltas, engines=engines, deaths=deaths, closes=closes)


def rest_of(deltas: Sequence[str], partial: str) -> list[str]:
    """Return the deltas that follow a beginning of their text."""
    rest, passed = [], 0
    for delta in deltas:
        left = delta[max(0, len(partial) - passed) :]
        passed += len(delta)
        if left:
            rest.append(left)
    return rest


@dataclass(kw_only=True)
class Try:
    """One attempt, as it must be."""

    engine: int
    kind: str
    cause: str
    partial: str
    """What the engine is told."""
    before: str
    """The text so far."""
    after: str
    tokens: int
    """New ones."""

    @property
    def has_answered(self) -> bool:
        return self.after != self.before


@dataclass(kw_only=True)
class Walk:
    """What must become of a plan: its tries in order, and how it ends.

    Args:
        plan: The plan.
        tokens: What the record says of each attempt. Only one that was reset is looked up: a reset takes with it what
            lay unread in the relay's kernel, so that fewer tokens may have come than were sent.
    """

    plan: Plan
    tokens: Sequence[int]
    tries: list[Try] = field(default_factory=list)
    state: str = "completed"
    cause: str = "stop"
    lost_to_resets: int = 0

    def __post_init__(self) -> None:
        self._failures: collections.Counter[int] = collections.Counter()
        self._dead: set[int] = set()
        self._continued = 0
        step: tuple[int, str] | None = (0, "first")
        while step is not None:
            step = self._go(*step)

    @property
    def text(self) -> str:
        return self.tries[-1].after if self.tries else ""

    @property
    def seams(self) -> list[tuple[Try, Try]]:
        """The last try before each seam that had answered, and the one behind it."""
        seams, last = [], None
        for each in self.tries:
            if each.has_answered:
                if last is not None and each.kind == "continuation":
                    seams.append((last, each))
                last = each
        return seams

    def _go(self, engine: int, kind: str) -> tuple[int, str] | None:
        fault = self.plan.fault(len(self.tries))
        before = self.text
        partial = before.rstrip() if kind == "continuation" else ""
        # Of a chat and a plain completion alike: where there is nothing to tell, the answer begins anew.
        rest = rest_of(self.plan.deltas, partial)
        if fault is None:
            self.tries.append(self._try(engine, kind, "stop", partial, rest))
            return None
        sent = rest[: fault.get("at", 0)]
        if fault["kind"] == "rst":
            sent = self._read_before_reset(sent, partial, before)
        each = self._try(engine, kind, _cause_of(fault), partial, sent)
        self.tries.append(each)
        return self._onward(each) if self.text else self._again(each)

    def _read_before_reset(self, sent: list[str], partial: str, before: str) -> list[str]:
        number = len(self.tries)
        came = self.tokens[number] if number < len(self.tokens) else 0
        for size in range(len(sent), -1, -1):
            if _tokens(sent[:size], partial, before) == came:
                self.lost_to_resets += size < len(sent)
                return sent[:size]
        raise AssertionError(f"{came} tokens came of {sent} behind {partial!r}")

    def _try(self, engine: int, kind: str, cause: str, partial: str, sent: list[str]) -> Try:
        after = max(self.text, partial + "".join(sent), key=len)
        tokens = _tokens(sent, partial, self.text)
        return Try(engine=engine, kind=kind, cause=cause, partial=partial, before=self.text, after=after, tokens=tokens)

    def _again(self, failed: Try) -> tuple[int, str] | None:
        """Before the first token: the same engine as often as its fault allows, then the other one."""
        self._failures[failed.engine] += 1
        if self._failures[failed.engine] > SAME[failed.cause]:
            self._dead.add(failed.engine)
            left = [engine for engine in range(self.plan.engines) if engine not in self._dead]
            if not left:
                self.state, self.cause = "failed", failed.cause
                return None
            return left[0], "failover"
        return failed.engine, "retry"

    def _onward(self, failed: Try) -> tuple[int, str] | None:
        """After it: another engine if there is one, but none that is silent or breaks its protocol at once."""
        if not self._continued:
            self._dead.clear()
        if failed.cause == "upstream_stalled" or (failed.cause == "upstream_protocol" and not failed.has_answered):
            self._dead.add(failed.engine)
        left = [engine for engine in range(self.plan.engines) if engine not in self._dead]
        others = [engine for engine in left if engine != failed.engine]
        if not left or self._continued == CONTINUATIONS:
            answered = next(each for each in reversed(self.tries) if each.has_answered)
            self.state, self.cause = "truncated", answered.cause.replace("rejected", "closed")
            return None
        self._continued += 1
        return (others or left)[0], "continuation"


def _cause_of(fault: Fault) -> str:
    causes = {
        "broken_framing": "upstream_protocol",
        "error_event": "upstream_rejected",
        "status": "upstream_rejected",
        "silence": "upstream_stalled",
    }
    return causes.get(fault["kind"], "upstream_closed")


def _tokens(sent: Sequence[str], partial: str, before: str) -> int:
    """Return how many of an attempt's deltas reach beyond the text so far."""
    passed, count = len(partial), 0
    for delta in sent:
        passed += len(delta)
        count += passed > len(before)
    return count
