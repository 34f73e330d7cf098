"""``headrace chat``, put together."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from headrace.cli.chat.answer import Answered, Answers
from headrace.cli.chat.conversation import Archive, Conversation, Turn
from headrace.cli.chat.ending import ending_of, summary, tokens_per_s, trouble
from headrace.cli.chat.painter import MarkdownPainter, Painter, PlainPainter
from headrace.cli.chat.prompt import Prompt, history_file
from headrace.cli.chat.session import COMMANDS, Session
from headrace.cli.look import Look
from headrace.cli.remote import open_async_client
from headrace.cli.untrusted import json_text, one_line
from headrace.errors import ClientRequestError
from headrace.protocol.json_object import well_formed


@dataclass(frozen=True, kw_only=True)
class ChatOptions:
    """What the user wants."""

    url: str
    key_env: str
    model: str | None
    system: str | None
    temperature: float | None
    max_tokens: int | None
    has_markdown: bool
    as_json: bool
    save: Path | None
    prompt: str | None
    """None talks, or reads it from a pipe."""


def run_chat(options: ChatOptions) -> int:
    """Answer one question or hold a conversation; returns the exit code.

    Raises:
        RelayError: Nothing could be begun.
    """
    given = {"model": options.model, "temperature": options.temperature, "max_tokens": options.max_tokens}
    fields = {name: value for name, value in given.items() if value is not None}
    opened = partial(open_async_client, options.url, options.key_env)
    look = Look.of(sys.stdout, os.environ) if options.has_markdown else Look(is_styled=False)
    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
    with Answers(
        options.url, open_client=opened, fields=fields, painter=_painter(options, look), keyboard=keyboard
    ) as answers:
        prompt = _question(options)
        if prompt is None:
            return _talk(options, answers, look)
        return _answer(options, answers, prompt, Look.of(sys.stderr, os.environ) if look.is_styled else look)


def _question(options: ChatOptions) -> str | None:
    """Return the one question asked; None for a conversation.

    Raises:
        ClientRequestError: It is empty, or JSON is wanted and nothing is asked.
    """
    if options.prompt is None and sys.stdin.isatty():
        if options.as_json:
            raise ClientRequestError("--json needs a PROMPT, or one on standard input")
        return None
    prompt = sys.stdin.buffer.read().decode(errors="replace") if options.prompt is None else well_formed(options.prompt)
    if not prompt.strip():
        raise ClientRequestError("nothing is asked: PROMPT is empty")
    return prompt.strip()


def _painter(options: ChatOptions, look: Look) -> Callable[[], Painter]:
    if options.as_json:
        return Silent
    if look.is_styled:
        return lambda: MarkdownPainter(sys.stdout, look)
    return lambda: PlainPainter(sys.stdout, sys.stdout if sys.stdout.isatty() else sys.stderr)


class Silent:
    """A painter that shows nothing."""

    def write(self, text: str) -> None:
        pass

    def notice(self, text: str) -> None:
        pass

    def finish(self) -> None:
        pass


def _answer(options: ChatOptions, answers: Answers, prompt: str, look: Look) -> int:
    """Answer one question. Standard output holds the answer alone."""
    conversation = Conversation(options.system)
    answered = answers.ask(conversation.messages(prompt))
    result = answered.result
    if answered.error is not None and result.cause is None and result.last_offset < 0:
        raise answered.error
    if options.as_json:
        sys.stdout.write(json_text(_as_json(answered)) + "\n")
    elif answered.error is not None:
        sys.stderr.write(look.red(trouble(answered.error, result)) + "\n")
    elif sys.stdout.isatty():
        line = summary(result, was_stopped=answered.was_stopped and not answered.is_whole)
        sys.stderr.write(look.dim(line) + "\n")
    if options.save is not None:
        ending = None if answered.is_whole else ending_of(result)
        conversation.turns.append(Turn(prompt, result.text, ending))
        Archive().save(conversation, options.save)
    return 0 if answered.is_whole else 1


def _as_json(answered: Answered) -> dict[str, Any]:
    result = answered.result
    return {
        "text": result.text,
        "state": result.state,
        "cause": result.cause,
        "usage": result.usage,
        "ttft_s": result.ttft_s,
        "tokens_per_s": tokens_per_s(result),
        "stream_id": result.stream_id,
        "message": None if answered.error is None else answered.error.message,
    }


def _talk(options: ChatOptions, answers: Answers, look: Look) -> int:
    """Hold a conversation."""
    models = answers.models()
    if options.save is not None and options.save.exists():
        raise ClientRequestError(f"{options.save} exists already; choose another name")
    named = options.model or ", ".join(models)
    _say(look.dim(f"{one_line(named)} at {one_line(options.url)} · /help lists the commands, Ctrl-D leaves"))
    prompt = Prompt(look, history=history_file(os.environ), words=COMMANDS)
    Session(
        answers=answers,
        read=prompt.read,
        say=_say,
        look=look,
        conversation=Conversation(options.system),
        save_to=options.save,
    ).run()
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
