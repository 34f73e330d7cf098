"""The course of one stream: which engine is asked first, and what follows an attempt that failed.

::

    FIRST ──fault before the first token──► RETRY (same engine) or FAILOVER (another one), as the retry table says
      │                                       └──► …, until the table, the attempts or the time are used up
      └──break after it──► CONTINUATION where an engine takes a partial answer, else REPLAY where the route allows it
                             └──► …, until the continuations are used up; then the stream is truncated

Decides, and starts what it decided on; when an attempt has failed is the pump's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from headrace.errors import ClientRequestError, Overloaded, RelayError
from headrace.policy.faults import Fault, fault_of
from headrace.policy.health import TargetHealth
from headrace.policy.quote import Quote
from headrace.policy.retry import Retries
from headrace.policy.routing import Route, Target
from headrace.protocol.continuing import continued_body, is_repeatable, obstacle, text_obstacle
from headrace.protocol.json_object import decode_object
from headrace.protocol.splice import Mode, Splice
from headrace.pump.engines import Engines
from headrace.pump.spliced import SplicedGeneration
from headrace.types.attempt import AttemptKind
from headrace.types.engine import Continuation, Endpoint, EngineEnd, EngineRequest, Generation
from headrace.types.outcome import Cause, State

_BREAKS = frozenset(
    {
        Cause.UPSTREAM_CLOSED,
        Cause.UPSTREAM_STALLED,
        Cause.UPSTREAM_PROTOCOL,
        Cause.UPSTREAM_REJECTED,
        Cause.UPSTREAM_UNREACHABLE,
        Cause.FIRST_TOKEN_TIMEOUT,
    }
)
"""Ends in the middle of an answer that are the engine's doing. None is an end without a word, which is one too."""

_FAULTS = _BREAKS | {Cause.EVENT_TOO_LARGE}
"""Likewise, before the answer has begun."""

T = TypeVar("T")

_FATAL = frozenset({Fault.POLICY_REFUSAL})
"""What an engine says in the middle of an answer that no other one may undo."""


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream stands when an attempt has failed."""

    end: EngineEnd
    """How the attempt ended."""
    has_content: bool
    """Whether the log bears content."""
    is_plain: bool
    """Whether that is nothing but text."""
    text: str
    tokens: int
    """Our count of them."""
    first_line: bytes | None
    """A chunk of the answer, which has its id; None while the log is empty."""
    roles: frozenset[int]
    """Choices whose role is in the log."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What follows."""

    target: Target
    kind: AttemptKind
    wait_s: float
    request: EngineRequest
    splice: Splice | None
    """What its chunks go through; None: the log is empty, they come as they are."""


