from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.embedded.partial import MAX_AGAIN, Partial, beginning_with, partial_answer, split_end

_QUESTION = {"role": "user", "content": "Why?"}


def _assistant(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("The quic", " quic"),
        ("The quick ", " "),
        ("The", "The"),
        ("end.\n\n", "\n\n"),
        ("end.\n\nThe", "\n\nThe"),
        ("end.", "."),
        ("(hel", "hel"),
        ("don't", "t"),
        ("the na\u00efv", " na\u00efv"),
        ("snake_", "_"),
        ("1, 2", ""),
        ("1, 2,", ","),
        ("1, 2, ", " "),
        ("", ""),
        ("\n", "\n"),
    ],
)
def test_the_last_word_or_the_white_space_at_the_end_is_taken_back(text: str, again: str) -> None:
    assert split_end(text, stops=[]) == Partial(text[: len(text) - len(again)], again)


@pytest.mark.parametrize("text", ["a " + "x" * (MAX_AGAIN + 1), "\u6f22" * 1000, "a\x00", "a \x1f"])
def test_what_is_no_word_stays(text: str) -> None:
    assert split_end(text, stops=[]) == Partial(text, "")


def test_a_word_that_would_end_the_answer_stays() -> None:
    assert split_end("the fox", stops=["", "ox"]) == Partial("the fox", "")
    assert split_end("the fox", stops=["fox jumps"]) == Partial("the", " fox")


@given(st.text(st.characters(codec="utf-8")) | st.text(" \n\taB1.,_\"'\\"), st.lists(st.text(max_size=2)))
def test_no_character_is_lost_and_little_is_written_again(text: str, stops: list[str]) -> None:
    kept, again = split_end(text, stops=stops)
    assert kept + again == text
    assert len(again) <= MAX_AGAIN
    assert not again or kept == kept.rstrip()
    assert not any(stop and stop in again for stop in stops)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([_QUESTION, _assistant("Because")], "Because"),
        ([_QUESTION, _assistant([{"type": "text", "text": "Because"}])], "Because"),
        ([_QUESTION, _assistant("Because", tool_calls=None)], "Because"),
        ([_assistant("Because")], "Because"),
        ([_QUESTION, _assistant("")], ""),
        ([_QUESTION, _assistant(None)], ""),
        ([_QUESTION, _assistant([])], ""),
        ([_QUESTION], None),
        ([_assistant("Because"), _QUESTION], None),
        ([_QUESTION, {"role": "assistant"}], None),
        ([_QUESTION, _assistant("", tool_calls=[{"id": "a"}])], None),
        ([_QUESTION, _assistant("a"), _assistant("")], None),
        ([_QUESTION, _assistant([{"type": "refusal", "refusal": "No"}])], None),
        ([_QUESTION, _assistant([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], None),
        ([_QUESTION, _assistant([5])], None),
        ([_QUESTION, _assistant([{"type": "text", "text": 5}])], None),
        ([_QUESTION, _assistant({"a": 5})], None),
    ],
)
def test_an_answer_to_go_on_with_is_one_text_of_the_assistant_at_the_end(
    messages: list[dict[str, Any]], text: str | None
) -> None:
    assert partial_answer(messages) == text


def test_what_has_a_meaning_in_a_grammar_is_escaped() -> None:
    assert beginning_with('a"b\\\n\r\t') == 'root ::= "a\\"b\\\\\\n\\r\\t" .*'
