from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.cli.chat.prompt import history_file, read_message


def typed(*lines: str) -> Callable[[bool], str]:
    """Return a reader of these lines that checks which prompt each of them is asked with."""
    waiting = list(lines)

    def read_line(is_next: bool) -> str:
        assert is_next == (len(waiting) < len(lines))
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    return read_line


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["one"], "one"),
        ([" /quit"], " /quit"),
        (["one\\", "two\\", "three"], "one\ntwo\nthree"),
        (['"""one', "two\\", "", 'three"""'], "one\ntwo\\\n\nthree"),
        (['"""', "one", '"""  '], "one"),
        (['"""one"""'], "one"),
        (['say """one'], 'say """one'),
    ],
)
def test_a_message_may_have_several_lines(lines: list[str], message: str) -> None:
    assert read_message(typed(*lines)) == message


@pytest.mark.parametrize("lines", [[], ["one\\"], ['"""one']])
def test_the_end_of_input_ends_it_anywhere(lines: list[str]) -> None:
    read_line = typed(*lines)
    with pytest.raises(EOFError):
        read_message(read_line if lines else lambda _: typed()(False))


def test_the_history_is_where_state_belongs() -> None:
    assert history_file({"XDG_STATE_HOME": "/state"}) == Path("/state/headrace/chat_history")
    assert history_file({"XDG_STATE_HOME": "state", "HOME": "/home/a"}) == Path(
        "/home/a/.local/state/headrace/chat_history"
    )
    assert history_file({}) is None
