"""The text that clients count."""

from __future__ import annotations

import pytest
from bench.prose import MARK, prose

from headrace.engines.scripted.plan import words_of


@pytest.mark.parametrize("words", [1, 256, 5000])
def test_each_token_of_the_simulator_has_one_mark(words: int) -> None:
    tokens = words_of(prose(words, mark=MARK))
    assert len(tokens) == words
    assert all(token.count(MARK.decode()) == 1 for token in tokens)


def test_text_has_no_mark_of_its_own() -> None:
    assert MARK.decode() not in prose(5000)
