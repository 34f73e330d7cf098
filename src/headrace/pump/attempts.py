"""The attempts of one stream: what became of each, and the seams between their texts."""

from __future__ import annotations

import msgspec

from headrace.policy.billing import Counts
from headrace.policy.quote import Quote
from headrace.pump.part import Part
from headrace.stream.state import CAUSES
from headrace.types.attempt import Attempt, AttemptKind, Seam
from headrace.types.engine import EngineEnd
from headrace.types.ids import Offset
from headrace.types.outcome import Cause, State


class Attempts:
    """Notes of the attempts of one stream, the last of which may run.

    Args:
        engine: The first engine that is asked.
        model: Its name of the model.
        started_at: Unix seconds.
    """

    __slots__ = (
        "_ended",
        "_engine",
        "_first_content_at",
        "_is_over",
        "_kind",
        "_model",
        "_started_at",
        "_waited_s",
        "seams",
    )

    def __init__(self, engine: str, model: str, *, started_at: float) -> None:
        self.seams: list[Seam] = []
        self._ended: list[Attempt] = []
        self._first_content_at: float | None = None
        self._begin(engine, model, AttemptKind.FIRST, started_at, 0.0)

    def __len__(self) -> int:
        return len(self._ended) + 1

    @property
    def engine(self) -> str:
        """The engine that was asked last."""
        return self._engine

    @property
    def model(self) -> str:
        """Its name of the model."""
        return self._model

    @property
    def kind(self) -> AttemptKind:
        """Why it was asked."""
        return self._kind

    def next(self, engine: str, model: str, kind: AttemptKind, *, at: float, waited_s: float) -> None:
        """Another attempt begins; the one before it was ended."""
        self._begin(engine, model, kind, at, waited_s)

    def answered(self, *, at: float, offset: Offset) -> None:
        """The first content of the attempt has come; it is appended at ``offset``.

        A continuation's makes a seam.
        """
        self._first_content_at = at
        if self._kind not in (AttemptKind.CONTINUATION, AttemptKind.REPLAY):
            return
        before = self._last_answer()
        self.seams.append(
            Seam(
                offset=offset,
                at=at,
                kind=self._kind,
                cause=before.cause or Cause.UPSTREAM_CLOSED,
                from_engine=before.engine,
                to_engine=self._engine,
                to_model=self._model,
            )
        )

    def failed(self, end: EngineEnd, part: Part, quote: Quote | None, *, at: float) -> None:
        """The attempt is over, and another one may follow.

        Args:
            end: How.
            part: What it brought.
            quote: What its model costs; None when that is not known.
            at: Unix seconds.
        """
        row = self._row(part, quote, counts=self._first_content_at is not None)
        self._is_over = True
        self._ended.append(
            msgspec.structs.replace(
                row,
                ended_at=at,
                cause=end.cause or Cause.UPSTREAM_CLOSED,
                status=end.upstream_status,
                message=end.message,
            )
        )

    def rows(self, part: Part, quote: Quote | None, *, ended_at: float | None, cause: Cause | None) -> list[Attempt]:
        """Return all attempts, oldest first; none as long as there was but one.

        Args:
            part: What the last one brought.
            quote: What its model costs.
            ended_at: When the stream ended; None while it runs.
            cause: How.
        """
        if not self._ended:
            return []
        if self._is_over:
            return list(self._ended)
        # One that had nothing to add to a whole answer has read the prompt all the same, and said so.
        is_whole = cause in CAUSES[State.COMPLETED] and part.engine_usage is not None
        row = self._row(part, quote, counts=is_whole or self._first_content_at is not None)
        return [*self._ended, msgspec.structs.replace(row, ended_at=ended_at, cause=cause)]

    def _begin(self, engine: str, model: str, kind: AttemptKind, at: float, waited_s: float) -> None:
        self._engine = engine
        self._model = model
        self._kind = kind
        self._started_at = at
        self._waited_s = waited_s
        self._first_content_at = None
        self._is_over = False

    def _last_answer(self) -> Attempt:
        """Return the last attempt before this one that has brought a part of the answer."""
        answers = [attempt for attempt in self._ended if attempt.first_content_at is not None]
        return (answers or self._ended)[-1]

    def _row(self, part: Part, quote: Quote | None, *, counts: bool) -> Attempt:
        """Return the attempt as it stands; unless it ``counts``, nothing is paid for it."""
        brought = part.counts(delivered_tokens=0)
        _, source = part.usage
        tokens = brought.completion_tokens if brought.is_reported else part.tokens
        return Attempt(
            engine=self._engine,
            model=self._model,
            kind=self._kind,
            started_at=self._started_at,
            waited_s=round(self._waited_s, 3),
            first_content_at=self._first_content_at,
            prompt_tokens=brought.prompt_tokens if counts else 0,
            cached_tokens=brought.cached_tokens if counts else 0,
            completion_tokens=tokens if counts else 0,
            tokens_source=source,
            nano_usd=_cost(brought, tokens, quote) if counts else 0,
        )


def _cost(counts: Counts, completion_tokens: int, quote: Quote | None) -> int | None:
    return None if quote is None else quote.cost(counts.prompt_tokens, counts.cached_tokens, completion_tokens)