class Course:
    """One stream's way through the targets of its route.

    Args:
        route: Its model's.
        targets: Those that can serve it, best first; at least one.
        shared: The node's engines.
        retries: What may be tried again before the first token.
        request_for: Returns the request as one target's engine gets it.
        quote_for: Returns what a target's model costs; None when that is not known.
        budget_s: Within how many seconds of its acceptance the first token has to come.
        choices: How many the client asked for.
        max_tokens: The bound of the answer that the client asked for; None for none.
        marks_seams: Whether the client wants to see seams in the chunks.
        clock: Monotonic seconds.
    """

    __slots__ = (
        "_break",
        "_choices",
        "_clock",
        "_continued",
        "_dead",
        "_has_answered",
        "_marks_seams",
        "_max_tokens",
        "_patience_s",
        "_quote_for",
        "_request_for",
        "_retries",
        "_shared",
        "_splice",
        "_started_s",
        "_targets",
        "_turn",
        "budget_s",
        "kind",
        "route",
        "target",
    )

    def __init__(
        self,
        route: Route,
        targets: Sequence[Target],
        *,
        shared: Engines,
        retries: Retries,
        request_for: Callable[[Target], EngineRequest],
        quote_for: Callable[[Target], Quote | None],
        budget_s: float,
        choices: int = 1,
        max_tokens: int | None = None,
        marks_seams: bool = False,
        clock: Callable[[], float],
    ) -> None:
        self.route = route
        self.target = targets[0]
        """The one that was asked last."""
        self.kind = AttemptKind.FIRST
        """Why it was."""
        self._targets = list(targets)
        self._shared = shared
        self._retries = retries
        self._request_for = request_for
        self._quote_for = quote_for
        self._choices = choices
        self._max_tokens = max_tokens
        self._marks_seams = marks_seams
        self._clock = clock
        self._started_s = 0.0
        self._patience_s = self.budget_s = budget_s
        self._turn: int | None = None
        self._splice: Splice | None = None
        self._has_answered = False
        self._break: EngineEnd | None = None
        self._continued = 0
        self._dead: set[str] = set()
        """Names of targets that are not asked to continue any more."""

    @property
    def engine_name(self) -> str:
        """The engine that was asked last."""
        return self.target.engine

    @property
    def keeps_text(self) -> bool:
        """Whether the text has to be kept, so that another attempt could go on with it."""
        route = self.route
        if self._choices > 1 or not (route.continues or route.replays):
            return False
        return route.replays or any(self._continues(target) for target in self._targets)

    def quote_of(self, target: Target) -> Quote | None:
        """Return what a target's model costs; None when that is not known."""
        return self._quote_for(target)

    def begin(self, on_ready: Callable[[], None]) -> Generation:
        """Ask the first engine that takes the request.

        Raises:
            Overloaded: The queues of all are full; nothing was started.
            ClientRequestError: It is one that no engine can ever serve; nothing was started.
        """
        refusal: RelayError | None = None
        for target in self._targets:
            try:
                return self._start(target, AttemptKind.FIRST, self._request_for(target), None, on_ready)
            except (Overloaded, ClientRequestError) as error:
                refusal = refusal or error
        raise refusal or Overloaded("no engine takes requests now", status=503)

    def start(self, step: Step, on_ready: Callable[[], None]) -> Generation:
        """Begin what ``after`` has returned.

        Raises:
            Overloaded: The engine's queue is full; nothing was started.
            ClientRequestError: The engine can never serve it; nothing was started.
        """
        return self._start(step.target, step.kind, step.request, step.splice, on_ready)

    def answered(self, now_s: float) -> None:
        """The first content of the attempt has come."""
        self._has_answered = True
        self._health.first_content(now_s - self._started_s, now_s, self._turn)

    def leaves_silence(self, now_s: float) -> bool:
        """Return whether the attempt has said nothing for so long that another engine, which there is, is asked."""
        return not self._has_answered and now_s - self._started_s >= self._patience_s

    @property
    def _others(self) -> list[Target]:
        return [target for target in self._targets if target is not self.target]

    def after(self, broken: Break, now_s: float) -> Step | None:
        """Return what follows an attempt that has failed; None: the stream ends, as ``last_word`` says."""
        end = broken.end
        if end.cause is not None and end.cause not in (_BREAKS if broken.has_content else _FAULTS):
            return None
        fault = fault_of(end)
        self._note(fault, end, now_s)
        if not broken.has_content:
            return self._again(fault, broken, now_s)
        if self._has_answered or self._break is None:
            self._break = end
        return self._onward(fault, broken, now_s)

    def last_word(self, end: EngineEnd) -> EngineEnd:
        """Return how the stream ends when nothing follows ``end``.

        What engines answer to the question whether they can continue is no end of the stream: the break that led to it is.
        """
        return end if self._break is None or self._has_answered else self._break

    def over(self, state: State, longest_gap_s: float, now_s: float) -> None:
        """The stream has ended so."""
        if self._turn is None:
            return  # what became of it was noted when it failed
        if state is State.COMPLETED:
            self._health.succeeded(longest_gap_s, now_s, self._turn)
        else:
            # That a client left says nothing about the engine.
            self._health.neutral(now_s, self._turn)
        self._turn = None

    # --- before the first token

    def _again(self, fault: Fault, broken: Break, now_s: float) -> Step | None:
        again = self._retries.after(
            fault,
            retry_after_s=broken.end.retry_after_s,
            now_s=now_s,
            target=self.target,
            others=self._others,
            context_of=self._context_of,
            is_ready=lambda target: self._shared.is_ready(target, now_s),
        )
        if again is None:
            return None
        kind = AttemptKind.RETRY if again.target == self.target else AttemptKind.FAILOVER
        splice = self._spliced(Mode.FRESH, broken, again.target) if broken.first_line is not None else None
        request = self._request_for(again.target)
        return Step(target=again.target, kind=kind, wait_s=again.wait_s, request=request, splice=splice)

    # --- after it

    def _onward(self, fault: Fault, broken: Break, now_s: float) -> Step | None:
        if not broken.is_plain or fault in _FATAL or self._continued >= self._shared.policy.continuations:
            return None
        if self._is_useless(fault, broken.end):
            self._dead.add(self.target.name)
        wait_s = self._continuation_wait_s(broken.end)
        candidates = [target for target in self._by_hope(now_s) if target.name not in self._dead]
        step = self._continuation(candidates, broken, wait_s) or self._replay(candidates, broken, wait_s)
        if step is not None:
            self._continued += 1
        return step

    def _is_useless(self, fault: Fault, end: EngineEnd) -> bool:
        """Return whether the engine that failed last is not asked to go on: it is silent, or it has refused."""
        if end.cause in (Cause.UPSTREAM_STALLED, Cause.FIRST_TOKEN_TIMEOUT):
            return True
        return not self._has_answered and fault in (
            Fault.REJECTED,
            Fault.UNAUTHORIZED,
            Fault.PROTOCOL,
            Fault.CONTEXT_TOO_LONG,
        )

    def _continuation_wait_s(self, end: EngineEnd) -> float:
        """Return how long to wait: not at all after a break, longer each time after a failed try to go on."""
        if self._has_answered:
            return 0.0
        policy = self._shared.policy
        backoff_s = min(policy.backoff_s * 2.0**self._continued, policy.backoff_max_s)
        return max(backoff_s, min(end.retry_after_s or 0.0, policy.max_wait_s))

    def _by_hope(self, now_s: float) -> list[Target]:
        """Return all targets, those that do well and others than the one that has just failed first."""
        rests = {target.name: not self._shared.is_ready(target, now_s) for target in self._targets}
        return sorted(self._targets, key=lambda target: (rests[target.name], target is self.target))

    def _continues(self, target: Target) -> bool:
        capabilities = self._shared.capabilities[target.engine]
        if self._endpoint is Endpoint.COMPLETIONS:
            return True
        return capabilities.continuation is not Continuation.NONE and not self._shared.refuses_partial(target)

    def _continuation(self, candidates: list[Target], broken: Break, wait_s: float) -> Step | None:
        target = next(filter(self._continues, candidates), None)
        if target is None or not self.route.continues or self._obstacle(broken) is not None:
            return None
        request = self._request_for(target)
        left = None if self._max_tokens is None else max(1, self._max_tokens - broken.tokens)
        how = self._shared.capabilities[target.engine].continuation
        body = continued_body(request.body, self._endpoint, broken.text, how, tokens_left=left)
        return Step(
            target=target,
            kind=AttemptKind.CONTINUATION,
            wait_s=wait_s,
            request=msgspec.structs.replace(request, body=body),
            splice=self._spliced(Mode.CONTINUE, broken, target),
        )

    def _replay(self, candidates: list[Target], broken: Break, wait_s: float) -> Step | None:
        if not candidates or not self.route.replays or not is_repeatable(self._body):
            return None
        target = candidates[0]
        return Step(
            target=target,
            kind=AttemptKind.REPLAY,
            wait_s=wait_s,
            request=self._request_for(target),
            splice=self._spliced(Mode.REPLAY, broken, target),
        )

    def _obstacle(self, broken: Break) -> str | None:
        """Return why this answer can never be continued; None when it can."""
        if self._endpoint is Endpoint.COMPLETIONS and self._max_tokens is None:
            return "max_tokens: without it engines have a bound of their own, which would count anew"
        return obstacle(self._body, self._endpoint) or text_obstacle(broken.text)

    # --- both

    @property
    def _body(self) -> bytes:
        return self._request_for(self._targets[0]).body

    @property
    def _endpoint(self) -> Endpoint:
        return self._request_for(self._targets[0]).endpoint

    def _spliced(self, mode: Mode, broken: Break, target: Target) -> Splice:
        """Return what makes the next attempt's chunks follow those in the log."""
        identity = decode_object(broken.first_line or b"{}") or {}
        kind = AttemptKind.REPLAY if mode is Mode.REPLAY else AttemptKind.CONTINUATION
        seam = {"kind": kind.value, "engine": target.engine, "from": self.target.engine}
        return Splice(
            mode=mode,
            delivered=broken.text,
            id=_of_type(identity.get("id"), str),
            created=_of_type(identity.get("created"), int),
            roles=broken.roles,
            seam={"seam": seam} if self._marks_seams and mode is not Mode.FRESH else None,
        )

    def _start(
        self,
        target: Target,
        kind: AttemptKind,
        request: EngineRequest,
        splice: Splice | None,
        on_ready: Callable[[], None],
    ) -> Generation:
        now_s = self._clock()
        self.target, self.kind, self._splice = target, kind, splice
        self._started_s = now_s
        self._has_answered = False
        generation = self._shared.engines[target.engine].start(request, on_ready)
        self._turn = self._health.began(now_s)
        if len(self._targets) > 1:
            self._patience_s = self._retries.patience_s(
                now_s=now_s,
                target=target,
                others=self._others,
                context_of=self._context_of,
                is_ready=lambda other: self._shared.is_ready(other, now_s),
            )
        return generation if splice is None else SplicedGeneration(generation, splice)

    @property
    def _health(self) -> TargetHealth:
        return self._shared.health_of(self.target)

    def _context_of(self, target: Target) -> int | None:
        return self._shared.capabilities[target.engine].context_tokens

    def _note(self, fault: Fault, end: EngineEnd, now_s: float) -> None:
        """Let the engine's health know."""
        turn, self._turn = self._turn, None
        if turn is None:
            return  # it was not even begun
        if self._splice is not None and self._splice.is_broken:
            # Another answer than the one that broke off is no fault of who gives it.
            self._health.neutral(now_s, turn)
            return
        if self.kind is AttemptKind.CONTINUATION and fault is Fault.REJECTED and not self._has_answered:
            self._shared.note_refusal(self.target)
        self._health.faulted(fault, end.retry_after_s, now_s, turn)


def _of_type(value: Any, kind: type[T]) -> T | None:
    return value if isinstance(value, kind) else None
