from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.client.transcript import Transcript
from headrace.errors import UpstreamProtocolError
from headrace.protocol.json_object import well_formed


def chunk(text: Any = None, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, **choice}]}


def test_entry_that_is_here_already_is_left_out() -> None:
    transcript = Transcript()
    for offset in (0, 1, 0, 1, 2):
        transcript.add(offset, chunk("ha"))
    assert transcript.text == "hahaha"
    assert transcript.add(2, chunk("ha")) is None


@pytest.mark.parametrize("offset", [2, 3, 100])
def test_hole_raises_and_changes_nothing(offset: int) -> None:
    transcript = Transcript()
    transcript.add(0, chunk("a"))
    with pytest.raises(UpstreamProtocolError, match=f"offset {offset} behind 0"):
        transcript.add(offset, chunk("b"))
    assert (transcript.text, transcript.last_offset) == ("a", 0)


def test_merged_entries_jump_but_the_end_must_follow() -> None:
    transcript = Transcript(is_merged=True)
    transcript.add(7, chunk("abc"))
    transcript.check_next(8)
    with pytest.raises(UpstreamProtocolError):
        transcript.check_next(9)


def test_text_is_that_of_choice_0_in_any_shape() -> None:
    transcript = Transcript()
    parts = [{"type": "text", "text": "b"}, {"type": "image"}, {"type": "text", "text": "c"}]
    chunks = [
        chunk("a"),
        chunk(parts),
        {"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "d"}}]},
        {"choices": [{"index": 0, "text": "e"}]},
        {"choices": []},
        {"choices": [{"index": 0, "delta": None}]},
        {},
    ]
    texts = [entry.text for offset, each in enumerate(chunks) if (entry := transcript.add(offset, each))]
    assert texts == ["a", "bc", "d", "e", "", "", ""]
    assert transcript.text == "abcde"


def test_tool_calls_usage_and_finish_reason_are_kept() -> None:
    transcript = Transcript()
    call = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a"'}}
    transcript.add(0, {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    transcript.add(
        1, {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}}]}
    )
    transcript.add(2, chunk(finish_reason="tool_calls"))
    transcript.add(3, {"choices": [], "usage": {"completion_tokens": 9}})
    assert transcript.tool_calls[0]["function"] == {"name": "look", "arguments": '{"a":1}'}
    assert (transcript.finish_reason, transcript.usage) == ("tool_calls", {"completion_tokens": 9})


@given(st.text(alphabet="aé😀\ud83d\ude00", max_size=20), st.data())
def test_text_cut_inside_of_characters_is_whole_and_always_printable(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    cuts = sorted({0, len(units), *data.draw(st.lists(st.integers(0, len(units) // 2).map(lambda unit: unit * 2)))})
    transcript, given_text = Transcript(), ""
    for offset, (start, end) in enumerate(pairwise(cuts)):
        entry = transcript.add(offset, chunk(units[start:end].decode("utf-16-le", "surrogatepass")))
        assert entry is not None
        entry.text.encode()
        given_text += entry.text
    expected = well_formed(text)
    assert given_text == transcript.text
    assert transcript.text in {expected, expected[:-1]}
    assert transcript.text == expected or expected[-1] == "\ufffd"
