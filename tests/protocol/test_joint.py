"""Joints: what is new of a text, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.joint import Joint

SPACES = st.text(alphabet=" \n\t\r\u00a0\u2003\u3000\u0085", max_size=4)
WORDS = st.text(alphabet="ab\u0107\u200b\U0001f600 \n", max_size=8)


def taken(joint: Joint, pieces: list[str]) -> str:
    return "".join([joint.take(piece) for piece in pieces])


def pieces_of(text: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(WORDS, WORDS, st.data())
def test_what_follows_the_prefix_is_new(prefix: str, rest: str, data: st.DataObject) -> None:
    joint = Joint(prefix=prefix)
    assert taken(joint, pieces_of(prefix + rest, data)) == rest
    assert joint.is_matched
    assert joint.is_done


@given(WORDS, WORDS, st.data())
def test_of_a_text_that_differs_nothing_is_new(prefix: str, text: str, data: st.DataObject) -> None:
    joint = Joint(prefix=prefix)
    new = taken(joint, pieces_of(text, data))
    assert joint.is_broken == (not text.startswith(prefix) and not prefix.startswith(text))
    assert new == (text[len(prefix) :] if text.startswith(prefix) else "")


def test_a_broken_joint_stays_broken() -> None:
    joint = Joint(prefix="ab")
    assert taken(joint, ["x", "ab", "abc"]) == ""
    assert joint.is_broken
    assert not joint.is_matched


@given(SPACES, SPACES, st.sampled_from(["", "x", "x y ", "\u200b "]), st.data())
def test_white_space_is_neither_doubled_nor_lost(space: str, leading: str, rest: str, data: st.DataObject) -> None:
    expected = leading[len(space) :] + rest if leading.startswith(space) else rest
    joint = Joint(space=space)
    assert taken(joint, pieces_of(leading + rest, data)) == expected


@pytest.mark.parametrize(
    ("delivered", "continued", "whole"),
    [
        ("\n\n", "\n\nab", "\n\nab"),
        ("\n\n", "\nab", "\n\nab"),
        ("\n", "\n\nab", "\n\nab"),
        ("\n    ", " ab", "\n    ab"),
        (" ", "ab", " ab"),
        (" ", "", " "),
        (" ", " ", " "),
        ("", "  ab", "  ab"),
    ],
)
def test_the_white_space_that_was_delivered_stands(delivered: str, continued: str, whole: str) -> None:
    assert delivered + taken(Joint(space=delivered), list(continued)) == whole


def test_white_space_behind_a_prefix_is_reconciled_too() -> None:
    joint = Joint(prefix="ab", space=" ")
    assert taken(joint, ["a", "b", " ", " c"]) == " c"


def test_white_space_within_the_new_text_is_new() -> None:
    joint = Joint(space=" ")
    assert taken(joint, ["a", " ", "b"]) == "a b"


@pytest.mark.parametrize("pieces", [["\ud83d", "\ude00b"], ["\U0001f600b"], ["\U0001f600", "b"]])
@pytest.mark.parametrize("prefix", ["\U0001f600", "\ud83d\ude00"])
def test_a_character_cut_in_half_is_the_same_character(prefix: str, pieces: list[str]) -> None:
    assert taken(Joint(prefix=prefix), pieces) == "b"


def test_a_prefix_that_ends_inside_a_character_leaves_the_other_half() -> None:
    assert taken(Joint(prefix="a\ud83d"), ["a\U0001f600b"]) == "\ude00b"
