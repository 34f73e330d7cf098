"""The table of provider faults: what the engines of a route do wrong, and what becomes of the request.

``docs/provider-faults.md`` has this table and is checked against it. Every row is played twice, streaming and blocking, each
time with engines of its own that nobody has asked before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.system.provider_case import (
    CUT,
    LONG_S,
    RETRY_AFTER_S,
    SECRET,
    SHORTLY_S,
    SLOW_S,
    WORDS,
    Engine,
    Row,
    Script,
    Sees,
    Story,
    Tried,
    table,
)

from headrace.types.attempt import AttemptKind
from headrace.types.outcome import Cause, State


def refusing(code: int, **more: Any) -> Script:
    """Return the script of an engine that answers with an error status."""
    return {"fault": {"kind": "status", "code": code, **more}}


def failing(kind: str, **more: Any) -> Script:
    """Return the script of an engine with another fault."""
    return {"fault": {"kind": kind, **more}}


def once(script: Script, **more: Any) -> Engine:
    return Engine(scripts=(script,), **more)


def always(script: Script, **more: Any) -> Engine:
    return Engine(then=script, **more)


def failed(name: str, *engines: Engine, sees: Sees, late: Sees | None = None, **expected: Any) -> Row:
    """An answer that never began: a clean error. ``late`` is what a stream sees whose head had to go out before."""
    expected.setdefault("cause", expected["tried"][-1].cause)
    return Row(
        name=name,
        engines=engines,
        streaming=late or sees,
        blocking=sees,
        state=State.FAILED,
        text="",
        **expected,
    )


def rescued(name: str, *engines: Engine, **expected: Any) -> Row:
    """An answer that is whole, whatever went wrong."""
    return Row(name=name, engines=engines, **expected)


def truncated(name: str, *engines: Engine, cause: Cause, code: str = "", **expected: Any) -> Row:
    """An answer that broke off and could not be gone on with: what had come, and why there is no more."""
    code = code or str(cause)
    return Row(
        name=name,
        engines=engines,
        streaming=Sees(code=code),
        blocking=Sees(code=code, status=502),
        state=State.TRUNCATED,
        cause=cause,
        text="".join(WORDS[:CUT]),
        **expected,
    )


WELL = Engine()
CONTINUES = 'continuation = "assistant"'
CONTINUING: Script = {"continues": "assistant"}
GOES_ON = AttemptKind.CONTINUATION
CLOSED, PROTOCOL, STALLED = Cause.UPSTREAM_CLOSED, Cause.UPSTREAM_PROTOCOL, Cause.UPSTREAM_STALLED
SILENT, UNREACHABLE, REJECTED = Cause.FIRST_TOKEN_TIMEOUT, Cause.UPSTREAM_UNREACHABLE, Cause.UPSTREAM_REJECTED

BACKOFF, SILENCE, RETRY_AFTER = "a backoff", "`retry.silence`", "`Retry-After`"
DOWN = refusing(503, message="no capacity")
HTML = failing("status", code=200, content_type="text/html", body="<h1>Sign in</h1>")
GARBAGE = failing("status", code=200, content_type="text/event-stream", body='data: {"id": "x", "cho\n\n')
TOO_LONG = Sees(code="context_length_exceeded", status=400)
REFUSED = Sees(code="content_policy_violation", status=400, says="our usage policies")
POLICY_SAYS = "Your request goes against our usage policies."
POLICY = refusing(400, error_code="content_policy_violation", message=POLICY_SAYS)
ROLE_ONLY: Script = {"deltas": ["", *WORDS], "fault": {"kind": "rst", "at": 1}}
CUT_HERE = failing("rst", at=CUT)
BLAMES = "It names the field."


def _unavailable(code: int) -> Sees:
    """Return what a client sees of an engine that failed with a status: that is no fault of the client's."""
    return Sees(code=str(REJECTED), status=502, says=f"The engine answered {code}")


