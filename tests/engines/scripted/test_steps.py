from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.scripted.answer import answer_of
from headrace.engines.scripted.plan import Plan, plan_of
from headrace.engines.scripted.request import read_request
from headrace.engines.scripted.script import Script
from headrace.engines.scripted.steps import Chunk, Close, Comment, Done, Head, Hold, Step, steps_of


def plan(simulate: Any = None, serial: int = 1, **fields: Any) -> Plan:
    body = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": "x"}],
        "simulate": simulate,
        **fields,
    }
    request, script = read_request(json.dumps(body).encode(), Script())
    return plan_of(request, script, serial=serial, created=0)


def steps(simulate: Any = None, **fields: Any) -> list[Step]:
    return list(steps_of(plan(simulate, **fields)))


def chunks(simulate: Any = None, **fields: Any) -> list[Any]:
    return [msgspec.json.decode(step.data) for step in steps(simulate, **fields) if isinstance(step, Chunk)]


def deltas(simulate: Any = None, index: int = 0, **fields: Any) -> list[dict[str, Any]]:
    choices = [choice for chunk in chunks(simulate, **fields) for choice in chunk["choices"]]
    return [choice["delta"] for choice in choices if choice["index"] == index]


def token_dues(simulate: Any) -> list[float]:
    return [step.due_ms for step in steps(simulate) if isinstance(step, Chunk) and step.tokens]


def test_a_stream_in_order() -> None:
    kinds = [type(step) for step in steps({"tokens": 2, "usage": "always"})]
    assert kinds == [Head, Chunk, Chunk, Chunk, Chunk, Chunk, Done, Close]
    role, *_, finish, usage = chunks({"tokens": 2, "usage": "always"})
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert finish["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


CONTINUOUS = {"include_usage": True, "continuous_usage_stats": True}


def usage(completion_tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": completion_tokens, "total_tokens": 1 + completion_tokens}


def test_continuous_usage_is_in_every_chunk() -> None:
    found = [chunk["usage"] for chunk in chunks({"tokens": 3}, stream_options=CONTINUOUS)]
    assert found == [usage(count) for count in (0, 1, 2, 3, 3, 3)], "role, deltas, finish, sum"


def test_continuous_usage_tells_of_its_own_choice_and_the_last_of_all() -> None:
    *with_choice, last = chunks({"tokens": 2, "n": 2}, stream_options=CONTINUOUS)
    found = [(chunk["choices"][0]["index"], chunk["usage"]["completion_tokens"]) for chunk in with_choice]
    assert found == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 2), (1, 2)]
    assert (last["choices"], last["usage"]) == ([], usage(4))


@pytest.mark.parametrize(
    ("simulate", "options"),
    [
        ({}, {"continuous_usage_stats": True}),
        ({"usage": "never"}, CONTINUOUS),
        ({}, {"include_usage": True, "continuous_usage_stats": False}),
    ],
)
def test_continuous_usage_needs_an_engine_and_a_request_with_usage(simulate: Any, options: Any) -> None:
    found = [
        chunk["choices"] for chunk in chunks({"tokens": 2, **simulate}, stream_options=options) if "usage" in chunk
    ]
    assert found == ([[]] if options == {"include_usage": True, "continuous_usage_stats": False} else [])


@pytest.mark.parametrize("kind", ["repeat_text", "burst", "huge_event", "malformed_json"])
def test_usage_does_not_know_what_a_fault_adds(kind: str) -> None:
    made = steps({"tokens": 3, "fault": {"kind": kind, "at": 1}}, stream_options={"include_usage": True})
    last = [step for step in made if isinstance(step, Chunk)][-1]
    assert json.loads(last.data)["usage"] == usage(3)


def test_tokens_are_due_on_a_grid() -> None:
    assert token_dues({"ttft_ms": 100, "itl_ms": 20, "tokens": 4}) == [100, 120, 140, 160]
    assert steps({"ttft_ms": 100, "tokens": 1})[0] == Head(0)
    assert steps({"ttft_ms": 100, "itl_ms": 20, "tokens": 4})[-1].due_ms == 160


@given(st.floats(0, 500), st.integers(0, 9))
def test_jitter_keeps_order_and_does_not_add_up(jitter_ms: float, seed: int) -> None:
    dues = token_dues({"itl_ms": 10, "jitter_ms": jitter_ms, "tokens": 30, "seed": seed})
    assert dues == sorted(dues)
    assert all(10 * number <= due <= 10 * number + jitter_ms + 1e-6 for number, due in enumerate(dues))


def test_text_is_fixed_by_the_seed_and_else_differs() -> None:
    assert deltas({"seed": 1}, serial=1) == deltas({"seed": 1}, serial=2)
    assert deltas({}, serial=1) != deltas({}, serial=2)
    assert deltas({"seed": 1, "n": 2}, index=0) != deltas({"seed": 1, "n": 2}, index=1)


@given(st.text(min_size=1), st.integers(1, 4))
def test_exact_text_arrives_exactly(text: str, n: int) -> None:
    for index in range(n):
        sent = [delta.get("content", "") for delta in deltas({"text": text, "n": n}, index=index)]
        assert "".join(sent) == text


def test_exact_deltas_are_repeated_to_fit() -> None:
    sent = [delta["content"] for delta in deltas({"deltas": ["a", "b\n"], "tokens": 3, "role_chunk": False})[:-1]]
    assert sent == ["a", "b\n", "a"]


def test_choices_are_interleaved() -> None:
    order = [choice["index"] for chunk in chunks({"tokens": 2, "n": 3}) for choice in chunk["choices"]]
    assert order == [0, 1, 2] * 4


