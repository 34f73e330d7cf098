from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.cli.chat.answer import Answered
from headrace.cli.chat.conversation import Conversation
from headrace.cli.chat.session import COMMANDS, HELP, Session
from headrace.cli.look import Look
from headrace.client import Result
from headrace.errors import UpstreamError
from headrace.types.outcome import State

Typed = str | type[BaseException]


class Answers:
    """Answers with numbers, or as it is told to."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.next: Answered | None = None

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> Answered:
        self.asked.append([message["content"] for message in messages])
        answered, self.next = self.next, None
        return answered or Answered(Result(text=str(len(self.asked)), state=State.COMPLETED, cause="stop", ttft_s=0.5))


def talk(*typed: Typed, answers: Answers | None = None, save_to: Path | None = None) -> tuple[Answers, list[str]]:
    """Return who was asked, and the lines said, for what somebody types; Ctrl-D at the end of it."""
    waiting = list(typed)
    said: list[str] = []
    answers = answers or Answers()

    def read() -> str:
        entered = waiting.pop(0) if waiting else EOFError
        if isinstance(entered, str):
            return entered
        raise entered

    Session(
        answers=answers,
        read=read,
        say=said.append,
        look=Look(is_styled=False),
        conversation=Conversation(),
        save_to=save_to,
    ).run()
    assert not waiting
    return answers, said


def test_questions_are_asked_with_what_was_said_before() -> None:
    answers, said = talk(" hello ", "", "more")
    assert answers.asked == [["hello"], ["hello", "1", "more"]]
    assert said == ["first token after 0.50 s", "", "first token after 0.50 s", "", ""]


def test_system_text_is_set_shown_and_removed() -> None:
    answers, said = talk("/system be brief", "a", "/system", "/system -", "/system", "b")
    assert answers.asked == [["be brief", "a"], ["a", "1", "b"]]
    assert said[0] == "system text set"
    assert said[3:6] == ["be brief", "system text removed", "there is no system text"]


def test_clear_forgets() -> None:
    answers, _ = talk("a", "/clear", "b")
    assert answers.asked == [["a"], ["b"]]


def test_retry_asks_the_last_question_again() -> None:
    answers, said = talk("/retry", "a", "b", "/retry")
    assert said[0] == "nothing was asked yet"
    assert answers.asked == [["a"], ["a", "1", "b"], ["a", "1", "b"]]


def test_quit_leaves_and_only_letters_make_a_command(tmp_path: Path) -> None:
    answers, said = talk("/etc/passwd is what?", " /quit", "/nothing", "/quit")
    assert answers.asked == [["/etc/passwd is what?"], ["/etc/passwd is what?", "1", "/quit"]]
    assert said[-1] == "there is no /nothing; /help lists what there is"


def test_help_lists_every_command() -> None:
    _, said = talk("/help")
    assert said[0] == HELP
    assert set(COMMANDS) == {"/help", "/system", "/clear", "/retry", "/save", "/quit"}
    assert all(len(line) < 80 for line in HELP.splitlines())


def test_ctrl_c_twice_leaves_unless_something_is_asked_in_between() -> None:
    answers, said = talk(KeyboardInterrupt, "a", KeyboardInterrupt, KeyboardInterrupt)
    assert answers.asked == [["a"]]
    assert said.count("\nCtrl-C again, Ctrl-D or /quit leaves") == 2


def test_a_stopped_answer_is_kept_and_marked(tmp_path: Path) -> None:
    answers = Answers()
    answers.next = Answered(Result(text="so fa", state=State.CANCELLED, cause="client_stop"), was_stopped=True)
    _, said = talk("a", f"/save {tmp_path / 'said.md'}", "b", answers=answers)
    assert answers.asked[1] == ["a", "so fa", "b"]
    assert said[:2] == ["stopped", ""]
    assert "so fa\n\n*(stopped)*\n" in (tmp_path / "said.md").read_text()


def test_a_broken_answer_is_told_and_kept() -> None:
    answers = Answers()
    cut = Result(text="so fa", state=State.TRUNCATED, cause="upstream_closed")
    answers.next = Answered(cut, UpstreamError("the engine broke off"))
    _, said = talk("a", "b", answers=answers)
    assert said[:2] == ["the engine broke off (truncated, upstream_closed)", ""]
    assert answers.asked[1] == ["a", "so fa", "b"]


def test_an_answer_that_was_whole_before_the_stop_is_whole() -> None:
    answers = Answers()
    answers.next = Answered(Result(text="all", state=State.COMPLETED, cause="stop"), was_stopped=True)
    _, said = talk("a", answers=answers)
    assert "stopped" not in said


def test_saving_says_where_and_what_went_wrong(tmp_path: Path) -> None:
    taken = tmp_path / "taken.md"
    taken.write_text("precious")
    _, said = talk("/save", f"/save {taken}", f"/save {tmp_path / 'said.md'}")
    assert said[:3] == [
        "/save needs the name of a file",
        f"{taken} exists already; choose another name",
        f"saved to {tmp_path / 'said.md'}",
    ]


def test_every_answer_is_saved_where_that_is_wanted(tmp_path: Path) -> None:
    talk("a", "b", save_to=tmp_path / "said.json")
    assert (tmp_path / "said.json").read_text().count('"prompt"') == 2
