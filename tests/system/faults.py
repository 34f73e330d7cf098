"""The table of faults: what an engine does wrong, and what everybody must see of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace.types.outcome import Cause, State

WORDS = ["Grüße", " 水", "車", " 🌊", " ha", " ha", " end."]
"""What the engine sends unless a case says otherwise: characters of one to four bytes, and a legal repetition."""

TEXT = "".join(WORDS)
AT = 3
"""Deltas before a fault in the middle."""

PACE_MS = 20
"""Between two deltas, so that faults meet a stream that runs and not one that is over."""

SECRET = "sk-live-3f9a"
"""What an engine's refusal repeats of the relay's key; nobody may see it."""

EVENTS = 10_000
HUGE_BYTES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Sees:
    """What a call of the SDK shows: an exception, or with ``error`` None the whole answer."""

    error: str | None = None
    status: int | None = None
    code: str | None = None
    retry_after: str | None = None


WHOLE = Sees()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of the table."""

    name: str
    state: State
    cause: Cause
    streaming: Sees
    blocking: Sees
    script: dict[str, Any] = field(default_factory=dict)
    """The simulator's script."""
    relay: str = "plain"
    """Which relay is asked; see ``FaultBench``."""
    text: str = ""
    """What the engine sent and every reader must get, to the character."""
    entries: int = 0
    tokens: int = 0
    malformed: int = 0
    within_s: float = 2.0
    """Longest duration of a call: the longest timeout that may run out in it, and a second."""
    growth_bytes: int | None = None
    """How much the relay's memory may grow."""
    requests: int = 1
    """Requests that the engine sees for one call."""

    @property
    def id(self) -> str:
        return self.name.replace(" ", "-").replace(",", "")


