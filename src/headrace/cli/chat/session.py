"""A conversation in the terminal: questions, answers, commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from headrace.cli.chat.answer import Answered
from headrace.cli.chat.conversation import Archive, Conversation, Turn
from headrace.cli.chat.ending import ending_of, summary, trouble
from headrace.cli.look import Look
from headrace.cli.untrusted import one_line
from headrace.errors import RelayError

HELP = """\
/system TEXT   what the model is told first; alone shows it, "-" removes it
/retry         ask the last question again
/clear         forget what was said
/save FILE     save what was said: JSON for FILE.json, else Markdown
/help          this list
/quit          leave; so does Ctrl-D

A message may have several lines: end them with \\, or put it between \"\"\".
Ctrl-C stops an answer. A line that begins with a space is no command."""

COMMANDS = tuple(re.findall(r"^(/\w+)", HELP, flags=re.MULTILINE))

_COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)


class Asks(Protocol):
    """Who answers: ``Answers``."""

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> Answered:
        """Show the answer and return what became of it."""


class Session:
    """Reads questions and commands until the user leaves.

    Args:
        answers: Who answers.
        read: Reads one message; raises EOFError or KeyboardInterrupt.
        say: Shows a line.
        look: Of lines.
        conversation: What was said before.
        save_to: Saved to after every answer; None saves when asked.
    """

    def __init__(
        self,
        *,
        answers: Asks,
        read: Callable[[], str],
        say: Callable[[str], None],
        look: Look,
        conversation: Conversation,
        save_to: Path | None = None,
    ) -> None:
        self._answers = answers
        self._read = read
        self._say = say
        self._look = look
        self._conversation = conversation
        self._save_to = save_to
        self._archive = Archive()
        self._commands: Mapping[str, Callable[[str], None]] = {
            "help": self._help,
            "system": self._system,
            "clear": self._clear,
            "retry": self._retry,
            "save": self._save,
        }

    def run(self) -> None:
        """Talk until ``/quit``, Ctrl-D, or Ctrl-C twice."""
        interrupts = 0
        while True:
            try:
                message = self._read()
            except EOFError:
                self._say("")
                return
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts == 2:
                    self._say("")
                    return
                self._say("\n" + self._look.dim("Ctrl-C again, Ctrl-D or /quit leaves"))
                continue
            interrupts = 0
            command = _COMMAND.fullmatch(message.rstrip())
            if command is not None and command[1] == "quit":
                return
            try:
                if command is not None:
                    self._do(command[1], (command[2] or "").strip())
                elif message.strip():
                    self._ask(message.strip())
            except RelayError as error:
                self._say(self._look.red(one_line(error.message)))

    def _do(self, name: str, text: str) -> None:
        act = self._commands.get(name)
        if act is None:
            self._say(self._look.red(f"there is no /{name}; /help lists what there is"))
        else:
            act(text)

    def _ask(self, prompt: str) -> None:
        answered = self._answers.ask(self._conversation.messages(prompt))
        result, error = answered.result, answered.error
        is_stopped = answered.was_stopped and not answered.is_whole
        ending = None if answered.is_whole else "stopped" if is_stopped else ending_of(result)
        self._conversation.turns.append(Turn(prompt, result.text, ending))
        if error is not None and not is_stopped:
            self._say(self._look.red(trouble(error, result)))
        line = summary(result, was_stopped=is_stopped)
        if line:
            self._say(self._look.dim(line))
        self._say("")
        if self._save_to is not None:
            self._archive.save(self._conversation, self._save_to)

    def _help(self, _: str) -> None:
        self._say(HELP)

    def _system(self, text: str) -> None:
        if text:
            self._conversation.system = None if text == "-" else text
            self._say(self._look.dim("system text removed" if text == "-" else "system text set"))
        else:
            self._say(self._look.dim(self._conversation.system or "there is no system text"))

    def _clear(self, _: str) -> None:
        self._conversation.turns.clear()
        self._say(self._look.dim("forgotten"))

    def _retry(self, _: str) -> None:
        if self._conversation.turns:
            self._ask(self._conversation.turns.pop().prompt)
        else:
            self._say(self._look.dim("nothing was asked yet"))

    def _save(self, name: str) -> None:
        if not name:
            self._say(self._look.red("/save needs the name of a file"))
            return
        path = Path(name)
        self._archive.save(self._conversation, path)
        self._say(self._look.dim(f"saved to {one_line(path)}"))
