from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.embedded.overlap import Overlap
from headrace.types.chunk import ChunkView

_ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}], "id": "x"}
_STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "id": "x"}


def _text(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}], "id": "x"}


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {"choices": [], "usage": counts, "id": "x"}


def _trimmed(characters: int, chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Feed chunks, and check that each one's bytes and view say the same."""
    overlap = Overlap(characters)
    results = []
    for chunk in chunks:
        line = msgspec.json.encode(chunk)
        result = overlap.trim(line, msgspec.json.decode(line, type=ChunkView))
        if result is not None:
            assert msgspec.json.decode(result[0], type=ChunkView) == result[1]
            results.append(msgspec.json.decode(result[0]))
    return results


def test_the_beginning_goes_and_its_tokens_count_as_prompt() -> None:
    chunks = [_ROLE, _text(" qu"), _text("ick"), _text(" fox"), _STOP, _usage(40, 3)]
    assert _trimmed(5, chunks) == [_ROLE, _text("k"), _text(" fox"), _STOP, _usage(42, 1)]


def test_an_answer_that_ends_within_it_is_empty() -> None:
    assert _trimmed(9, [_ROLE, _text(" qu"), _STOP, _usage(40, 1)]) == [_ROLE, _STOP, _usage(41, 0)]


def test_a_chunk_that_bears_the_end_as_well_stays() -> None:
    assert _trimmed(2, [_text("ab", "length")]) == [_text("", "length")]


def test_what_comes_behind_it_is_not_touched() -> None:
    overlap = Overlap(1)
    overlap.trim(msgspec.json.encode(_text("a")), msgspec.convert(_text("a"), ChunkView))
    line, view = b'{ "choices" : [] , "other": 1e2 }', ChunkView()
    assert overlap.trim(line, view) == (line, view)


@given(st.text(min_size=1), st.text(), st.data())
def test_however_it_is_cut_the_rest_comes_whole(again: str, rest: str, data: st.DataObject) -> None:
    whole = again + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    texts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    results = _trimmed(len(again), [_ROLE, *map(_text, texts), _STOP, _usage(10, len(texts))])
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in results if c["choices"]) == rest
    assert results[0] == _ROLE
    usage = results[-1]["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == 10 + len(texts)
    assert usage["prompt_tokens"] > 10