def test_reasoning_comes_before_the_text() -> None:
    sent = deltas({"reasoning": "hm well", "text": "yes", "role_chunk": False})
    assert sent == [{"reasoning_content": "hm"}, {"reasoning_content": " well"}, {"content": "yes"}, {}]
    assert deltas({"reasoning": "hm", "reasoning_field": "reasoning", "role_chunk": False})[0] == {"reasoning": "hm"}


def test_tool_calls_begin_with_id_and_name() -> None:
    calls = [{"name": "f", "arguments": '{"city":"Rome"}', "fragment_chars": 10}, {"name": "g", "id": "call_g"}]
    first, *fragments, second, last, end = deltas({"tool_calls": calls, "role_chunk": False})
    call = first["tool_calls"][0]
    assert (call["index"], call["type"], call["function"]) == (0, "function", {"name": "f", "arguments": ""})
    assert call["id"].startswith("call_")
    assert "".join(part["tool_calls"][0]["function"]["arguments"] for part in fragments) == '{"city":"Rome"}'
    assert second["tool_calls"][0]["id"] == "call_g"
    assert last == {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}
    assert end == {}


def test_logprobs_name_each_token() -> None:
    choice = chunks({"text": "é", "role_chunk": False}, logprobs=True)[0]["choices"][0]
    assert choice["logprobs"]["content"][0]["token"] == "é"
    assert choice["logprobs"]["content"][0]["bytes"] == [0xC3, 0xA9]


def test_padding_makes_every_chunk_longer() -> None:
    assert all(chunk["padding"] == "x" * 9 for chunk in chunks({"tokens": 2, "pad_bytes": 9}))


def test_a_blocking_answer_says_the_same_as_the_stream() -> None:
    script = {"seed": 1, "reasoning": "a b", "tokens": 5, "tool_calls": [{"name": "f", "arguments": "{1234567}"}]}
    message = json.loads(answer_of(plan(script)))["choices"][0]["message"]
    streamed = deltas(script)
    assert message["content"] == "".join(delta.get("content", "") for delta in streamed)
    assert message["reasoning_content"] == "a b"
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": "{1234567}"}


def test_a_blocking_answer_is_due_with_its_last_delta() -> None:
    assert steps({"ttft_ms": 10, "itl_ms": 5, "tokens": 3}, stream=False)[0].due_ms == 20


@pytest.mark.parametrize(("at", "sent"), [(0, 0), (1, 1), (3, 3), (99, 3), (None, 3)])
def test_a_cut_comes_before_its_delta(at: int | None, sent: int) -> None:
    made = steps({"tokens": 3, "fault": {"kind": "rst", "at": at}})
    assert sum(step.tokens for step in made if isinstance(step, Chunk)) == sent
    assert isinstance(made[-1], Close)
    assert made[-1].outcome == "fault:rst"
    assert not any(isinstance(step, Done) for step in made)


def test_a_fault_counts_deltas_of_each_choice() -> None:
    made = steps({"tokens": 3, "n": 2, "fault": {"kind": "fin", "at": 1}})
    assert sum(step.tokens for step in made if isinstance(step, Chunk)) == 2


def test_a_cut_before_the_first_delta_has_no_role_and_waits_for_it() -> None:
    assert [type(step) for step in steps({"ttft_ms": 9, "fault": {"kind": "fin", "at": 0}})] == [Head, Close]
    assert steps({"ttft_ms": 9, "fault": {"kind": "fin", "at": 0}})[-1].due_ms == 9


def test_silence_makes_the_rest_late() -> None:
    fault = {"kind": "silence", "ms": 500, "at": 2}
    assert token_dues({"itl_ms": 10, "tokens": 4, "fault": fault}) == [0, 10, 520, 530]
    assert token_dues({"itl_ms": 10, "tokens": 2, "fault": {"kind": "silence", "ms": 500, "at": 0}}) == [500, 510]


def test_endless_silence_holds() -> None:
    assert isinstance(steps({"tokens": 4, "fault": {"kind": "silence", "at": 2}})[-1], Hold)
    assert steps({"fault": {"kind": "silence_before"}}) == [Hold(0)]
    assert steps({"fault": {"kind": "silence_before", "head": True}}) == [Head(0), Hold(0)]


def test_silence_before_delays_all_but_the_head() -> None:
    late = steps({"tokens": 1, "fault": {"kind": "silence_before", "ms": 70}})
    assert {step.due_ms for step in late} == {70}
    assert steps({"tokens": 1, "fault": {"kind": "silence_before", "ms": 70, "head": True}}) == [Head(0), *late[1:]]


def test_keepalive_comes_every_so_often_and_then_the_stream_goes_on() -> None:
    fault = {"kind": "keepalive", "at": 0, "every_ms": 10, "for_ms": 30}
    made = steps({"ttft_ms": 5, "tokens": 1, "fault": fault})
    assert [step.due_ms for step in made if isinstance(step, Comment)] == [10, 20, 30]
    assert token_dues({"ttft_ms": 5, "tokens": 1, "fault": fault}) == [35]


def test_endless_keepalive_never_ends() -> None:
    endless = steps_of(plan({"tokens": 1, "fault": {"kind": "keepalive", "at": 1, "every_ms": 10}}))
    assert isinstance(list(itertools.islice(endless, 1000))[-1], Comment)


def test_dues_never_fall() -> None:
    for kind in ("silence", "keepalive", "malformed_json", "repeat_text", "burst", "huge_event"):
        options = {"silence": {"ms": 5}, "keepalive": {"every_ms": 2, "for_ms": 5}}.get(kind, {})
        for at in (0, 2, None):
            made = steps({"ttft_ms": 7, "itl_ms": 3, "tokens": 4, "fault": {"kind": kind, "at": at, **options}})
            dues = [step.due_ms for step in made]
            assert dues == sorted(dues), (kind, at)
