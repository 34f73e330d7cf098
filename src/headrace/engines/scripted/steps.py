"""A plan as timed steps, without bytes of HTTP: what the server puts on the wire, and the in-process engine plays.

``due_ms`` counts from the moment the request was accepted and never falls. Steps come lazily, so a stream may be
endless; whoever takes them waits for each step's time.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import msgspec

from headrace.engines.scripted import faults as f
from headrace.engines.scripted.answer import answer_of
from headrace.engines.scripted.chunks import ChunkWriter, json_bytes, rounds, text_delta
from headrace.engines.scripted.plan import Plan, Rejection
from headrace.types.engine import Endpoint
from headrace.types.outcome import Cause

_JSON = (("content-type", "application/json"),)


class How(enum.Enum):
    """How the server's side of an answer ends on the wire."""

    END = "the body is terminated as its framing says"
    FIN = "the connection is closed"
    RST = "the connection is reset"


class Head(msgspec.Struct, frozen=True, gc=False):
    """A 200 response head; the body is an event stream."""

    due_ms: float
    is_gzip: bool = False


class Reply(msgspec.Struct, frozen=True):
    """A whole response."""

    due_ms: float
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    tokens: int = 0


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One event whose data is ``data``: a chunk's JSON, except where the fault is that it is none."""

    due_ms: float
    data: bytes
    tokens: int = 0
    event_id: int | None = None


class Comment(msgspec.Struct, frozen=True, gc=False):
    """An SSE comment."""

    due_ms: float


class Done(msgspec.Struct, frozen=True, gc=False):
    """OpenAI's ``data: [DONE]``."""

    due_ms: float


class Burst(msgspec.Struct, frozen=True, gc=False):
    """Many events in one write, each one token."""

    due_ms: float
    chunks: list[bytes]


class Huge(msgspec.Struct, frozen=True, gc=False):
    """One event of one token: ``before``, then ``fill_bytes`` times ``x``, then ``after``."""

    due_ms: float
    before: bytes
    fill_bytes: int
    after: bytes


class Bomb(msgspec.Struct, frozen=True, gc=False):
    """One event in gzip, ``unpacked_bytes`` long when unpacked."""

    due_ms: float
    unpacked_bytes: int


class Half(msgspec.Struct, frozen=True, gc=False):
    """The first half of an event; with chunked framing the HTTP chunk was announced whole."""

    due_ms: float
    data: bytes


class Wire(msgspec.Struct, frozen=True, gc=False):
    """Bytes past all framing."""

    due_ms: float
    data: bytes


class Hold(msgspec.Struct, frozen=True, gc=False):
    """Nothing more, for ever."""

    due_ms: float


class Close(msgspec.Struct, frozen=True, gc=False):
    """The end. ``outcome`` is the record's word, ``cause`` what a good client makes of it (None: orderly)."""

    due_ms: float
    how: How = How.END
    outcome: str = "completed"
    cause: Cause | None = None
    message: str | None = None


Step = Head | Reply | Chunk | Comment | Done | Burst | Huge | Bomb | Half | Wire | Hold | Close


def steps_of(plan: Plan) -> Iterator[Step]:
    """Return the steps of ``plan``. The last is a ``Close`` or a ``Hold``, or there is no last."""
    fault = plan.script.fault
    steps: Iterable[Step]
    match fault:
        case f.CloseBeforeHead() | f.ResetBeforeHead() | f.EarlyEofHead() | f.CompressedBomb():
            steps = _instead(fault)
        case f.Status() | f.Redirect():
            reply = _status(fault) if isinstance(fault, f.Status) else _redirect(fault)
            steps = (reply, Close(0, outcome=f"fault:{fault.kind}"))
        case f.SilenceBefore():
            steps = _silent_before(plan, fault)
        case _ if plan.rejection is not None:
            steps = _reject(plan.rejection)
        case _ if not plan.is_stream:
            steps = _blocking(plan)
        case f.RepeatEventId():
            steps = _with_event_ids(_stream(plan, ChunkWriter(plan)), fault.at)
        case f.MidFault():
            writer = ChunkWriter(plan)
            steps = _with_fault(plan, fault, writer, _stream(plan, writer))
        case _:
            steps = _stream(plan, ChunkWriter(plan))
    return iter(steps)


def error_body(message: str, *, type: str, code: str | None = None, param: str | None = None) -> bytes:  # noqa: A002 (OpenAI's word)
    """Return an error object in OpenAI's shape."""
    return json_bytes({"error": {"message": message, "type": type, "param": param, "code": code}})


def _cut(due_ms: float, how: How, fault: f.Fault, message: str) -> Close:
    return Close(due_ms, how, f"fault:{fault.kind}", Cause.UPSTREAM_CLOSED, message)