_LIMITED = (
    rescued(
        "429 with `Retry-After`, no other engine",
        once(refusing(429, retry_after=RETRY_AFTER_S)),
        tried=(Tried(1, 429), Tried(1)),
        waits=(RETRY_AFTER,),
    ),
    rescued(
        "429 with `Retry-After`, another engine is ready",
        always(refusing(429, retry_after=RETRY_AFTER_S)),
        WELL,
        tried=(Tried(1, 429), Tried(2)),
    ),
    rescued(
        "429 with a long `Retry-After`, another engine is ready",
        always(refusing(429, retry_after=LONG_S)),
        WELL,
        tried=(Tried(1, 429), Tried(2)),
    ),
    failed(
        "429 with a long `Retry-After`, no other engine",
        always(refusing(429, retry_after=LONG_S)),
        sees=Sees(code=str(REJECTED), status=429, retry_after=str(LONG_S)),
        tried=(Tried(1, 429),),
    ),
    rescued(
        "429 without `Retry-After`, no other engine",
        once(refusing(429)),
        tried=(Tried(1, 429), Tried(1)),
        waits=("the rest of the engine's key",),
    ),
    rescued(
        "429 without `Retry-After`, another engine is ready",
        always(refusing(429)),
        WELL,
        tried=(Tried(1, 429), Tried(2)),
    ),
    failed(
        "429 for ever, no other engine",
        always(refusing(429, retry_after=0.2, error_code="rate_limit_exceeded")),
        sees=Sees(code="rate_limit_exceeded", status=429, retry_after="1"),
        tried=(Tried(1, 429), Tried(1, 429), Tried(1, 429)),
        waits=(RETRY_AFTER,),
    ),
    rescued(
        "429 for a spent account",
        always(refusing(429, error_code="insufficient_quota", error_type="insufficient_quota")),
        WELL,
        tried=(Tried(1, 429), Tried(2)),
    ),
)

_SERVER_ERRORS = (
    rescued("500 once", once(refusing(500)), tried=(Tried(1, 500), Tried(1)), waits=(BACKOFF,)),
    rescued(
        "503 twice",
        Engine(scripts=(DOWN, DOWN)),
        tried=(Tried(1, 503), Tried(1, 503), Tried(1)),
        waits=(BACKOFF, BACKOFF),
    ),
    rescued(
        "529 (overloaded) once",
        once(refusing(529, error_type="overloaded_error")),
        tried=(Tried(1, 529), Tried(1)),
        waits=(BACKOFF,),
    ),
    failed(
        "503 for ever, no other engine",
        always(DOWN),
        sees=_unavailable(503),
        tried=(Tried(1, 503), Tried(1, 503), Tried(1, 503)),
        waits=(BACKOFF, BACKOFF),
    ),
    rescued(
        "503 for ever, another engine",
        always(DOWN),
        WELL,
        tried=(Tried(1, 503), Tried(1, 503), Tried(1, 503), Tried(2)),
        waits=(BACKOFF, BACKOFF),
    ),
    failed(
        "503 with a long `Retry-After`, no other engine",
        always(refusing(503, retry_after=LONG_S)),
        sees=Sees(code=str(REJECTED), status=502, retry_after=str(LONG_S)),
        tried=(Tried(1, 503),),
    ),
    failed(
        "503 of all engines",
        always(DOWN),
        always(DOWN),
        sees=_unavailable(503),
        tried=(*(Tried(1, 503),) * 3, *(Tried(2, 503),) * 3),
        waits=(BACKOFF,) * 4,
    ),
    rescued(
        "an error event before the first token",
        once(failing("error_event", at=0)),
        tried=(Tried(1, REJECTED), Tried(1)),
        waits=(BACKOFF,),
    ),
)

