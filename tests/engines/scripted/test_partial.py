"""How a partial answer is continued: the plan alone, in process and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.scripted import Script, ScriptedEngine, SimulatorServer
from headrace.engines.scripted.answer import answer_of
from headrace.engines.scripted.partial import Difference, Rest, rest_after
from headrace.engines.scripted.plan import Plan, plan_of
from headrace.engines.scripted.request import read_request
from headrace.engines.scripted.text import inside_of
from headrace.types.engine import Continuation, Endpoint, EngineRequest
from headrace.types.outcome import Cause

Ask = Callable[..., Awaitable[Any]]
Body = Callable[..., bytes]
QUESTION = {"role": "user", "content": "one two"}
FLAGS = {"continue_final_message": True, "add_generation_prompt": False}
ASSISTANT = {"continues": "assistant"}
SPACES = st.text(alphabet='ab é🌊\\" \n\t\u00a0\u2028', max_size=6)


def partial(text: Any, **fields: Any) -> list[dict[str, Any]]:
    """Return the messages of a chat that ends with the beginning of an answer."""
    return [QUESTION, {"role": "assistant", "content": text, **fields}]


def plan(simulate: Any, serial: int = 1, **fields: Any) -> Plan:
    body = {"model": "m", "simulate": simulate, **fields}
    endpoint = Endpoint.COMPLETIONS if "prompt" in body else Endpoint.CHAT
    if endpoint is Endpoint.CHAT:
        body.setdefault("messages", [QUESTION])
    request, script = read_request(json.dumps(body).encode(), Script(), endpoint)
    return plan_of(request, script, serial=serial, created=0)


def choice_of(made: Plan) -> Any:
    assert made.rejection is None
    return json.loads(answer_of(made))["choices"][0]


def text_of(made: Plan) -> str:
    choice = choice_of(made)
    text = choice["text"] if made.endpoint is Endpoint.COMPLETIONS else choice["message"]["content"]
    assert isinstance(text, str)
    return text


# What follows


@given(st.lists(SPACES), st.data())
def test_the_rest_glued_to_what_the_engine_saw_is_the_whole_text(deltas: list[str], data: st.DataObject) -> None:
    whole = "".join(deltas)
    delivered = whole[: data.draw(st.integers(0, len(whole)))]
    script = {"deltas": deltas, **ASSISTANT}
    assert delivered.rstrip() + text_of(plan(script, messages=partial(delivered))) == whole
    assert delivered + text_of(plan({**script, "strips": False}, messages=partial(delivered))) == whole


@given(st.lists(SPACES, min_size=1), st.integers(0, 40), st.data())
def test_a_repeated_text_is_continued_in_any_round(deltas: list[str], tokens: int, data: st.DataObject) -> None:
    whole = (deltas * tokens)[:tokens]
    delivered = "".join(whole)[: data.draw(st.integers(0, len("".join(whole))))]
    script = {"deltas": deltas, "tokens": tokens, **ASSISTANT}
    assert delivered.rstrip() + text_of(plan(script, messages=partial(delivered))) == "".join(whole)


@given(st.integers(0, 5000), st.data())
def test_drawn_words_are_known_again(tokens: int, data: st.DataObject) -> None:
    script = {"tokens": tokens, **ASSISTANT}
    whole = text_of(plan(script, serial=1))
    delivered = whole[: data.draw(st.integers(0, len(whole)))]
    assert delivered.rstrip() + text_of(plan(script, serial=2, messages=partial(delivered))) == whole


@given(st.text(min_size=1), st.lists(SPACES), st.data())
def test_a_prompt_may_hold_the_beginning_of_its_answer(prompt: str, deltas: list[str], data: st.DataObject) -> None:
    whole = "".join(deltas)
    delivered = whole[: data.draw(st.integers(0, len(whole)))]
    script = {"deltas": deltas, "prompt": prompt}
    assert delivered + text_of(plan(script, prompt=prompt + delivered)) == whole


def test_the_words_of_a_completion_are_known_again() -> None:
    script = {"prompt": "one two"}
    whole = text_of(plan(script, serial=1, prompt="one two"))
    assert text_of(plan(script, serial=2, prompt="one two" + whole[:9])) == whole[9:]
    other = plan(script, prompt="three")
    assert (other.rest, text_of(other) == whole) == (None, False)


def test_the_deltas_after_the_cut_are_those_of_the_whole_answer() -> None:
    made = plan({"deltas": ["a b", "", "", " c", "d"], **ASSISTANT}, messages=partial("a"))
    assert (made.rest, made.rounds) == (Rest(1, b" b"), 5)
    made = plan({"deltas": ["a b", "", "", " c", "d"], **ASSISTANT}, messages=partial("a b"))
    assert (made.rest, made.rounds) == (Rest(1), 4)


def test_only_what_is_sent_counts() -> None:
    script = {"text": "a b c d e", **ASSISTANT}
    made = plan(script, messages=partial("a b"), max_tokens=2)
    assert (text_of(made), made.finish_reason, made.prompt_tokens) == (" c d", "length", 4)
    assert json.loads(answer_of(made))["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    made = plan(script, messages=partial("a b"), max_tokens=3)
    assert (text_of(made), made.finish_reason) == (" c d e", "stop")


def test_a_whole_partial_answer_is_finished() -> None:
    choice = choice_of(plan({"text": "a b", **ASSISTANT}, messages=partial("a b")))
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")


def test_thoughts_are_not_repeated_and_tools_follow() -> None:
    script = {"text": "a b", "reasoning": "hm hm", "tool_calls": [{"name": "f"}], **ASSISTANT}
    message = choice_of(plan(script, messages=partial("a")))["message"]
    assert (message["content"], "reasoning_content" in message, len(message["tool_calls"])) == (" b", False, 1)


def test_parts_of_text_are_a_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": " b"}]
    assert text_of(plan({"text": "a b c", **ASSISTANT}, messages=partial(parts))) == " c"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": ["a"]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]},
        {"role": "assistant", "content": "a", "tool_calls": [{}]},
    ],
)
def test_what_holds_no_partial_text_is_answered_from_the_start(message: dict[str, Any]) -> None:
    made = plan({"text": "a b", "rejects_partial": True, **ASSISTANT}, messages=[QUESTION, message])
    assert (made.rest, text_of(made)) == (None, "a b")


# Who takes what


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "assistant": ({}, {}),
    "prefix": ({"prefix": True}, {}),
    "continue_final_message": ({}, FLAGS),
}


@pytest.mark.parametrize("continues", list(Continuation))
@pytest.mark.parametrize("form", FORMS)
def test_an_engine_takes_its_own_form(continues: Continuation, form: str) -> None:
    of_message, of_request = FORMS[form]
    script = {"text": "a b", "continues": continues}
    asked = {"messages": partial("a", **of_message), **of_request}
    is_taken = continues in (form, Continuation.ASSISTANT)
    assert text_of(plan(script, **asked)) == (" b" if is_taken else "a b")
    rejection = plan({**script, "rejects_partial": True}, **asked).rejection
    assert (None if rejection is None else (rejection.status, rejection.param)) == (
        None if is_taken else (400, "messages")
    )


def test_both_flags_belong_together() -> None:
    script = {"text": "a b", "continues": "continue_final_message"}
    rejection = plan(script, messages=partial("a"), continue_final_message=True).rejection
    assert rejection is not None
    assert (rejection.status, rejection.param) == (400, "add_generation_prompt")


@pytest.mark.parametrize("continues", ["none", "prefix"])
def test_who_ignores_a_partial_answer_gives_the_same_one_anew(continues: str) -> None:
    script = {"continues": continues, "seed": 3}
    assert text_of(plan(script, messages=partial("The"))) == text_of(plan(script))


def test_several_choices_are_not_continued() -> None:
    rejection = plan({"text": "a b", **ASSISTANT}, messages=partial("a"), n=2).rejection
    assert rejection is not None
    assert (rejection.status, rejection.param) == (400, "n")


# What the words depend on


def test_every_question_has_its_own_words_where_answers_are_continued() -> None:
    one = [{"role": "user", "content": "one"}]
    same = [{"content": "one", "role": "user"}]
    assert plan(ASSISTANT, serial=1, messages=one).seed == plan(ASSISTANT, serial=2, messages=same).seed
    assert plan(ASSISTANT, messages=one).seed != plan(ASSISTANT).seed
    assert plan({}, serial=1, messages=one).seed != plan({}, serial=2, messages=one).seed


def test_a_seed_that_was_given_stays() -> None:
    assert plan({**ASSISTANT, "seed": 3}, seed=4).seed == 3
    assert plan(ASSISTANT, seed=4).seed == 4
    assert plan(ASSISTANT, temperature=0).seed == 0


# What does not fit


@pytest.mark.parametrize(
    ("pieces", "found", "difference"),
    [
        (["a b", " c"], "a x", Difference(2, "x", "b c")),
        (["a b", " c"], "a b c d", Difference(5, " d", "")),
        (["ab"], "ba", Difference(0, "ba", "ab")),
        ([], "a", Difference(0, "a", "")),
        (["x" * 100] * 100, "y" * 100, Difference(0, "y" * 40, "x" * 40)),
    ],
)
def test_the_first_difference_is_shown(pieces: list[str], found: str, difference: Difference) -> None:
    assert rest_after(found, iter([inside_of(piece) for piece in pieces])) == difference


@given(st.lists(SPACES), SPACES, st.data())
def test_a_difference_is_where_the_texts_part(deltas: list[str], added: str, data: st.DataObject) -> None:
    whole = "".join(deltas)
    found = whole[: data.draw(st.integers(0, len(whole)))] + added
    result = rest_after(found, iter([inside_of(piece) for piece in deltas]))
    if isinstance(result, Rest):
        assert whole.startswith(found)
    else:
        assert found[: result.at] == whole[: result.at]
        assert found[result.at : result.at + 1] != whole[result.at : result.at + 1]
        assert whole[result.at :].startswith(result.expected)


def test_a_partial_answer_of_another_answer_is_refused() -> None:
    rejection = plan({"text": "a b c", **ASSISTANT}, messages=partial("a x")).rejection
    assert rejection is not None
    assert (rejection.status, rejection.code, rejection.param) == (422, "partial_answer_differs", "messages")
    assert 'after 2 characters it has "x", the answer has "b c"' in rejection.message


def test_an_endless_text_is_compared_as_far_as_asked() -> None:
    script = {"deltas": ["x" * 10_000], "tokens": 1_000_000, **ASSISTANT}
    made = plan(script, messages=partial("x" * 25_000))
    assert made.rest == Rest(3, b"x" * 5000)
    assert made.rounds == 999_998


@pytest.mark.parametrize(("context_tokens", "is_refused"), [(3, True), (4, False)])
def test_the_context_holds_the_partial_answer_too(context_tokens: int, is_refused: bool) -> None:
    script = {"text": "a b c", "context_tokens": context_tokens, **ASSISTANT}
    rejection = plan(script, messages=partial("a b")).rejection
    assert (rejection is not None) is is_refused
    if rejection is not None:
        assert (rejection.status, rejection.code, rejection.param) == (400, "context_length_exceeded", "messages")


def test_a_long_prompt_is_the_fault_of_its_field() -> None:
    rejection = plan({"context_tokens": 1}, prompt="one two").rejection
    assert rejection is not None
    assert rejection.param == "prompt"


# In process and over HTTP


CHAIN: list[dict[str, Any]] = [
    {"fault": {"kind": "rst", "at": 4}},
    {"fault": {"kind": "fin", "at": 4}},
    {},
]
WHOLE = Script(
    deltas=["The ", "\n\n", "  river", " ", "", " \t", "flows é", "\n", " 🌊 ", "on"], continues=Continuation.ASSISTANT
)


async def test_a_server_goes_on_after_each_cut(ask: Ask) -> None:
    async with SimulatorServer(default=WHOLE, scripts=CHAIN) as simulator:
        text = ""
        for _ in CHAIN:
            got = await ask(port=simulator.port, messages=partial(text) if text else [QUESTION])
            text = text.rstrip() + got.text
        assert text == "".join(WHOLE.deltas or ())
        records = simulator.records.all()
    assert [(record.script, record.is_continuation, record.partial_form) for record in records] == [
        (0, False, None),
        (1, True, "assistant"),
        (2, True, "assistant"),
    ]
    assert [record.partial_chars for record in records] == [None, 14, 23]
    assert [record.outcome for record in records] == ["fault:rst", "fault:fin", "completed"]


async def test_an_engine_goes_on_after_each_cut(body_of: Body) -> None:
    async with ScriptedEngine(WHOLE, scripts=CHAIN, manual=True) as engine:
        text = ""
        for _ in CHAIN:
            body = body_of(messages=partial(text) if text else [QUESTION])
            generation = engine.start(EngineRequest(body=body), lambda: None)
            chunks = generation.read()
            assert chunks is not None
            choices = [choice for view in chunks.views for choice in view.choices]
            text = text.rstrip() + "".join(str(choice.delta.content or "") for choice in choices)
        assert text == "".join(WHOLE.deltas or ())
        assert [asked.partial_chars for asked in engine.requests()] == [None, 14, 23]
        assert engine.capabilities.continuation is Continuation.ASSISTANT


SHORT = {"context_tokens": 1}
TOO_LONG = "context_length_exceeded"
LATE = {"kind": "silence_before", "head": True, "ms": 1}


@pytest.mark.parametrize(
    ("script", "messages", "said"),
    [
        ({"text": "a b", **ASSISTANT}, partial("x"), (422, "partial_answer_differs")),
        ({"rejects_partial": True}, partial("x"), (400, None)),
        (SHORT, [QUESTION], (400, TOO_LONG)),
        ({**SHORT, "fault": {"kind": "rst", "at": 0}}, [QUESTION], (400, TOO_LONG)),
        ({**SHORT, "fault": LATE}, [QUESTION], (400, TOO_LONG)),
        ({**SHORT, "fault": {"kind": "status", "code": 503}}, [QUESTION], (503, None)),
    ],
)
async def test_both_refuse_alike(
    ask: Ask, body_of: Body, script: dict[str, Any], messages: list[Any], said: tuple[int, str | None]
) -> None:
    response = await ask(script, messages=messages)
    error = json.loads(response.body)["error"]
    assert (response.status, error["code"]) == said
    async with ScriptedEngine(manual=True) as engine:
        generation = engine.start(EngineRequest(body=body_of(script, messages=messages)), lambda: None)
        engine.advance(1)
        assert generation.read() is None
        end = generation.end
    assert end is not None
    assert (end.cause, (end.upstream_status, end.error_code)) == (Cause.UPSTREAM_REJECTED, said)
    assert (end.message, end.error_param) == (error["message"], error["param"])


async def test_records_tell_what_was_asked_for(ask: Ask, simulator: SimulatorServer) -> None:
    await ask({"rejects_partial": True}, messages=partial("Hello", prefix=True), max_tokens=7)
    await ask(model="x" * 1000)
    refused, other = simulator.records.all()
    assert (refused.partial_chars, refused.partial_form, refused.is_continuation) == (5, "prefix", False)
    assert (refused.max_tokens, refused.prompt_tokens, refused.outcome) == (7, 3, "rejected")
    assert (other.model, other.status, other.partial_chars) == ("x" * 256, 404, None)
