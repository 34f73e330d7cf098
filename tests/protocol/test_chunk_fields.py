"""Chunks taken apart: what is not changed keeps its bytes."""

from __future__ import annotations

import json
import sys

import pytest

from headrace.errors import UpstreamProtocolError
from headrace.protocol.chunk_fields import ChunkFields, text_in

ODD = (
    b'{"x":1.10000000000000000001,"big":123456789012345678901234567890,"e":1e999,"esc":"\\u00e9\\/",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"ab","vendor":{"k":[ 1.0 ]}},"extra":-0.0}]}'
)


def test_a_chunk_that_is_not_changed_stays_byte_for_byte() -> None:
    line = b'{ "id" : "x" , "choices":[] }'
    fields = ChunkFields(line)
    fields.put("id", "x")
    assert not fields.is_changed
    assert fields.encoded() == line


def test_a_change_leaves_every_other_value_as_it_was_written() -> None:
    fields = ChunkFields(ODD)
    assert fields.text() == "ab"
    fields.put_text("b")
    fields.drop_role(0)
    fields.put("id", "c")
    changed = ODD.replace(b'"role":"assistant",', b"").replace(b'"ab"', b'"b"')
    assert fields.encoded() == changed[:-1] + b',"id":"c"}'


def test_a_field_is_replaced_where_it_stands() -> None:
    fields = ChunkFields(b'{"id":"x","created":1,"choices":[]}')
    fields.put("created", 2)
    assert fields.encoded() == b'{"id":"x","created":2,"choices":[]}'


def test_half_surrogate_pairs_survive() -> None:
    fields = ChunkFields(b'{"id":"x","choices":[{"delta":{"content":"a\\ud83d"}}]}')
    assert fields.text() == "a\ud83d"
    fields.put("id", "c")
    fields.put_text("\ud83d")
    assert fields.encoded() == b'{"id":"c","choices":[{"delta":{"content":"\\ud83d"}}]}'


def test_a_text_can_be_cut_inside_a_character() -> None:
    fields = ChunkFields('{"choices":[{"delta":{"content":"\U0001f600"}}]}'.encode())
    fields.put_text("\ude00")
    assert fields.encoded() == b'{"choices":[{"delta":{"content":"\\ude00"}}]}'


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":"\\ud83d","n":1e999}',
        b'{"a":"\\ud83d","n":NaN}',
        b'{"a":"\\ud83d","n":' + b"1" * 5000 + b"}",
        b"[]",
        b"7",
    ],
)
def test_what_could_not_be_written_again_as_it_was_is_not_editable(line: bytes) -> None:
    fields = ChunkFields(line)
    fields.put("id", "c")
    assert not fields.is_changed
    assert fields.text() is None
    assert fields.encoded() == line


@pytest.mark.parametrize("choices", ["7", "null", '"x"', "[7]", '{"delta":{"content":"x"}}', "[{},{}]", "[]"])
def test_odd_choices_have_no_text_and_are_kept(choices: str) -> None:
    fields = ChunkFields(b'{"choices":%s}' % choices.encode())
    assert fields.text() is None
    fields.drop_role(0)
    fields.put("id", "c")
    assert fields.encoded() == b'{"choices":%s,"id":"c"}' % choices.encode()


def test_text_of_a_plain_completion() -> None:
    fields = ChunkFields(b'{"choices":[{"index":0,"text":"ab","logprobs":null}]}')
    assert fields.text() == "ab"
    fields.put_text("b")
    assert fields.encoded() == b'{"choices":[{"index":0,"text":"b","logprobs":null}]}'


def test_nesting_that_cannot_be_encoded_is_the_engines_fault() -> None:
    depth = sys.getrecursionlimit()
    nested: list[object] = []
    for _ in range(depth):
        nested = [nested]
    fields = ChunkFields(b'{"a":"\\ud83d"}')
    fields.put("nested", nested)
    with pytest.raises(UpstreamProtocolError):
        fields.encoded()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"text": "b"}], "ab"),
        ([{"type": "thinking", "thinking": []}], None),
        ([{"type": "thinking", "text": "a"}], None),
        (["a"], None),
        ([{"type": "text", "text": 7}], None),
        ({"a": 1}, None),
    ],
)
def test_content_in_parts_is_text_when_all_parts_are(content: object, text: str | None) -> None:
    assert text_in(json.loads(json.dumps(content))) == text
