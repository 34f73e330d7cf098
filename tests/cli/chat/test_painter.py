from __future__ import annotations

import io
import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.chat.screen import Screen

from headrace.cli.chat.blocks import BlockSplitter, Finished, Kind
from headrace.cli.chat.painter import MarkdownPainter, PlainPainter
from headrace.cli.chat.rows import rows_of
from headrace.cli.look import Look

PLAIN = Look(is_styled=False)


def marked(source: str, kind: Kind, width: int) -> str:
    """Render a block as something that can be told from its source, and is never wider than the screen."""
    lines = source.rstrip("\n").upper().replace("\t", " ").split("\n")
    return "\n".join(f"{kind.name[0]}{line}"[:width] for line in lines)


def painter_on(screen: Screen) -> MarkdownPainter:
    return MarkdownPainter(screen, PLAIN, size=lambda: screen.size, render_block=marked)


def test_a_block_is_shown_as_it_comes_and_rendered_when_it_ends() -> None:
    screen = Screen(20, 10)
    painter = painter_on(screen)
    painter.write("some te")
    assert screen.text == "some te"
    painter.write("xt\n")
    assert screen.text == "some text\n"
    painter.write("\n```\ncode")
    assert screen.text == "PSOME TEXT\n\n```\ncode"
    painter.finish()
    assert screen.text == "PSOME TEXT\n\nF```\nFCODE\n"
    assert screen.column == 0


def test_rows_that_wrapped_are_replaced_too() -> None:
    screen = Screen(10, 10)
    painter = painter_on(screen)
    painter.write("before\n\n" + "x" * 25 + "\n" + "水" * 5 + "é\n\n")
    assert screen.text.rstrip("\n") == "PBEFORE\n\nPXXXXXXXXX\nP水水水水\n水É"


def test_a_block_taller_than_the_screen_stays_as_it_came() -> None:
    screen = Screen(20, 4)
    painter = painter_on(screen)
    painter.write("a\nb\nc\n\na\nb\nc\nd\n\nend")
    painter.finish()
    assert screen.text == "PA\nPB\nPC\n\na\nb\nc\nd\n\nPEND\n"


@pytest.mark.parametrize("again", [os.terminal_size((30, 10)), os.terminal_size((20, 11))])
def test_a_block_during_which_the_window_changed_stays_as_it_came(again: os.terminal_size) -> None:
    screen = Screen(20, 10)
    painter = painter_on(screen)
    painter.write("some ")
    before, screen.size = screen.size, again
    painter.write("text ")
    screen.size = before
    painter.write("came\n\nmore\n\n")
    assert screen.text == "some text came\n\nPMORE\n\n"


def test_a_block_whose_width_nobody_knows_stays_as_it_came() -> None:
    screen = Screen(20, 10)
    painter = painter_on(screen)
    painter.write("a\u200d👩" * 8 + "\n\n" + "a\u200d👩" * 6 + "\n\n")
    assert screen.text == "a👩a👩a👩a👩a👩a👩a\n👩a👩\n\nPA👩A👩A👩A👩A👩A👩\n\n"


def test_a_block_with_nothing_to_see_stays_as_it_came() -> None:
    screen = Screen(20, 10)
    painter = MarkdownPainter(screen, PLAIN, size=lambda: screen.size, render_block=lambda *_: "")
    painter.write("[a]: b\n\n")
    assert screen.text == "[a]: b\n\n"


def test_tabs_take_as_many_columns_as_they_are_counted() -> None:
    screen = Screen(10, 10)
    painter = painter_on(screen)
    painter.write("above\n\na\tb\tc")
    assert screen.text == "PABOVE\n\na       b\n      c"
    painter.write("\n\n")
    assert screen.text == "PABOVE\n\nPA B C\n\n"


def test_notices_stand_before_the_block_that_they_came_in() -> None:
    screen = Screen(40, 10)
    painter = painter_on(screen)
    painter.write("some te")
    painter.notice("connection lost")
    painter.notice("resumed")
    assert screen.text == "some te\nconnection lost\nresumed\n"
    painter.write("xt\n\n")
    assert screen.text == "connection lost\nresumed\nPSOME TEXT\n\n"
    painter.notice("again")
    assert screen.text == "connection lost\nresumed\nPSOME TEXT\n\nagain\n"


LINES = st.text(alphabet="ab é水\t-#`", max_size=30)


@given(
    lines=st.lists(LINES | st.just("") | st.just("```"), max_size=12),
    cuts=st.lists(st.integers(0, 100), max_size=8),
    columns=st.integers(8, 20),
    rows=st.integers(2, 12),
)
def test_what_is_left_is_every_block_rendered_or_as_it_came(
    lines: list[str], cuts: list[int], columns: int, rows: int
) -> None:
    text = "\n".join(lines)
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    screen = Screen(columns, rows)
    painter = painter_on(screen)
    for begin, end in itertools.pairwise(places):
        painter.write(text[begin:end])
    painter.finish()

    expected = Screen(columns, 1000)
    splitter = BlockSplitter()
    for piece in [*splitter.feed(text), *splitter.finish()]:
        if isinstance(piece, Finished):
            expected.write(_left(piece, columns, rows))
    assert screen.text.rstrip("\n") == expected.text.rstrip("\n")


def _left(block: Finished, columns: int, rows: int) -> str:
    """Return what a block leaves on the screen."""
    *whole, last = block.source.split("\n")
    up = (
        sum(rows_of(line.expandtabs(), columns) or 0 for line in whole) + (rows_of(last.expandtabs(), columns) or 0) - 1
    )
    fits = block.kind is not Kind.GAP and up < rows
    return marked(block.source, block.kind, columns) + "\n" if fits else block.source.expandtabs()


def test_plain_text_has_no_escapes_and_ends_with_its_line() -> None:
    out = io.StringIO()
    painter = PlainPainter(out, out)
    painter.write("some te")
    painter.notice("connection lost")
    painter.write("xt")
    painter.finish()
    painter.finish()
    assert out.getvalue() == "some te\nconnection lost\nxt\n"


def test_notices_may_go_elsewhere() -> None:
    out, notices = io.StringIO(), io.StringIO()
    painter = PlainPainter(out, notices)
    painter.write("some te")
    painter.notice("connection lost")
    painter.write("xt\n")
    painter.finish()
    assert (out.getvalue(), notices.getvalue()) == ("some text\n", "connection lost\n")
