"""What has been said, and what of it a model is told again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from headrace.cli.untrusted import stripped
from headrace.errors import ClientRequestError


@dataclass(frozen=True)
class Turn:
    """One question and what came of it."""

    prompt: str
    answer: str
    """As far as it came; empty when nothing did."""
    ending: str | None = None
    """Why the answer is not whole: ``stopped``, or state and cause; None for a whole one."""


@dataclass
class Conversation:
    """A system text and the turns so far."""

    system: str | None = None
    turns: list[Turn] = field(default_factory=list)

    def messages(self, prompt: str) -> list[dict[str, str]]:
        """Return the messages of a request that asks ``prompt``.

        Answers that broke off are sent as far as they came: the user has seen them. A turn without any answer is left
        out, since many models refuse two messages of the user in a row.
        """
        said = [] if self.system is None else [_message("system", self.system)]
        for turn in self.turns:
            if turn.answer:
                said += [_message("user", turn.prompt), _message("assistant", turn.answer)]
        return [*said, _message("user", prompt)]

    def as_json(self) -> bytes:
        """Return it as JSON."""
        told: dict[str, Any] = {"system": self.system, "turns": self.turns}
        return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"

    def as_markdown(self) -> bytes:
        """Return it as Markdown."""
        parts = [] if self.system is None else [f"## System\n\n{self.system}\n"]
        for turn in self.turns:
            how = "" if turn.ending is None else f"\n\n*({turn.ending})*"
            parts.append(f"## You\n\n{turn.prompt}\n\n## Answer\n\n{stripped(turn.answer).strip()}{how}\n")
        return "\n".join(parts).encode(errors="replace")


class Archive:
    """Files that a conversation is saved to. It replaces no file but its own."""

    def __init__(self) -> None:
        self._ours: set[Path] = set()

    def save(self, conversation: Conversation, path: Path) -> None:
        """Write the conversation: as JSON when the name ends in ``.json``, else as Markdown.

        Raises:
            ClientRequestError: The file cannot be written, or is somebody else's.
        """
        path = path.expanduser().absolute()
        data = conversation.as_json() if path.suffix == ".json" else conversation.as_markdown()
        try:
            with path.open("wb" if path in self._ours else "xb") as file:
                file.write(data)
        except FileExistsError as error:
            raise ClientRequestError(f"{path} exists already; choose another name") from error
        except OSError as error:
            raise ClientRequestError(f"{path} cannot be written: {error.strerror}") from error
        self._ours.add(path)


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