def _script(fault: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {"deltas": WORDS, "itl_ms": PACE_MS, **({} if fault is None else {"fault": fault}), **more}


def completed(name: str, fault: dict[str, Any] | None, **expected: Any) -> Case:
    """A fault that does no harm: the answer is whole."""
    text = expected.pop("text", TEXT)
    more = expected.pop("more", {})
    return Case(
        name=name,
        state=State.COMPLETED,
        cause=Cause.STOP,
        streaming=WHOLE,
        blocking=WHOLE,
        script=_script(fault, **more),
        text=text,
        tokens=len(WORDS),  # the engine's own count, which does not know what the fault adds
        # The role chunk and the finish chunk; usage was not asked for.
        entries=len(WORDS) + 2 + expected.pop("more_entries", 0),
        **expected,
    )


def truncated(name: str, cause: Cause, fault: dict[str, Any], **expected: Any) -> Case:
    """A fault in the middle: what came before it is there, and an error behind it."""
    code = expected.pop("code", str(cause))
    return Case(
        name=name,
        state=State.TRUNCATED,
        cause=cause,
        streaming=Sees(error="APIError", code=code),
        blocking=Sees(error="InternalServerError", status=502, code=code),
        script=_script({**fault, "at": AT}, **expected.pop("more", {})),
        text="".join(WORDS[:AT]),
        tokens=AT,
        entries=AT + 1,
        **expected,
    )


def failed(name: str, cause: Cause, fault: dict[str, Any] | None, status: int = 502, **expected: Any) -> Case:
    """A fault before the first content: the right HTTP status, unless the head had to go out before."""
    sees = Sees(
        error=expected.pop("error", "InternalServerError"),
        status=status,
        code=expected.pop("code", str(cause)),
        retry_after=expected.pop("retry_after", None),
    )
    return Case(
        name=name,
        state=State.FAILED,
        cause=cause,
        streaming=expected.pop("streaming", sees),
        blocking=sees,
        script=_script(fault, **expected.pop("more", {})),
        **expected,
    )


_CLOSED, _PROTOCOL, _REJECTED = Cause.UPSTREAM_CLOSED, Cause.UPSTREAM_PROTOCOL, Cause.UPSTREAM_REJECTED
_STALLED, _FIRST, _UNREACHABLE = Cause.UPSTREAM_STALLED, Cause.FIRST_TOKEN_TIMEOUT, Cause.UPSTREAM_UNREACHABLE
_TOO_LARGE = Cause.EVENT_TOO_LARGE
_LATE = Sees(error="APIError", code=str(_FIRST))
"""The response head is out before the first-token timeout, so the failure is an error event."""


def _refusal(code: int, error: str, *, passes: bool) -> Case:
    return failed(
        f"status {code}",
        _REJECTED,
        {"kind": "status", "code": code},
        code if passes else 502,
        error=error,
    )


CASES: tuple[Case, ...] = (
    # No connection
    failed("connection refused", _UNREACHABLE, None, relay="refused", requests=0),
    failed("untrusted TLS certificate", _UNREACHABLE, None, relay="tls", requests=0),
    # Nothing, or no answer
    failed("FIN before the head", _CLOSED, {"kind": "close_before_head"}),
    failed("RST before the head", _CLOSED, {"kind": "reset_before_head"}),
    failed("FIN inside the head", _CLOSED, {"kind": "early_eof_head"}),
    failed("silence before the head", _FIRST, {"kind": "silence_before"}, 504, streaming=_LATE),
    failed("silence after the head", _FIRST, {"kind": "silence_before", "head": True}, 504, streaming=_LATE),
    failed(
        "silence before the head, patient response head",
        _FIRST,
        {"kind": "silence_before"},
        504,
        relay="patient",
    ),
    failed("silence after the role chunk", _FIRST, None, 504, streaming=_LATE, more={"ttft_ms": 30_000}),
    failed(
        "keep-alive bytes before the first token",
        _FIRST,
        {"kind": "keepalive", "every_ms": 50, "at": 0},
        504,
        streaming=_LATE,
    ),
    failed("clean end without content", _CLOSED, {"kind": "clean_end", "at": 0}),
    failed("compressed bomb", _PROTOCOL, {"kind": "compressed_bomb", "bytes": HUGE_BYTES}, growth_bytes=24 << 20),
    failed("error event before content", _REJECTED, {"kind": "error_event", "at": 0}),
    failed(
        "100 MB event first", _TOO_LARGE, {"kind": "huge_event", "bytes": HUGE_BYTES, "at": 0}, growth_bytes=48 << 20
    ),
    # The engine says no
    failed(
        "status 429 with Retry-After",
        _REJECTED,
        {"kind": "status", "code": 429, "retry_after": 7},
        429,
        error="RateLimitError",
        retry_after="7",
    ),
    _refusal(400, "BadRequestError", passes=True),
    _refusal(404, "NotFoundError", passes=True),
    _refusal(413, "APIStatusError", passes=True),
    _refusal(422, "UnprocessableEntityError", passes=True),
    *(
        failed(
            f"status {code}",
            _REJECTED,
            {"kind": "status", "code": code, "body": f'{{"error": {{"message": "bad key {SECRET}"}}}}'},
        )
        for code in (401, 403)
    ),
    _refusal(500, "InternalServerError", passes=False),
    _refusal(503, "InternalServerError", passes=False),
    failed("redirect 302", _REJECTED, {"kind": "redirect"}),
    failed("redirect 307", _REJECTED, {"kind": "redirect", "code": 307}),
    failed(
        "200 that is no stream",
        _PROTOCOL,
        {"kind": "status", "code": 200, "content_type": "text/html", "body": "<h1>hello</h1>"},
    ),
    # Cut in the middle
    truncated("FIN mid-stream", _CLOSED, {"kind": "fin"}),
    truncated("FIN mid-stream, length-framed", _CLOSED, {"kind": "fin"}, more={"framing": "length"}),
    truncated("RST mid-stream", _CLOSED, {"kind": "rst"}),
    truncated("clean end without finish_reason", _CLOSED, {"kind": "clean_end"}),
    truncated("chunked body cut", _CLOSED, {"kind": "cut_chunked"}),
    truncated("close-framed body cut after an event", _CLOSED, {"kind": "cut_close_framed"}),
    truncated("close-framed body cut inside an event", _CLOSED, {"kind": "cut_close_framed", "inside": True}),
    truncated("broken chunk framing", _PROTOCOL, {"kind": "broken_framing"}),
    truncated("silence in the middle", _STALLED, {"kind": "silence"}),
    truncated("keep-alive bytes without tokens", _STALLED, {"kind": "keepalive", "every_ms": 50}),
    truncated("error event after content", _CLOSED, {"kind": "error_event", "code": "overheated"}, code="overheated"),
    truncated(
        "100 MB event mid-stream", _TOO_LARGE, {"kind": "huge_event", "bytes": HUGE_BYTES}, growth_bytes=64 << 20
    ),
    truncated(
        "malformed chunk, on_malformed_chunk=end", _PROTOCOL, {"kind": "malformed_json"}, relay="strict", malformed=1
    ),
    truncated(
        "malformed chunk in one packet with the rest, on_malformed_chunk=end",
        _PROTOCOL,
        {"kind": "malformed_json"},
        relay="strict",
        malformed=1,
        more={"itl_ms": 0},
    ),
    # No harm done
    completed("close-framed answer", None, more={"framing": "close"}),
    completed("malformed chunk, skipped", {"kind": "malformed_json", "at": AT}, malformed=1),
    completed("no [DONE]", {"kind": "no_done"}),
    completed("silence shorter than the timeout", {"kind": "silence", "at": AT, "ms": 500}),
    completed("UTF-8 split inside characters", {"kind": "split_utf8", "gap_ms": 5}),
    *(
        completed(
            f"packets of {size} bytes",
            {"kind": "split_utf8", "bytes_per_packet": size, "gap_ms": 0.2},
            relay="immediate",
            within_s=8.0,
        )
        for size in (1, 2, 3)
    ),
    completed("one byte a packet, read on the tick", {"kind": "split_utf8", "bytes_per_packet": 1}, within_s=8.0),
    completed("repeated event id", {"kind": "repeat_event_id", "at": AT}),
    completed(
        "repeated text",
        {"kind": "repeat_text", "text": "ha", "times": 5, "at": AT},
        text="".join([*WORDS[:AT], "ha" * 5, *WORDS[AT:]]),
        more_entries=5,
    ),
    completed(
        f"{EVENTS} events in one packet",
        {"kind": "burst", "events": EVENTS, "at": AT},
        text="".join([*WORDS[:AT], *(f" {number}" for number in range(EVENTS)), *WORDS[AT:]]),
        more_entries=EVENTS,
        within_s=15.0,
        growth_bytes=64 << 20,
    ),
)
