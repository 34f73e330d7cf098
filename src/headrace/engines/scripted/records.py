"""What the server remembers about requests: enough to prove when a client's stop arrived."""

from __future__ import annotations

import collections

import msgspec

from headrace.engines.scripted.partial import partial_of
from headrace.engines.scripted.plan import Plan
from headrace.engines.scripted.request import Request
from headrace.engines.scripted.script import Script
from headrace.types.engine import Continuation, Endpoint

DEFAULT_MAX_RECORDS = 20_000
MAX_NAME_CHARS = 256
"""Longer names of models are cut in records."""
MAX_HEADER_VALUE_CHARS = 256
"""Longer header values are cut in records."""
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key"})


class Asked(msgspec.Struct, kw_only=True):
    """What one request asked for, and which script it got. All but ``endpoint`` and ``script`` need a good request."""

    endpoint: Endpoint = Endpoint.CHAT
    script: int | None = None
    """Number of its script in the sequence, from 0; None for what comes after, or without one."""
    id: str = ""
    """The ``id`` of the answer; empty where nothing was planned."""
    model: str = ""
    """Cut at ``MAX_NAME_CHARS``."""
    max_tokens: int | None = None
    """``max_completion_tokens`` or ``max_tokens``."""
    prompt_tokens: int | None = None
    """Words of the prompt, a partial answer included."""
    partial_chars: int | None = None
    """Characters of the partial answer that it brought, as they came; None when it brought none."""
    partial_form: Continuation | None = None
    """How the partial answer was marked: ``assistant`` is no mark. None for none, and in plain completions."""
    is_continuation: bool = False
    """Whether the partial answer was continued; False when it was ignored or refused."""

    def note_request(self, request: Request, script: Script) -> None:
        """Note what was asked."""
        self.model = request.model[:MAX_NAME_CHARS]
        self.max_tokens = request.most_tokens
        partial = partial_of(request, script)
        if partial is not None:
            self.partial_chars, self.partial_form = len(partial.text), partial.form

    def note_plan(self, plan: Plan) -> None:
        """Note what comes of it."""
        self.id = plan.id
        self.prompt_tokens = plan.prompt_tokens
        self.is_continuation = plan.rest is not None


class RequestRecord(Asked, kw_only=True):
    """One request. Times are seconds of CLOCK_MONOTONIC, which all processes of a machine share."""

    body_bytes: int
    headers: dict[str, str]
    """Request headers, lower-case names; secrets are only ``present``."""
    connection: int
    """Number of the connection, from 1."""
    request: int
    """Number of the request on its connection, from 1."""
    accepted_at: float
    status: int | None = None
    """Status of the response, once its head was written."""
    first_token_at: float | None = None
    tokens_sent: int = 0
    """Deltas generated and given to the socket, of all choices; those of a blocking answer all at once. Nothing is
    generated ahead of the socket, so that this is also what the answer cost when its client left."""
    ended_at: float | None = None
    outcome: str | None = None
    """``completed``, ``client_closed``, ``rejected`` (the script's engine cannot answer it) or ``fault:<kind>``
    (``fault:key`` for what a key was refused for); None while it runs. An answer that a fault only delayed or decorated
    is completed."""
    client_closed_at: float | None = None
    """When the client's FIN or RST was seen, if that ended the answer."""
    key: str | None = None
    """Name of its key, if keys are set and know it."""


class Summary(msgspec.Struct, kw_only=True):
    """Counts since the start, or since records were last forgotten; open things are as of now."""

    requests: int
    tokens_sent: int
    outcomes: dict[str, int]
    active: int
    connections: int
    """Connections accepted since the start."""
    open_connections: int


class Records:
    """The last requests, newest last, and counts of all."""

    def __init__(self, max_records: int) -> None:
        self._records: collections.deque[RequestRecord] = collections.deque(maxlen=max_records)
        self._active = 0
        self._outcomes: collections.Counter[str] = collections.Counter()
        self._requests = 0
        self._tokens_sent = 0
        self.connections = 0
        self.open_connections = 0

    def add(self, record: RequestRecord) -> None:
        self._records.append(record)
        self._requests += 1
        self._active += 1

    def end(self, record: RequestRecord, outcome: str, *, now_s: float) -> None:
        """Close a record; only the first call counts."""
        if record.outcome is not None:
            return
        record.outcome = outcome
        record.ended_at = now_s
        self._active -= 1
        self._outcomes[outcome] += 1
        self._tokens_sent += record.tokens_sent

    def all(self) -> list[RequestRecord]:
        return list(self._records)

    def forget(self) -> None:
        """Drop all records and counts; requests that run go on, and are counted when they end."""
        self._records.clear()
        self._outcomes.clear()
        self._requests = self._tokens_sent = 0

    def summary(self) -> Summary:
        return Summary(
            requests=self._requests,
            tokens_sent=self._tokens_sent,
            outcomes=dict(self._outcomes),
            active=self._active,
            connections=self.connections,
            open_connections=self.open_connections,
        )


def shown_headers(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Return headers as a record may hold them."""
    shown: dict[str, str] = {}
    for name, value in headers:
        text = "present" if name in _SECRET_HEADERS else value[:MAX_HEADER_VALUE_CHARS]
        shown[name] = f"{shown[name]}, {text}" if name in shown and text != "present" else text
    return shown
