"""Views of odd chunks: nothing that matters is lost."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.chunk_view import DELTA_TYPES, tokens_in, view_of, views_of, without_running_usage
from headrace.types.chunk import Choice, ChunkView, Delta


def view(data: bytes) -> ChunkView:
    found = view_of(data)
    assert found is not None
    return found


def test_every_field_of_a_delta_can_be_fitted() -> None:
    assert set(DELTA_TYPES) == {field.name for field in msgspec.structs.fields(Delta)}


@pytest.mark.parametrize("data", [b"", b"[]", b"12", b"null", b"[DONE]", b"{} {}", b'{"choices":' + b"[" * 100_000])
def test_what_is_no_object_has_no_view(data: bytes) -> None:
    assert view_of(data) is None


@pytest.mark.parametrize("data", [b'{"a":"\xff"}', b'{"choices":5}', b"{}\n[DONE]", b"[" * 100_000])
def test_odd_lines_have_no_views_in_one_go(data: bytes) -> None:
    assert views_of(data) is None


def test_plain_lines_have_views_in_one_go() -> None:
    assert views_of('{"é":1}\n{"choices":[{}]}'.encode()) == [ChunkView(), ChunkView(choices=[Choice()])]


def test_finish_reason_survives_odd_types_beside_it() -> None:
    found = view(b'{"choices":[{"index":null,"delta":null,"finish_reason":"stop"}],"usage":[1]}')
    assert found == ChunkView(choices=[Choice(index=0, finish_reason="stop")], usage={"value": [1]})


@pytest.mark.parametrize(
    ("value", "expected"), [(b'{"type":"stop"}', '{"type": "stop"}'), (b"2", "2"), (b"false", None)]
)
def test_finish_reason_of_another_type_becomes_text(value: bytes, expected: str | None) -> None:
    assert view(b'{"choices":[{"finish_reason":%b}]}' % value).choices[0].finish_reason == expected


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (b'{"content":5}', Delta(content="5")),
        (b'{"content":{"type":"text"}}', Delta(content=[{"type": "text"}])),
        (b'{"tool_calls":{"id":"a"}}', Delta(tool_calls=[{"id": "a"}])),
        (b'{"function_call":"f"}', Delta(function_call={"value": "f"})),
        (b'{"reasoning":7,"audio":[1]}', Delta(reasoning="7", audio={"value": [1]})),
        (b'{"role":["assistant"],"content":"a"}', Delta(role='["assistant"]', content="a")),
        (b'"text"', Delta(content="text")),
    ],
)
def test_values_of_another_type_are_wrapped(delta: bytes, expected: Delta) -> None:
    assert view(b'{"choices":[{"delta":%b}]}' % delta).choices == [Choice(delta=expected)]


def test_choices_without_an_index_have_their_position() -> None:
    found = view(b'{"choices":[{"index":3},{"index":"x"},7,{"index":true}]}')
    assert [choice.index for choice in found.choices] == [3, 1, 3]
    assert view(b'{"choices":{"finish_reason":"stop"}}').choices == [Choice(finish_reason="stop")]
    assert view(b'{"choices":null,"error":"x"}') == ChunkView(error="x")


def test_half_surrogate_pairs_are_replaced_in_the_view() -> None:
    assert view(rb'{"choices":[{"delta":{"content":"a\ud83d"}}]}').choices[0].delta.content == "a\ufffd"


def test_view_too_deep_to_be_mended_counts_as_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(chunk: object) -> ChunkView:
        raise RecursionError

    monkeypatch.setattr("headrace.protocol.chunk_view._odd_view", too_deep)
    assert view_of(b'{"choices":5}') is None


USAGE = b'{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":0}}'
PLAIN = b'{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}'
WITH_USAGE = PLAIN[:-1] + b',"usage":' + USAGE + b"}"
LAST = b'{"id":"c","choices":[],"usage":' + USAGE + b"}"


def test_running_usage_is_taken_out_and_the_last_one_kept() -> None:
    assert without_running_usage(b"\n".join([WITH_USAGE, WITH_USAGE])) == b"\n".join([PLAIN, PLAIN])
    assert without_running_usage(b"\n".join([WITH_USAGE, LAST])) == b"\n".join([PLAIN, LAST])
    assert without_running_usage(PLAIN) == PLAIN
    odd = b'{"a":{"b":1,"usage":{"x":"{"}}}'
    assert without_running_usage(odd) == odd


@given(st.text(), st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_taking_out_usage_changes_nothing_else(content: str, usage: dict[str, int | str]) -> None:
    chunk = {"usage_before": {"usage": usage}, "choices": [{"delta": {"content": content, "usage": usage}}]}
    lines = json.dumps(chunk | {"usage": {"details": usage, "total_tokens": 3}}, separators=(",", ":")).encode()
    left = json.loads(without_running_usage(lines))
    assert left == chunk or left == json.loads(lines)
    assert {key: value for key, value in left.items() if key != "usage"} == chunk


def test_tokens_are_deltas_and_packed_deltas_by_their_size() -> None:
    word = b'{"choices":[{"delta":{"content":"word"}}]}'
    role = b'{"choices":[{"delta":{"role":"assistant","content":""}}]}'
    call = b'{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}'
    packed = b'{"choices":[{"delta":{"content":"' + b"four" * 25 + b'"}}]}'
    assert tokens_in(b"\n".join([role, word, word, call])) == 3
    assert tokens_in(packed) == 25
    assert tokens_in(b'{"choices":[{"text":"a"},{"text":"b"}]}') == 2
    assert tokens_in(b'{"choices":5}\n' + word) == 1
