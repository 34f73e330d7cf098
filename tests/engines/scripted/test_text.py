from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.engines.scripted.script import Script
from headrace.engines.scripted.text import pieces_of, text_tokens, words_of


@given(st.text())
def test_words_joined_are_the_text(text: str) -> None:
    words = words_of(text)
    assert "".join(words) == text
    assert all(words)


def test_words_keep_the_white_space_before_them() -> None:
    assert words_of("Hi  you\n all ") == ["Hi", "  you", "\n all", " "]


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers())
def test_a_shorter_text_is_how_the_longer_one_begins(one: int, other: int, seed: int) -> None:
    short, long = sorted((one, other))
    pieces = list(pieces_of(Script(tokens=long), seed=seed, index=0))
    assert list(pieces_of(Script(tokens=short), seed=seed, index=0)) == pieces[:short]
    assert len(pieces) == long == text_tokens(Script(tokens=long))


def test_choices_have_their_own_words() -> None:
    assert list(pieces_of(Script(), seed=1, index=0)) != list(pieces_of(Script(), seed=1, index=1))