_CONNECTIONS = (
    rescued(
        "reset before the response head, once",
        once(failing("reset_before_head")),
        tried=(Tried(1, CLOSED), Tried(1)),
        waits=(BACKOFF,),
    ),
    rescued(
        "closed before the response head, for ever",
        always(failing("close_before_head")),
        WELL,
        tried=(*(Tried(1, CLOSED),) * 3, Tried(2)),
        waits=(BACKOFF, BACKOFF),
    ),
    rescued(
        "half a response head, once",
        once(failing("early_eof_head")),
        tried=(Tried(1, CLOSED), Tried(1)),
        waits=(BACKOFF,),
    ),
    rescued(
        "connection refused",
        Engine(is_down=True),
        WELL,
        tried=(Tried(1, UNREACHABLE), Tried(1, UNREACHABLE), Tried(2)),
        waits=(BACKOFF,),
    ),
    failed(
        "connection refused by all engines",
        Engine(is_down=True),
        Engine(is_down=True),
        sees=Sees(code=str(UNREACHABLE), status=502),
        tried=(*(Tried(1, UNREACHABLE),) * 2, *(Tried(2, UNREACHABLE),) * 2),
        waits=(BACKOFF, BACKOFF),
    ),
)

_SILENCE = (
    rescued(
        "silence, another engine",
        always(failing("silence_before")),
        WELL,
        tried=(Tried(1, SILENT), Tried(2)),
        waits=(SILENCE,),
    ),
    rescued(
        "silence after the response head, another engine",
        always(failing("silence_before", head=True)),
        WELL,
        tried=(Tried(1, SILENT), Tried(2)),
        waits=(SILENCE,),
    ),
    failed(
        "silence, no other engine",
        always(failing("silence_before")),
        sees=Sees(code=str(SILENT), status=504),
        late=Sees(code=str(SILENT)),
        tried=(Tried(1, SILENT),),
        waits=("`timeouts.first_token`",),
    ),
    failed(
        "silence of all engines",
        always(failing("silence_before")),
        always(failing("silence_before")),
        sees=Sees(code=str(SILENT), status=504),
        late=Sees(code=str(SILENT)),
        tried=(Tried(1, SILENT), Tried(2, SILENT)),
        waits=("`timeouts.first_token`",),
    ),
    rescued(
        "slow first token, no other engine",
        always({"ttft_ms": 1000 * SLOW_S}),
        tried=(Tried(1),),
        waits=("the answer's own pace",),
    ),
    rescued(
        "slow first token within `retry.silence`, another engine",
        always({"ttft_ms": 1000 * SHORTLY_S}),
        WELL,
        tried=(Tried(1),),
        waits=("the answer's own pace",),
    ),
)

_NO_ANSWER = (
    rescued("the role chunk, then a reset", once(ROLE_ONLY), tried=(Tried(1, CLOSED), Tried(1)), waits=(BACKOFF,)),
    rescued(
        "the role chunk, then a reset, for ever, another engine",
        always(ROLE_ONLY),
        WELL,
        tried=(*(Tried(1, CLOSED),) * 3, Tried(2)),
        waits=(BACKOFF, BACKOFF),
    ),
    rescued(
        "a clean end without content, another engine",
        always(failing("clean_end", at=0)),
        WELL,
        tried=(*(Tried(1, CLOSED),) * 3, Tried(2)),
        waits=(BACKOFF, BACKOFF),
    ),
    rescued(
        "nothing but malformed chunks, another engine",
        always(GARBAGE),
        WELL,
        tried=(*(Tried(1, CLOSED),) * 3, Tried(2)),
        waits=(BACKOFF, BACKOFF),
        malformed=3,
    ),
    rescued("200 with an HTML page, another engine", always(HTML), WELL, tried=(Tried(1, PROTOCOL), Tried(2))),
    failed(
        "200 with an HTML page, no other engine",
        always(HTML),
        sees=Sees(code=str(PROTOCOL), status=502, says="text/html"),
        tried=(Tried(1, PROTOCOL),),
    ),
)

