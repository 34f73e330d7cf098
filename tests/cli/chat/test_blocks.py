from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cli.chat.blocks import BlockSplitter, Finished, Kind, Piece, Raw


def split(*parts: str) -> list[Piece]:
    splitter = BlockSplitter()
    return [*(piece for part in parts for piece in splitter.feed(part)), *splitter.finish()]


def blocks(*parts: str) -> list[tuple[Kind, str]]:
    """Return kind and source of each block but gaps."""
    found = [piece for piece in split(*parts) if isinstance(piece, Finished)]
    return [(piece.kind, piece.source) for piece in found if piece.kind is not Kind.GAP]


NESTED = "- one\n  - inner\n\n    second paragraph\n- two\n\n- three\n"
TABLE = "| a | b |\n|---|--:|\n| 1 | 2 |\n"
CODE_IN_LIST = "1. Run\n   ```sh\n   make\n\nnot indented\n   ```\n2. Look\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n\nthree", [(Kind.PROSE, "one\ntwo\n"), (Kind.PROSE, "three")]),
        ("one\n \t\ntwo", [(Kind.PROSE, "one\n"), (Kind.PROSE, "two")]),
        ("# Title\ntext\n## More\n", [(Kind.HEADING, "# Title\n"), (Kind.PROSE, "text\n"), (Kind.HEADING, "## More\n")]),
        ("Title\n===\n", [(Kind.PROSE, "Title\n===\n")]),
        ("#hashtag\n", [(Kind.PROSE, "#hashtag\n")]),
        ("```py\na\n\n# b\n```\nc", [(Kind.FENCE, "```py\na\n\n# b\n```\n"), (Kind.PROSE, "c")]),
        ("~~~\n```\n~~\n~~~~\nc", [(Kind.FENCE, "~~~\n```\n~~\n~~~~\n"), (Kind.PROSE, "c")]),
        ("````\n```\n    ````\n````\n", [(Kind.FENCE, "````\n```\n    ````\n````\n")]),
        ("text\n```\ncode\n", [(Kind.PROSE, "text\n"), (Kind.FENCE, "```\ncode\n")]),
        ("```inline``` code\nmore\n", [(Kind.PROSE, "```inline``` code\nmore\n")]),
        ("~~struck~~ out\n", [(Kind.PROSE, "~~struck~~ out\n")]),
        (NESTED + "\nafter\n", [(Kind.LIST, NESTED), (Kind.PROSE, "after\n")]),
        (NESTED + "# Title\n", [(Kind.LIST, NESTED), (Kind.HEADING, "# Title\n")]),
        ("intro:\n* a\n* b\n", [(Kind.PROSE, "intro:\n"), (Kind.LIST, "* a\n* b\n")]),
        ("was built in\n1984. A year\n", [(Kind.PROSE, "was built in\n1984. A year\n")]),
        ("**bold** start\n-5 degrees\n1.5 is\n", [(Kind.PROSE, "**bold** start\n-5 degrees\n1.5 is\n")]),
        ("- a\nlazy\n\nb\n", [(Kind.LIST, "- a\nlazy\n"), (Kind.PROSE, "b\n")]),
        (CODE_IN_LIST, [(Kind.LIST, CODE_IN_LIST)]),
        ("- ```\n  a\n\nb\n  ```\nc\n", [(Kind.LIST, "- ```\n  a\n\nb\n  ```\nc\n")]),
        ("1. Run\n```sh\nmake\n```\n2. Look\n", [(Kind.LIST, "1. Run\n"), (Kind.FENCE, "```sh\nmake\n```\n"), (Kind.LIST, "2. Look\n")]),
        ("    a\n\n    b\n\nc", [(Kind.CODE, "    a\n\n    b\n"), (Kind.PROSE, "c")]),
        ("text\n    lazy\n", [(Kind.PROSE, "text\n    lazy\n")]),
        ("    ```\nc\n", [(Kind.CODE, "    ```\n"), (Kind.PROSE, "c\n")]),
        ("see\n\n" + TABLE + "\nafter", [(Kind.PROSE, "see\n"), (Kind.PROSE, TABLE), (Kind.PROSE, "after")]),
        ("> a\n> ```\n>\n> ```\n\nb", [(Kind.PROSE, "> a\n> ```\n>\n> ```\n"), (Kind.PROSE, "b")]),
        ("\n\n", []),
        ("", []),
    ],
)  # fmt: skip
def test_blocks_are_cut_the_same_however_the_text_is(text: str, expected: list[tuple[Kind, str]]) -> None:
    assert blocks(text) == expected
    assert blocks(*text) == expected


def test_a_fence_is_finished_with_its_last_line_and_a_paragraph_with_its_blank_line() -> None:
    splitter = BlockSplitter()
    assert splitter.feed("```\na\n```") == [Raw("```\n"), Raw("a\n"), Raw("```")]
    assert splitter.feed("\n") == [Raw("\n"), Finished("```\na\n```\n", Kind.FENCE)]
    assert splitter.feed("text\n") == [Raw("text\n")]
    assert splitter.feed("\n") == [Finished("text\n", Kind.PROSE), Raw("\n"), Finished("\n", Kind.GAP)]


def test_only_the_marker_of_a_line_is_held_back() -> None:
    splitter = BlockSplitter()
    assert splitter.feed("so ") == [Raw("so ")]
    assert splitter.feed("far\n") == [Raw("far\n")]
    assert splitter.feed("*") == []
    assert splitter.feed("*") == [Raw("**")]
    assert splitter.feed("bold") == [Raw("bold")]


def test_blank_lines_behind_a_list_are_held_back_until_it_is_known_whose_they_are() -> None:
    splitter = BlockSplitter()
    splitter.feed("- a\n")
    assert splitter.feed("\n") == []
    assert splitter.feed("- b\n") == [Raw("\n"), Raw("- b\n")]
    assert splitter.feed("\n") == []
    assert splitter.feed("c") == [Finished("- a\n\n- b\n", Kind.LIST), Raw("\n"), Finished("\n", Kind.GAP), Raw("c")]


# Text made of what matters, so that examples are Markdown more often than not.
MARKDOWN = st.lists(
    st.sampled_from(
        ["\n", "\n\n", "```", "~~~", "    ", "  ", "\t", "- ", "1. ", "3) ", "# ", "|", "a", "é ", "`", "*"]
    )
).map("".join)


@given(text=MARKDOWN | st.text(), cuts=st.lists(st.integers(0, 40)))
def test_nothing_is_lost_and_blocks_do_not_depend_on_cuts(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    parts = [text[a:b] for a, b in itertools.pairwise(places)]
    pieces = split(*parts)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Raw)) == text
    assert "".join(piece.source for piece in pieces if isinstance(piece, Finished)) == text
    assert blocks(*parts) == blocks(text)
    raw = ""
    for piece in pieces:
        if isinstance(piece, Raw):
            raw += piece.text
        else:
            assert piece.source == raw
            raw = ""
    assert raw == ""
