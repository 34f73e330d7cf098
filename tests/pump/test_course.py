"""The course: which engine is asked first, and what follows an attempt that failed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.pump.fakes import CONTINUES, FakeEngine, FakeGeneration, Road, chunks, text

from headrace.errors import ClientRequestError, Overloaded
from headrace.policy.health import HealthSettings
from headrace.policy.retry import RetryPolicy
from headrace.pump.course import Break, Step
from headrace.types.attempt import AttemptKind
from headrace.types.engine import Capabilities, Continuation, Endpoint, EngineEnd, Generation
from headrace.types.outcome import Cause, State

CLOSED = EngineEnd(cause=Cause.UPSTREAM_CLOSED)
SILENT = EngineEnd(cause=Cause.UPSTREAM_STALLED)
BROKEN = EngineEnd(cause=Cause.UPSTREAM_PROTOCOL)
REJECTED = EngineEnd(cause=Cause.UPSTREAM_REJECTED, upstream_status=400)
FAILED = EngineEnd(cause=Cause.UPSTREAM_REJECTED, upstream_status=500)
NONE = Capabilities()


def engines(*names: str, tries: int = 10) -> dict[str, FakeEngine]:
    return {name: FakeEngine(*[FakeGeneration() for _ in range(tries)], name=name) for name in names}


def begin(road: Road) -> Generation:
    return road.course.begin(lambda: None)


def broken(end: EngineEnd = CLOSED, text: str = "one two ", **more: Any) -> Break:
    """Where a stream stands that bears some text."""
    fields = {"has_content": bool(text), "is_plain": True, "tokens": 2, "first_line": b'{"id": "x", "created": 7}'}
    return Break(end=end, text=text, roles=frozenset({0}), **{**fields, **more})


def nothing(end: EngineEnd = CLOSED) -> Break:
    """Where a stream stands that bears none."""
    return broken(end, "", first_line=None)


def after(road: Road, where: Break, *, answered: bool = True) -> Step | None:
    if answered:
        road.course.answered(road.clock())
    return road.course.after(where, road.clock())


def go(road: Road, where: Break, *, answered: bool = True) -> Step:
    """Take the step that follows."""
    step = after(road, where, answered=answered)
    assert step is not None
    road.course.start(step, lambda: None)
    return step


def said(step: Step) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(step.request.body)
    return body


# The beginning


def test_an_engine_that_is_full_is_passed_over() -> None:
    a = FakeEngine(Overloaded("full"), name="a")
    road = Road({"a": a, **engines("b")})
    begin(road)
    assert (road.course.engine_name, road.course.kind, len(a.requests)) == ("b", AttemptKind.FIRST, 1)


def test_when_all_are_full_the_first_refusal_is_the_answer() -> None:
    road = Road({name: FakeEngine(Overloaded(f"{name} is full"), name=name) for name in "ab"})
    with pytest.raises(Overloaded, match="a is full"):
        begin(road)


# Before the first token


def test_the_same_engine_is_asked_again_and_then_another_one() -> None:
    road = Road(engines("a", "b"))
    begin(road)
    steps = [go(road, nothing(), answered=False) for _ in range(4)]
    assert [(step.target.name, step.kind.value) for step in steps] == [
        ("a", "retry"),
        ("a", "retry"),
        ("b", "failover"),
        ("b", "retry"),
    ]
    assert [step.wait_s > 0 for step in steps] == [True, True, False, True]
    assert all(step.splice is None for step in steps)
    assert [step.request.model for step in steps] == ["a-model", "a-model", "b-model", "b-model"]


def test_when_all_tries_are_used_up_nothing_follows() -> None:
    road = Road(engines("a"), policy=RetryPolicy(attempts=2))
    begin(road)
    go(road, nothing(), answered=False)
    assert after(road, nothing(), answered=False) is None
    assert road.course.last_word(CLOSED) is CLOSED


@pytest.mark.parametrize("cause", [Cause.DEADLINE, Cause.BUDGET, Cause.CLIENT_STOP])
@pytest.mark.parametrize("where", [nothing, broken])
def test_what_is_no_engines_doing_is_never_tried_again(cause: Cause, where: Any) -> None:
    road = Road(engines("a", "b"))
    begin(road)
    assert after(road, where(EngineEnd(cause=cause))) is None


def test_a_role_without_text_gets_the_answer_from_its_beginning() -> None:
    road = Road(engines("a"))
    begin(road)
    step = go(road, broken(text=""), answered=False)
    assert step.kind is AttemptKind.RETRY
    assert step.splice is not None
    spliced = step.splice.feed(chunks({"id": "y", "created": 8, **text("one")}))
    assert spliced is not None
    assert msgspec.json.decode(spliced.data)["id"] == "x"


def test_a_prompt_that_is_too_long_goes_to_a_larger_context_only() -> None:
    sizes = {name: Capabilities(context_tokens=tokens) for name, tokens in (("a", 100), ("b", 50), ("c", 200))}
    road = Road(engines("a", "b", "c"), capabilities=sizes)
    begin(road)
    too_long = EngineEnd(cause=Cause.UPSTREAM_REJECTED, upstream_status=400, error_code="context_length_exceeded")
    assert go(road, nothing(too_long), answered=False).target.name == "c"


# After it


def test_another_engine_goes_on_at_once_behind_the_text() -> None:
    road = Road(engines("a", "b"))
    begin(road)
    step = go(road, broken())
    assert (step.target.name, step.kind, step.wait_s) == ("b", AttemptKind.CONTINUATION, 0.0)
    assert said(step)["messages"][-1] == {"role": "assistant", "content": "one two"}
    assert said(step)["model"] == "b-model"


def test_the_same_engine_goes_on_when_there_is_no_other_one() -> None:
    road = Road(engines("a"))
    begin(road)
    assert go(road, broken()).target.name == "a"


@pytest.mark.parametrize(
    ("how", "last", "beside"),
    [
        (Continuation.ASSISTANT, {}, {}),
        (Continuation.PREFIX, {"prefix": True}, {}),
        (Continuation.FLAG, {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
def test_each_engine_is_told_in_its_own_form(how: Continuation, last: dict[str, Any], beside: dict[str, Any]) -> None:
    road = Road(engines("a", "b"), capabilities={"a": NONE, "b": Capabilities(continuation=how)})
    begin(road)
    body = said(go(road, broken()))
    assert body["messages"][-1] == {"role": "assistant", "content": "one two", **last}
    assert {name: body.get(name) for name in beside} == beside


def test_engines_that_cannot_continue_are_passed_over() -> None:
    road = Road(engines("a", "b", "c"), capabilities={"b": NONE})
    begin(road)
    assert go(road, broken()).target.name == "c"


def test_what_is_left_of_the_bound_is_what_the_next_engine_may_say() -> None:
    road = Road(engines("a"), fields={"max_tokens": 10, "max_completion_tokens": 10}, max_tokens=10)
    begin(road)
    body = said(go(road, broken(tokens=7)))
    assert (body["max_tokens"], body["max_completion_tokens"]) == (3, 3)
    assert said(go(road, broken(tokens=12)))["max_tokens"] == 1


def test_an_answer_is_gone_on_with_as_often_as_the_settings_say() -> None:
    road = Road(engines("a", "b"), policy=RetryPolicy(continuations=3))
    begin(road)
    for _ in range(3):
        go(road, broken())
    assert after(road, broken()) is None


def test_tries_to_go_on_wait_longer_each_time_and_a_break_not_at_all() -> None:
    road = Road(engines("a"), policy=RetryPolicy(backoff_s=1, backoff_max_s=3))
    begin(road)
    waits = [go(road, broken()).wait_s, *(go(road, broken(FAILED), answered=False).wait_s for _ in range(3))]
    assert waits == [0, 2, 3, 3]
    assert go(road, broken()).wait_s == 0


def test_an_engine_that_names_a_time_is_left_alone_so_long_but_not_for_ever() -> None:
    road = Road(engines("a"), policy=RetryPolicy(backoff_s=1, max_wait_s=9))
    begin(road)
    go(road, broken())
    for retry_after_s, wait_s in ((5.0, 5.0), (1000.0, 9.0)):
        end = EngineEnd(cause=Cause.UPSTREAM_REJECTED, upstream_status=503, retry_after_s=retry_after_s)
        assert go(road, broken(end), answered=False).wait_s == wait_s


@pytest.mark.parametrize("end", [SILENT, EngineEnd(cause=Cause.FIRST_TOKEN_TIMEOUT)])
def test_an_engine_that_falls_silent_is_not_asked_to_go_on(end: EngineEnd) -> None:
    road = Road(engines("a", "b"))
    begin(road)
    assert go(road, broken(end)).target.name == "b"
    assert go(road, broken()).target.name == "b"
    assert after(road, broken(end)) is None


def test_an_engine_that_breaks_its_protocol_is_asked_again_only_if_it_had_answered() -> None:
    road = Road(engines("a"))
    begin(road)
    go(road, broken(BROKEN))
    assert after(road, broken(BROKEN), answered=False) is None


def test_what_rests_comes_last() -> None:
    road = Road(engines("a", "b", "c"), health=HealthSettings(failures=1))
    begin(road)
    rival = road.shared.health_of(road.targets[1])
    rival.failed(road.clock(), rival.began(road.clock()))
    assert go(road, broken()).target.name == "c"


def test_a_policys_verdict_in_the_middle_is_not_undone_by_another_engine() -> None:
    road = Road(engines("a", "b"))
    begin(road)
    verdict = EngineEnd(cause=Cause.UPSTREAM_REJECTED, error_code="content_filter")
    assert after(road, broken(verdict)) is None


# What is never continued


def test_more_than_text_is_never_continued_nor_repeated() -> None:
    road = Road(engines("a", "b"), fields={"temperature": 0}, route={"replays": True})
    begin(road)
    assert after(road, broken(is_plain=False)) is None


_NEVER: list[dict[str, Any]] = [
    {"n": 2},
    {"logprobs": True},
    {"top_logprobs": 3},
    {"tools": [{"type": "function", "function": {"name": "f"}}]},
    {"functions": [{"name": "f"}]},
    {"modalities": ["text", "audio"]},
]
_NOT_CONTINUED: list[dict[str, Any]] = [
    {"response_format": {"type": "json_schema", "json_schema": {}}},
    {"response_format": {"type": "json_object"}},
    {"guided_regex": "a+"},
    {"messages": [{"role": "assistant", "content": "I"}]},
]


@pytest.mark.parametrize("fields", [*_NEVER, *_NOT_CONTINUED])
def test_requests_for_more_than_one_plain_text_are_never_continued(fields: dict[str, Any]) -> None:
    road = Road(engines("a", "b"), fields=fields)
    begin(road)
    assert after(road, broken()) is None


@pytest.mark.parametrize("fields", _NEVER)
def test_nor_are_they_repeated(fields: dict[str, Any]) -> None:
    road = Road(engines("a", "b"), fields={"temperature": 0, **fields}, route={"replays": True})
    begin(road)
    assert after(road, broken()) is None


@pytest.mark.parametrize("text", ["<think>so", "so </think>", "half a \ud83c", f"half a {chr(0xFFFD)}"])
def test_a_text_that_breaks_off_where_no_engine_can_go_on_is_repeated_at_best(text: str) -> None:
    road = Road(engines("a"), fields={"seed": 1})
    begin(road)
    assert after(road, broken(text=text)) is None
    road = Road(engines("a"), fields={"seed": 1}, route={"replays": True})
    begin(road)
    assert go(road, broken(text=text)).kind is AttemptKind.REPLAY


def test_a_plain_completion_goes_on_only_under_a_bound_of_its_own() -> None:
    body = {"prompt": "Once", "stream": True}
    road = Road(engines("a"), capabilities={"a": NONE}, body=body, endpoint=Endpoint.COMPLETIONS)
    begin(road)
    assert after(road, broken()) is None
    body = {**body, "max_tokens": 9}
    road = Road(engines("a"), capabilities={"a": NONE}, body=body, endpoint=Endpoint.COMPLETIONS, max_tokens=9)
    begin(road)
    step = go(road, broken())
    assert (said(step)["prompt"], said(step)["max_tokens"]) == ("Onceone two", 7)


# Replay


def test_a_request_that_can_be_repeated_is_where_the_route_allows_it() -> None:
    road = Road(
        engines("a", "b"), capabilities={"a": NONE, "b": NONE}, fields={"temperature": 0}, route={"replays": True}
    )
    begin(road)
    step = go(road, broken())
    assert (step.target.name, step.kind) == ("b", AttemptKind.REPLAY)
    assert step.request == road.request_for(road.targets[1])


@pytest.mark.parametrize("fields", [{}, {"temperature": 0.1}, {"seed": -1}])
def test_a_request_with_chance_in_it_is_not(fields: dict[str, Any]) -> None:
    road = Road(engines("a"), capabilities={"a": NONE}, fields=fields, route={"replays": True})
    begin(road)
    assert after(road, broken()) is None


def test_a_route_may_forbid_both() -> None:
    road = Road(engines("a"), fields={"temperature": 0}, route={"continues": False})
    begin(road)
    assert after(road, broken()) is None
    assert not road.course.keeps_text


def test_continuing_comes_before_repeating() -> None:
    road = Road(engines("a", "b"), capabilities={"b": NONE}, fields={"temperature": 0}, route={"replays": True})
    begin(road)
    step = go(road, broken())
    assert (step.target.name, step.kind) == ("a", AttemptKind.CONTINUATION)


# Refusals of partial answers, and the last word


def test_an_engine_that_refuses_a_partial_answer_is_not_asked_for_one_until_new_settings() -> None:
    road = Road(engines("a", "b"))
    begin(road)
    assert go(road, broken()).target.name == "b"
    assert go(road, broken(REJECTED), answered=False).target.name == "a"
    assert [road.shared.refuses_partial(target) for target in road.targets] == [False, True]
    assert go(road, broken()).target.name == "a"
    road.shared.adopt(RetryPolicy(), road.shared.capabilities)
    assert not road.shared.refuses_partial(road.targets[1])


def test_a_refusal_of_the_request_itself_says_nothing_of_partial_answers() -> None:
    road = Road(engines("a", "b"))
    begin(road)
    assert after(road, nothing(REJECTED), answered=False) is None
    assert not road.shared.refuses_partial(road.targets[0])


def test_the_last_word_is_the_break_and_not_what_came_of_trying_to_go_on() -> None:
    road = Road(engines("a"))
    begin(road)
    go(road, broken(BROKEN))
    assert after(road, broken(REJECTED), answered=False) is None
    assert road.course.last_word(REJECTED) is BROKEN


def test_it_is_the_last_break_when_there_were_several() -> None:
    road = Road(engines("a"), policy=RetryPolicy(continuations=1))
    begin(road)
    go(road, broken(BROKEN))
    assert after(road, broken(CLOSED)) is None
    assert road.course.last_word(CLOSED) is CLOSED


def test_an_engine_that_cannot_even_begin_leaves_the_way_to_others() -> None:
    refusing = FakeEngine(FakeGeneration(), ClientRequestError("no"), name="a")
    road = Road({"a": refusing})
    begin(road)
    step = after(road, broken())
    assert step is not None
    with pytest.raises(ClientRequestError):
        road.course.start(step, lambda: None)
    # It counts neither as a refusal of partial answers nor as a failure of the engine.
    assert after(road, broken(REJECTED), answered=False) is None
    assert not road.shared.refuses_partial(road.targets[0])


# What else it tells


@pytest.mark.parametrize(
    ("capabilities", "route", "choices", "keeps"),
    [
        (CONTINUES, {}, 1, True),
        (CONTINUES, {}, 2, False),
        (NONE, {}, 1, False),
        (NONE, {"replays": True}, 1, True),
        (CONTINUES, {"continues": False}, 1, False),
    ],
)
def test_text_is_kept_only_where_an_attempt_could_go_on_with_it(
    capabilities: Capabilities, route: dict[str, Any], choices: int, keeps: bool
) -> None:
    road = Road(engines("a"), capabilities={"a": capabilities}, route=route, choices=choices)
    assert road.course.keeps_text is keeps


def test_the_seam_is_told_to_whoever_wants_to_see_it() -> None:
    for marks, seam in ((False, None), (True, {"seam": {"kind": "continuation", "engine": "b", "from": "a"}})):
        road = Road(engines("a", "b"), marks_seams=marks)
        begin(road)
        step = go(road, broken())
        assert step.splice is not None
        spliced = step.splice.feed(chunks(text("three")))
        assert spliced is not None
        assert msgspec.json.decode(spliced.data).get("headrace") == seam


def test_silence_is_left_while_there_is_another_engine() -> None:
    for names, leaves in ((("a", "b"), True), (("a",), False)):
        road = Road(engines(*names), policy=RetryPolicy(silence_s=5))
        begin(road)
        road.clock.now_s += 6
        assert road.course.leaves_silence(road.clock()) is leaves
        road.course.answered(road.clock())
        assert not road.course.leaves_silence(road.clock() + 1000)


@pytest.mark.parametrize("state", [State.COMPLETED, State.CANCELLED])
def test_an_answer_that_ends_well_or_is_left_is_no_failure_of_its_engine(state: State) -> None:
    road = Road(engines("a"), health=HealthSettings(failures=1))
    begin(road)
    road.course.over(state, 0.1, road.clock())
    road.course.over(state, 0.1, road.clock())
    assert road.shared.is_ready(road.targets[0], road.clock())


def test_an_attempt_that_fails_is_one() -> None:
    road = Road(engines("a"), health=HealthSettings(failures=1))
    begin(road)
    after(road, broken())
    assert not road.shared.is_ready(road.targets[0], road.clock())
