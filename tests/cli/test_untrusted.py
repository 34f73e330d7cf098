from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cli.untrusted import MAX_PARAMETERS, MAX_STRING, ControlStripper, json_text, one_line, stripped

HOSTILE = {
    "colour": ("a\x1b[31mred\x1b[0m", "ared"),
    "private CSI": ("a\x1b[?1049hb\x1b[>4;1mc", "abc"),
    "CSI with an intermediate byte": ("a\x1b[2 qb", "ab"),
    "CSI of one character": ("a\x9b2Jb", "ab"),
    "title, ended by BEL": ("a\x1b]0;title\ab", "ab"),
    "clipboard, ended by ST": ("a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"),
    "clipboard, C1 both": ("a\x9d52;c;ZXZpbA==\x9cb", "ab"),
    "link": ("\x1b]8;;http://evil.example\x1b\\text\x1b]8;;\x1b\\", "text"),
    "DCS": ("a\x1bPq#0;2;0\x1b\\b\x90x\x9cc", "abc"),
    "SOS, PM, APC": ("a\x1bXx\x1b\\\x1b^x\x1b\\\x1b_x\x1b\\b", "ab"),
    "one character": ("a\x1bcb\x1b7c\x1b=d", "abcd"),
    "character set": ("a\x1b(0b\x1b#8c", "abc"),
    "C0": ("a\x00\b\v\f\r\x7fb", "ab"),
    "line feeds and tabs": ("a\tb\r\nc\n", "a\tb\nc\n"),
    "other C1": ("a\x84\x85\x9cb", "ab"),
    "surrogate": ("a\ud800b", "ab"),
    "a string ended by another sequence": ("a\x1b]0;x\x1b[31mb", "ab"),
    "a string cancelled": ("a\x1b]0;x\x18b", "ab"),
    "a sequence cut by a line feed": ("a\x1b[31\nb\x1b\nc", "a\nb\nc"),
    "a sequence within a sequence": ("a\x1b[3\x1b[1mb\x1b\x1b[1mc", "abc"),
    "a string without an end": ("a\x1b]0;x y z\nb", "a\nb"),
    "characters of other scripts": ("é 水車 👩‍👩‍👧 \u202e", "é 水車 👩‍👩‍👧 \u202e"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_commands_the_terminal_is_taken_out(name: str) -> None:
    text, expected = HOSTILE[name]
    assert stripped(text) == expected
    stripper = ControlStripper()
    assert "".join(stripper.feed(character) for character in text) == expected


@pytest.mark.parametrize(("begin", "most"), [("\x1b]0;", MAX_STRING), ("\x1bP", MAX_STRING), ("\x1b[", MAX_PARAMETERS)])
def test_a_sequence_without_an_end_does_not_take_all_that_follows(begin: str, most: int) -> None:
    assert stripped(begin + "1" * most * 3).endswith("1" * most)


FRAGMENTS = st.sampled_from([*"\x1b\x9b\x9d\x9c\a\n[]P(0m;\\a", "\x1b[", "\x1b]", "\x1b\\", "text", "\r\n"])


@given(parts=st.lists(FRAGMENTS | st.text(alphabet=st.characters())))
def test_cuts_change_nothing_and_no_control_character_is_left(parts: list[str]) -> None:
    whole = stripped("".join(parts))
    stripper = ControlStripper()
    assert "".join(stripper.feed(part) for part in parts) == whole
    assert not [character for character in whole if unicodedata.category(character) in {"Cc", "Cs"} - set("\n\t")
                and character not in "\n\t"]  # fmt: skip


@given(text=st.text())
def test_text_without_control_characters_is_left_as_it_is(text: str) -> None:
    plain = "".join(character for character in text if unicodedata.category(character) not in {"Cc", "Cs"})
    assert stripped(plain) == plain


def test_one_line_is_bounded_and_has_no_line_feeds() -> None:
    assert one_line("a\x1b[31m\n b\r\nc ") == "a b c"
    assert one_line("x" * 600, most=10) == "x" * 9 + "…"


@given(text=st.text(alphabet=st.characters()))
def test_json_is_safe_to_show_and_means_the_same(text: str) -> None:
    shown = json_text({"text": text})
    assert not [character for character in shown if unicodedata.category(character) in {"Cc", "Cs"}]
    assert json.loads(shown) == {"text": text}