_REFUSALS = (
    rescued(
        "the context is too long, another engine has a larger one",
        always({"context_tokens": 1}, settings="context_tokens = 8192"),
        Engine(settings="context_tokens = 4096"),
        Engine(settings="context_tokens = 32768"),
        tried=(Tried(1, 400), Tried(3)),
    ),
    failed(
        "the context is too long, no engine has a larger one",
        always({"context_tokens": 1}, settings="context_tokens = 8192"),
        Engine(settings="context_tokens = 4096"),
        sees=TOO_LONG,
        tried=(Tried(1, 400),),
    ),
    failed("a policy refusal", always(POLICY), WELL, sees=REFUSED, tried=(Tried(1, 400),)),
    failed(
        "a policy refusal in an error event",
        always(
            failing(
                "error_event", at=0, type="invalid_request_error", code="content_policy_violation", message=POLICY_SAYS
            )
        ),
        WELL,
        sees=REFUSED,
        tried=(Tried(1, REJECTED),),
    ),
    *(
        failed(
            f"{code}, the request is at fault",
            always(refusing(code, message=f"No. {BLAMES} {SECRET}", error_code="bad_field")),
            WELL,
            sees=Sees(code="bad_field", status=code, says=BLAMES),
            tried=(Tried(1, code),),
        )
        for code in (400, 404, 422)
    ),
    *(
        failed(
            f"{code}, the relay's key is at fault",
            always(refusing(code, message=f"Incorrect API key provided: {SECRET}")),
            WELL,
            sees=Sees(code=str(REJECTED), status=502, says="check the key"),
            tried=(Tried(1, code),),
        )
        for code in (401, 403)
    ),
)

_MIDDLE = (
    rescued(
        "cut in the middle, the engine continues",
        Engine(scripts=({**CONTINUING, **CUT_HERE},), then=CONTINUING, settings=CONTINUES),
        tried=(Tried(1, CLOSED), Tried(1, kind=GOES_ON)),
    ),
    rescued(
        "cut in the middle, another engine continues",
        always(CUT_HERE),
        always(CONTINUING, settings=CONTINUES),
        tried=(Tried(1, CLOSED), Tried(2, kind=GOES_ON)),
    ),
    rescued(
        "cut in the middle and again in the continuation",
        Engine(
            scripts=({**CONTINUING, **CUT_HERE}, {**CONTINUING, **failing("fin", at=2)}),
            then=CONTINUING,
            settings=CONTINUES,
        ),
        tried=(Tried(1, CLOSED), Tried(1, CLOSED, kind=GOES_ON), Tried(1, kind=GOES_ON)),
    ),
    rescued(
        "cut in the middle, no engine continues, `replays` is on",
        once(CUT_HERE),
        tried=(Tried(1, CLOSED), Tried(1, kind=AttemptKind.REPLAY)),
        settings="replays = true",
        fields=(("temperature", 0),),
    ),
    truncated(
        "cut in the middle, no engine continues", always(CUT_HERE), WELL, cause=CLOSED, tried=(Tried(1, CLOSED),)
    ),
    rescued(
        "cut in the middle, the next engine rejects the prefill",
        Engine(scripts=(CUT_HERE,), then=CONTINUING, settings=CONTINUES),
        always({"rejects_partial": True}, settings=CONTINUES),
        tried=(Tried(1, CLOSED), Tried(2, 400, kind=GOES_ON), Tried(1, kind=GOES_ON)),
        waits=(BACKOFF,),
    ),
    truncated(
        "cut in the middle, the only engine that continues rejects the prefill",
        always(CUT_HERE),
        always(refusing(400, error_code="no_prefill", message="Prefilling is not supported."), settings=CONTINUES),
        cause=CLOSED,
        tried=(Tried(1, CLOSED), Tried(2, 400, kind=GOES_ON)),
    ),
    rescued(
        "stall in the middle, another engine continues",
        always(failing("silence", at=CUT)),
        always(CONTINUING, settings=CONTINUES),
        tried=(Tried(1, STALLED), Tried(2, kind=GOES_ON)),
        waits=("`timeouts.idle`",),
    ),
    truncated(
        "stall in the middle, no engine continues",
        always(failing("silence", at=CUT)),
        cause=STALLED,
        tried=(Tried(1, STALLED),),
        waits=("`timeouts.idle`",),
    ),
    rescued(
        "a clean end without `finish_reason`, another engine continues",
        always(failing("clean_end", at=CUT)),
        always(CONTINUING, settings=CONTINUES),
        tried=(Tried(1, CLOSED), Tried(2, kind=GOES_ON)),
    ),
    truncated(
        "a clean end without `finish_reason`, no engine continues",
        always(failing("clean_end", at=CUT)),
        cause=CLOSED,
        tried=(Tried(1, CLOSED),),
    ),
    truncated(
        "a policy refusal in the middle",
        always(failing("error_event", at=CUT, type="invalid_request_error", code="content_policy_violation")),
        always(CONTINUING, settings=CONTINUES),
        cause=CLOSED,
        code="content_policy_violation",
        tried=(Tried(1, CLOSED),),
    ),
)

