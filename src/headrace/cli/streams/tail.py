"""``headrace streams tail``: follows a stream, over dropped connections too."""

from __future__ import annotations

import sys
from typing import Any

from headrace.cli.chat.ending import trouble
from headrace.cli.remote import open_client, unreachable
from headrace.cli.untrusted import ControlStripper, json_text
from headrace.client import Entry, Result
from headrace.errors import ConnectionLost, RelayError
from headrace.types.outcome import State


def tail_it(url: str, key_env: str, stream_id: str, *, after: int, as_json: bool) -> int:
    """Print what follows ``after`` until the stream ends; returns the exit code.

    Raises:
        RelayError: The stream cannot be followed.
    """
    printer = _Lines() if as_json else _Text()
    with open_client(url, key_env) as client:
        stream = client.attach(stream_id, after=after)
        try:
            with stream:
                for entry in stream.entries():
                    printer.entry(entry)
        except RelayError as error:
            result = stream.result
            if result.state is State.IN_PROGRESS:
                # Its end is not known: it is us who cannot go on.
                printer.cut()
                raise unreachable(url) if _was_never_there(error, result, after) else error from None
            printer.end(result)
            sys.stderr.write(trouble(error, result) + "\n")
            return 1
        printer.end(stream.result)
    return 0


def _was_never_there(error: RelayError, result: Result, after: int) -> bool:
    return isinstance(error, ConnectionLost) and result.last_offset == after and result.reconnects == 0


class _Text:
    """The text of choice 0 as it comes."""

    def __init__(self) -> None:
        self._stripper = ControlStripper()
        self._is_in_line = False

    def entry(self, entry: Entry) -> None:
        text = self._stripper.feed(entry.text)
        if text:
            _write(text)
            self._is_in_line = not text.endswith("\n")

    def end(self, _: Result) -> None:
        self.cut()

    def cut(self) -> None:
        if self._is_in_line:
            _write("\n")


class _Lines:
    """Entries and the end as the wire protocol has them."""

    def entry(self, entry: Entry) -> None:
        _write(json_text({"offset": entry.offset, "chunk": entry.chunk}) + "\n")

    def end(self, result: Result) -> None:
        fields = ("state", "cause", "finish_reason", "usage", "message")
        end: dict[str, Any] = {name: getattr(result, name) for name in fields}
        _write(json_text({"offset": result.last_offset + 1, "end": end}) + "\n")

    def cut(self) -> None:
        """What is not known is not told."""


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
