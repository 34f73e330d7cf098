"""Sessions as the clients make them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from headrace.client.calls import events_request
from headrace.client.patience import Patience
from headrace.client.session import Session
from headrace.client.transcript import Transcript
from headrace.client.transport import Request


class Planner:
    """Makes sessions.

    Args:
        patience: How long each of them tries.
        clock: Monotonic seconds.
        random: Numbers from 0 up to 1.
    """

    def __init__(self, *, patience: Patience, clock: Callable[[], float], random: Callable[[], float]) -> None:
        self.patience = patience
        self._clock = clock
        self._random = random

    def start(self, request: Request, *, stream_id: str, coalesce_tokens: int | None = None) -> Session:
        """Return a session that starts a stream with a chat request, which proposes ``stream_id``."""
        return Session(
            start=request,
            events=partial(events_request, stream_id, coalesce_tokens=coalesce_tokens),
            stream_id=stream_id,
            transcript=Transcript(),
            patience=self.patience,
            clock=self._clock,
            random=self._random,
        )

    def attach(self, stream_id: str, *, after: int, merge: bool, coalesce_tokens: int | None) -> Session:
        """Return a session that follows a stream behind ``after``."""
        return Session(
            start=None,
            events=partial(events_request, stream_id, merge=merge, coalesce_tokens=coalesce_tokens),
            stream_id=stream_id,
            transcript=Transcript(after=after, is_merged=merge),
            patience=self.patience,
            clock=self._clock,
            random=self._random,
        )


def new_stream_id() -> str:
    return uuid.uuid4().hex


def chat_fields(
    prompt: str | None, messages: Sequence[Mapping[str, Any]] | None, model: str | None, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the body of a chat request.

    Raises:
        ValueError: There is a prompt and messages, or neither.
    """
    if (prompt is None) == (messages is None):
        raise ValueError("give either a prompt or messages")
    chat = messages if messages is not None else [{"role": "user", "content": prompt}]
    return {**({} if model is None else {"model": model}), "messages": chat, **fields}