_HARMLESS = (
    rescued(
        "a malformed chunk before the first token",
        always(failing("malformed_json", at=0)),
        tried=(Tried(1),),
        malformed=1,
    ),
    rescued("a malformed chunk after it", always(failing("malformed_json", at=CUT)), tried=(Tried(1),), malformed=1),
    rescued("no `[DONE]`", always(failing("no_done")), tried=(Tried(1),)),
)

GROUPS: dict[str, tuple[Row, ...]] = {
    "Limits": _LIMITED,
    "Server errors": _SERVER_ERRORS,
    "Broken connections": _CONNECTIONS,
    "Silence": _SILENCE,
    "What is no answer": _NO_ANSWER,
    "Refusals": _REFUSALS,
    "In the middle of an answer": _MIDDLE,
    "What does no harm": _HARMLESS,
}
"""The table's parts, by their headings."""

ROWS = tuple(row for rows in GROUPS.values() for row in rows)

FLAPPING = Story(
    name="a flapping engine: down, for 20 requests and more, and well again",
    outcome="all rescued whole",
    tried="the engine gets 5 requests, then none while its breaker is open; one probe after each rest, and everything again "
    "when a probe is answered",
    waits="2 times a backoff, the first request only",
    test="test_a_flapping_engine_is_left_alone_and_taken_back",
)
FAILOVER_BILL = Story(
    name="accounting after failover",
    outcome="rescued whole; usage, price and `model` of the engine that answered; failed attempts cost nothing",
    tried="1: `503`, 3 times; 2: **whole**",
    waits="2 times a backoff",
    test="test_after_failover_only_the_engine_that_answered_is_paid",
)
CONTINUED_BILL = Story(
    name="accounting after a cut that another engine continues",
    outcome="rescued whole; each part at the price of its engine's model, usage and cost are their sums",
    tried="1: `upstream_closed`; 2 (continuation): **whole**",
    waits="",
    test="test_after_a_cut_each_engine_is_paid_for_its_part",
)
LEAVES = Story(
    name="the client leaves during the wait for `Retry-After`",
    outcome="`cancelled`, `client_gone`; costs nothing",
    tried="1: `429`; nobody is asked again",
    waits="",
    test="test_a_client_that_leaves_during_a_wait_has_nobody_asked_again",
)
STORIES = (FLAPPING, FAILOVER_BILL, CONTINUED_BILL, LEAVES)


def whole_table() -> str:
    """Return the table in Markdown, each part under its heading."""
    parts: dict[str, Sequence[Row | Story]] = {**GROUPS, "Health, money and clients that leave": STORIES}
    return "\n\n".join(f"## {heading}\n\n{table(lines)}" for heading, lines in parts.items())
