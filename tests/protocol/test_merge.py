"""Merging: fewer chunks, the same answer, and no offset that skips or repeats anything."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.assemble import CompletionAssembler
from headrace.protocol.merge import merged


def chat(text: str | None = None, *, delta: dict[str, Any] | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if delta is None else delta, "finish_reason": None}
    return msgspec.json.encode({"id": "c", "created": 7, "choices": [choice], **fields})


def plain(text: str) -> bytes:
    return msgspec.json.encode({"id": "c", "choices": [{"index": 0, "text": text, "finish_reason": None}]})


ODD = [
    chat(delta={"role": "assistant", "content": ""}),
    chat(delta={"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}),
    chat(delta={"content": "x", "reasoning": "y"}),
    chat("x", id="other"),
    chat("x", usage={"total_tokens": 1}),
    msgspec.json.encode({"choices": []}),
    msgspec.json.encode({"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {}}]}),
    b'{"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"x"}}],"n":1e999}',
    b"7",
]

LINES = st.lists(st.text(max_size=3).map(chat) | st.text(max_size=3).map(plain) | st.sampled_from(ODD), min_size=1)


def answer(lines: list[bytes]) -> bytes:
    assembler = CompletionAssembler()
    assembler.add(b"\n".join(lines))
    return assembler.completion(usage=None)


def test_chunks_that_differ_in_their_text_only_become_one() -> None:
    (only,) = merged(5, b"\n".join([chat("a"), chat(" b"), chat("ć")]))
    assert only == (7, chat("a bć"))
    assert list(merged(0, b"\n".join([plain("a"), plain("b")]))) == [(1, plain("ab"))]


def test_everything_else_stays_byte_for_byte() -> None:
    assert list(merged(3, b"\n".join(ODD))) == list(enumerate(ODD, 3))


def test_a_chunk_alone_stays_byte_for_byte_however_it_is_spaced() -> None:
    line = b'{ "choices" : [{"delta":{"content":"a"},"index":0}] }'
    assert list(merged(0, line)) == [(0, line)]


@given(LINES)
def test_what_remains_is_the_same_answer_and_ends_at_the_last_offset(lines: list[bytes]) -> None:
    kept = list(merged(10, b"\n".join(lines)))
    offsets = [offset for offset, _ in kept]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] == 10 + len(lines) - 1
    assert answer([line for _, line in kept]) == answer(lines)


@given(LINES, st.data())
def test_whoever_goes_on_behind_any_offset_gets_the_same_answer(lines: list[bytes], data: st.DataObject) -> None:
    kept = list(merged(0, b"\n".join(lines)))
    cut = data.draw(st.integers(0, len(kept)))
    seen = [line for _, line in kept[:cut]]
    after = kept[cut - 1][0] if cut else -1
    rest = lines[after + 1 :]
    resumed = [line for _, line in merged(after + 1, b"\n".join(rest))] if rest else []
    assert answer(seen + resumed) == answer(lines)