def _instead(fault: f.CloseBeforeHead | f.ResetBeforeHead | f.EarlyEofHead | f.CompressedBomb) -> tuple[Step, ...]:
    """Return the steps of a fault that comes instead of the whole answer."""
    match fault:
        case f.CloseBeforeHead():
            return (_cut(0, How.FIN, fault, "the engine closed the connection before answering"),)
        case f.ResetBeforeHead():
            return (_cut(0, How.RST, fault, "the engine reset the connection before answering"),)
        case f.EarlyEofHead():
            half = Wire(0, b"HTTP/1.1 200 OK\r\nContent-Type: text/ev")
            return half, _cut(0, How.FIN, fault, "the engine closed the connection inside its response head")
        case f.CompressedBomb():
            message = "the engine sent a compressed body that nobody asked for"
            end = Close(0, How.END, f"fault:{fault.kind}", Cause.UPSTREAM_PROTOCOL, message)
            return Head(0, is_gzip=True), Bomb(0, fault.bytes), end


def _status(fault: f.Status) -> Reply:
    headers = [("content-type", fault.content_type)]
    if fault.retry_after is not None:
        after = fault.retry_after
        headers.append(("retry-after", after if isinstance(after, str) else f"{after:g}"))
    body = _error_of(fault) if fault.body is None else fault.body.encode()
    return Reply(0, fault.code, body, tuple(headers))


def _error_of(fault: f.Status) -> bytes:
    kind = "rate_limit_error" if fault.code == 429 else "server_error"
    kind = "invalid_request_error" if fault.code < 500 and fault.code != 429 else kind
    message = fault.message or f"simulated status {fault.code}"
    return error_body(message, type=fault.error_type or kind, code=fault.error_code, param=fault.error_param)


def _reject(rejection: Rejection) -> tuple[Step, ...]:
    """Return the steps of a request that the engine cannot answer."""
    body = error_body(rejection.message, type="invalid_request_error", code=rejection.code, param=rejection.param)
    return Reply(0, rejection.status, body, _JSON), Close(0, outcome="rejected")


def _redirect(fault: f.Redirect) -> Reply:
    return Reply(0, fault.code, b"", (("location", fault.location),))


def _silent_before(plan: Plan, fault: f.SilenceBefore) -> Iterator[Step]:
    """Yield the answer later; the head first if the fault says so."""
    has_head = fault.head and plan.is_stream and plan.rejection is None
    if has_head:
        yield Head(0)
    if fault.ms is None:
        yield Hold(0)
        return
    for step in steps_of(msgspec.structs.replace(plan, script=msgspec.structs.replace(plan.script, fault=None))):
        if not (has_head and isinstance(step, Head)):
            yield _later(step, fault.ms)


def _later(step: Step, shift_ms: float) -> Step:
    return msgspec.structs.replace(step, due_ms=step.due_ms + shift_ms) if shift_ms else step


def _blocking(plan: Plan) -> tuple[Step, ...]:
    due_ms = plan.script.ttft_ms + max(0, plan.rounds - 1) * plan.script.itl_ms
    return Reply(due_ms, 200, answer_of(plan), _JSON, plan.n * plan.rounds), Close(due_ms)


def _dues(plan: Plan) -> Iterator[float]:
    """Yield when each delta is due: on a fixed grid, so that delays do not add up."""
    script = plan.script
    if not script.jitter_ms:
        for number in range(plan.rounds):
            yield script.ttft_ms + number * script.itl_ms
        return
    draw = random.Random(f"{plan.seed}:jitter")  # noqa: S311 (delays, no secret)
    last_ms = 0.0
    for number in range(plan.rounds):
        last_ms = max(last_ms, script.ttft_ms + number * script.itl_ms + draw.random() * script.jitter_ms)
        yield last_ms


def _stream(plan: Plan, writer: ChunkWriter) -> Iterator[Step]:
    """Yield the steps of a stream that nothing disturbs."""
    script = plan.script
    due_ms = script.ttft_ms
    yield Head(0)
    if script.role_chunk and plan.endpoint is Endpoint.CHAT:
        for index in range(plan.n):
            yield Chunk(due_ms, writer.role(index))
    for due_ms, chunks in zip(_dues(plan), rounds(plan, writer), strict=True):
        for chunk in chunks:
            yield Chunk(due_ms, chunk, 1)
    if plan.finish_reason is not None:
        for index in range(plan.n):
            yield Chunk(due_ms, writer.finish(index, plan.finish_reason))
    if plan.has_usage:
        yield Chunk(due_ms, writer.usage())
    if script.done and not isinstance(script.fault, f.NoDone):
        yield Done(due_ms)
    yield Close(due_ms)


