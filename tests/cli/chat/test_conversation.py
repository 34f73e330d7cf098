from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.cli.chat.conversation import Archive, Conversation, Turn
from headrace.errors import ClientRequestError


def test_what_was_said_is_sent_along_and_what_got_no_answer_is_not() -> None:
    turns = [Turn("one", "1"), Turn("two", "", "failed, upstream_closed"), Turn("three", "partl", "stopped")]
    assert Conversation("be brief", turns).messages("four") == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "partl"},
        {"role": "user", "content": "four"},
    ]
    assert Conversation().messages("x") == [{"role": "user", "content": "x"}]


def test_markdown_marks_what_is_not_whole_and_holds_no_control_characters(tmp_path: Path) -> None:
    conversation = Conversation("be brief", [Turn("one", "\x1b[31m1\n"), Turn("two", "partl", "stopped")])
    Archive().save(conversation, tmp_path / "said.md")
    assert (tmp_path / "said.md").read_text() == (
        "## System\n\nbe brief\n\n## You\n\none\n\n## Answer\n\n1\n\n## You\n\ntwo\n\n## Answer\n\npartl\n\n*(stopped)*\n"
    )


def test_json_holds_everything(tmp_path: Path) -> None:
    Archive().save(Conversation(None, [Turn("one", "1", "stopped")]), tmp_path / "said.json")
    assert json.loads((tmp_path / "said.json").read_text()) == {
        "system": None,
        "turns": [{"prompt": "one", "answer": "1", "ending": "stopped"}],
    }


def test_no_file_but_its_own_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("precious")
    archive, conversation = Archive(), Conversation()
    with pytest.raises(ClientRequestError, match=r"mine\.md exists already"):
        archive.save(conversation, tmp_path / "mine.md")
    assert (tmp_path / "mine.md").read_text() == "precious"
    archive.save(conversation, tmp_path / "said.md")
    conversation.turns.append(Turn("one", "1"))
    archive.save(conversation, tmp_path / "said.md")
    assert "one" in (tmp_path / "said.md").read_text()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClientRequestError, match="cannot be written"):
        Archive().save(Conversation(), tmp_path / "nowhere" / "said.md")
