"""Views of odd chunks: nothing that matters is lost."""

from __future__ import annotations

import msgspec
import pytest

from headrace.protocol.chunk_view import DELTA_TYPES, view_of, views_of
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