def _with_fault(plan: Plan, fault: f.MidFault, writer: ChunkWriter, steps: Iterator[Step]) -> Iterator[Step]:
    """Yield ``steps`` with the fault at its place, and what follows later by as long as it took."""
    missing = plan.n * (plan.rounds if fault.at is None else min(fault.at, plan.rounds))
    head = next(steps)
    yield head
    last_ms = head.due_ms
    for step in steps:
        if not missing:
            # Silence and comments begin where the last step was; before the first delta, all else happens in its place.
            waits = bool(fault.at) or isinstance(fault, f.Silence | f.Keepalive)
            shift_ms = yield from _PLAYERS[type(fault)](plan, writer, fault, last_ms if waits else step.due_ms)
            if shift_ms is not None:
                yield _later(step, shift_ms)
                yield from (_later(rest, shift_ms) for rest in steps)
            return
        missing -= isinstance(step, Chunk) and step.tokens
        last_ms = step.due_ms
        yield step


_Play = Generator[Step, None, float | None]
"""Yields a fault's steps; returns by how many ms the rest is later, or None when nothing follows."""


def _play_cut(_plan: Plan, _writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    how = How.RST if isinstance(fault, f.Rst) else How.FIN
    yield _cut(due_ms, how, fault, "the engine closed the connection in the middle of its answer")
    return None


def _play_clean_end(_plan: Plan, _writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    yield Close(due_ms, outcome=f"fault:{fault.kind}")
    return None


def _play_cut_chunked(plan: Plan, writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    yield Half(due_ms, writer.uncounted(0, text_delta(b" half of this event is missing")))
    return (yield from _play_cut(plan, writer, fault, due_ms))


def _play_cut_close_framed(_plan: Plan, writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    if fault.inside:
        yield Half(due_ms, writer.uncounted(0, text_delta(b" half of this event is missing")))
    # No cause: with this framing nobody can tell a cut from an end.
    yield Close(due_ms, How.FIN, f"fault:{fault.kind}")
    return None


def _play_broken_framing(_plan: Plan, _writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    yield Wire(due_ms, b"not-hex\r\n")
    message = "the engine sent an invalid chunk size"
    yield Close(due_ms, How.FIN, f"fault:{fault.kind}", Cause.UPSTREAM_PROTOCOL, message)
    return None


def _play_error_event(plan: Plan, _writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    yield Chunk(due_ms, error_body(fault.message, type=fault.type, code=fault.code))
    if plan.script.done:
        yield Done(due_ms)
    yield Close(due_ms, outcome=f"fault:{fault.kind}")
    return None


def _play_silence(_plan: Plan, _writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    if fault.ms is None:
        yield Hold(due_ms)
        return None
    return float(fault.ms)


def _play_keepalive(_plan: Plan, _writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    passed_ms: float = fault.every_ms
    while fault.for_ms is None or passed_ms <= fault.for_ms:
        yield Comment(due_ms + passed_ms)
        passed_ms += fault.every_ms
    return float(fault.for_ms)


def _play_malformed_json(_plan: Plan, writer: ChunkWriter, _fault: Any, due_ms: float) -> _Play:
    whole = writer.uncounted(0, text_delta(b" half"))
    yield Chunk(due_ms, whole[: len(whole) // 2])
    return 0.0


def _play_repeat_text(plan: Plan, writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    delta = text_delta(json_bytes(fault.text)[1:-1])
    for _ in range(fault.times):
        for index in range(plan.n):
            yield Chunk(due_ms, writer.uncounted(index, delta), 1)
    return 0.0


def _play_huge_event(_plan: Plan, writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    before, after = writer.uncounted(0, text_delta(b"\0")).split(b"\0")
    yield Huge(due_ms, before, fault.bytes, after)
    return 0.0


def _play_burst(_plan: Plan, writer: ChunkWriter, fault: Any, due_ms: float) -> _Play:
    yield Burst(due_ms, [writer.uncounted(0, text_delta(b" %d" % number)) for number in range(fault.events)])
    return 0.0


_PLAYERS: dict[type[f.MidFault], Callable[[Plan, ChunkWriter, Any, float], _Play]] = {
    f.Fin: _play_cut,
    f.Rst: _play_cut,
    f.CleanEnd: _play_clean_end,
    f.CutChunked: _play_cut_chunked,
    f.CutCloseFramed: _play_cut_close_framed,
    f.BrokenFraming: _play_broken_framing,
    f.ErrorEvent: _play_error_event,
    f.Silence: _play_silence,
    f.Keepalive: _play_keepalive,
    f.MalformedJson: _play_malformed_json,
    f.RepeatText: _play_repeat_text,
    f.HugeEvent: _play_huge_event,
    f.Burst: _play_burst,
}


def _with_event_ids(steps: Iterator[Step], repeated: int) -> Iterator[Step]:
    """Number the events; the event of token ``repeated`` comes twice."""
    event_id = token = -1
    for step in steps:
        if not isinstance(step, Chunk):
            yield step
            continue
        event_id += 1
        token += step.tokens
        yield Chunk(step.due_ms, step.data, step.tokens, event_id)
        if step.tokens and token == repeated:
            yield Chunk(step.due_ms, step.data, 0, event_id)
