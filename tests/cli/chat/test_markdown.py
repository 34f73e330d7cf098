from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cli.chat.blocks import BlockSplitter, Finished, Kind
from headrace.cli.chat.markdown import render


def shown(source: str, kind: Kind = Kind.PROSE, width: int = 60) -> str:
    """Return a block as it looks without its styles."""
    return without_styles(render(source, kind, width))


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize(
    ("source", "kind", "expected"),
    [
        ("some **bold** and `code`\nmore ~~text~~\n", Kind.PROSE, "some bold and code more text"),
        ("# Title\n", Kind.HEADING, "Title"),
        ("1. one\n2. two\n   - in\n", Kind.LIST, " 1 one\n 2 two\n    • in"),
        ("3. three\n4. four\n", Kind.LIST, " 3 three\n 4 four"),
        ("- a\n\n  ```sh\n  ls\n  ```\n", Kind.LIST, " • a\n   ls"),
        ("| a | b |\n|---|--:|\n| 1 | 23 |\n", Kind.PROSE, " a   b\n ─────\n 1  23"),
        ("> so\n> be it\n", Kind.PROSE, "▌ so be it"),
        ("    x = 1\n", Kind.CODE, "x = 1"),
    ],
)
def test_blocks_are_rendered(source: str, kind: Kind, expected: str) -> None:
    assert shown(source, kind) == expected


def test_styles_are_escape_sequences() -> None:
    assert render("**bold**", Kind.PROSE, 60) == "\x1b[1mbold\x1b[0m"


@pytest.mark.parametrize(
    "source",
    [
        "```python\nx = 1\n\n\ty  # tab\n```\n".replace("\t", "    "),
        "```\n\n  a\n```\n",
        "~~~unknown-language title=x\na < b\n~~~\n",
        "```py\nnot closed",
        "```",
        "````md\n```\ninner\n```\n````\n",
        "```\n" + "wide" * 40 + "\n```\n",
    ],
)
def test_fenced_code_keeps_its_lines_so_that_it_can_be_copied(source: str) -> None:
    assert shown(source, Kind.FENCE) == source.rstrip("\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<div>hidden?</div>", "<div>hidden?</div>"),
        ("a <b>bold</b> &amp; &#27;[31m", "a <b>bold</b> &amp; &#27;[31m"),
        ("[a]: http://b", "[a]: http://b"),
        ("[text](http://example.com)", "text (http://example.com)"),
        ("![picture](http://example.com/x.png)", "!picture (http://example.com/x.png)"),
    ],
)
def test_nothing_of_the_source_vanishes(source: str, expected: str) -> None:
    assert shown(source) == expected


def test_long_words_in_tables_are_broken_instead_of_cut() -> None:
    table = shown("| a | b |\n|---|---|\n| " + "x" * 40 + " | " + "y" * 40 + " |\n", width=30)
    assert (table.count("x"), table.count("y")) == (40, 40)


@pytest.mark.parametrize("source", ["<https://x/%1b%5b31mred>", "[a](http://x/%1b%5b31m)", '[a](http://x "\\u001b")'])
def test_no_escape_comes_out_of_what_the_parser_decodes(source: str) -> None:
    assert "\x1b" not in shown(source)


MARKDOWN = st.lists(
    st.sampled_from(
        [
            *("\n", "\n\n", "```", "```py\n", "~~~", "    ", "- ", "1. ", "# ", "> ", "|", "|---|", "---", "===", "\\"),
            *(
                "`",
                "*",
                "**",
                "_",
                "[",
                "](",
                "]",
                ")",
                "![",
                "<",
                ">",
                "</b>",
                "<!--",
                "&#13;",
                "%1b",
                "é ",
                "水車",
                "a ",
            ),
            "| a | b |\n|---|---|\n| 1 | 2 |\n",
        ]
    )
).map("".join)


@given(text=MARKDOWN, width=st.sampled_from([10, 40, 80]))
def test_any_markdown_is_rendered_without_control_characters(text: str, width: int) -> None:
    splitter = BlockSplitter()
    for block in [*splitter.feed(text), *splitter.finish()]:
        if isinstance(block, Finished) and block.kind is not Kind.GAP:
            rendered = without_styles(render(block.source, block.kind, width))
            assert not [c for c in rendered if unicodedata.category(c) == "Cc" and c != "\n"]
