"""Everything that comes out of a relay, gathered by where it came from, to be searched for what must not be in it."""

from __future__ import annotations

import base64
import json
import re
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.system.wire import JSON, Answer, ask
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from headrace.http.socket import TICKET_SUBPROTOCOL
from headrace.protocol.duplex import SUBPROTOCOL

SENT = "sent"
"""Where clients' own words are: proof that a word was sent, and that the search finds it."""

WORD_BYTES = 12
"""Random ones in a planted word."""


def word(kind: str) -> str:
    """Return a word that stands nowhere by accident, and is the same in JSON, URLs, CSV and headers."""
    return kind + secrets.token_hex(WORD_BYTES)


def rows(path: Path) -> bytes:
    """Return every value in a SQLite file, with no page boundary inside it. Leaves the file and its WAL as they are."""
    found: list[bytes] = []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                found += [value if isinstance(value, bytes) else str(value).encode() for value in row]
    return b"\n".join(found)


def store_files(path: Path) -> dict[str, bytes]:
    """Return a SQLite file and what lies beside it, as bytes."""
    return {file.name: file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*"))}


class Haul:
    """What came out, by place."""

    def __init__(self) -> None:
        self._found: dict[str, list[bytes]] = {}

    def add(self, place: str, data: bytes | str) -> None:
        self._found.setdefault(place, []).append(data.encode() if isinstance(data, str) else data)

    def add_store(self, place: str, path: Path) -> None:
        """Add a store's files, and its values."""
        for data in (*store_files(path).values(), rows(path)):
            self.add(place, data)

    def places(self, text: str) -> set[str]:
        """Return where a text is, as it is or in Base64."""
        forms = [text.encode(), base64.b64encode(text.encode())]
        return {place for place, parts in self._found.items() if any(form in part for form in forms for part in parts)}

    def words(self, kind: str) -> dict[str, set[str]]:
        """Return where each word of a kind is."""
        pattern, found = re.compile(rb"%b[0-9a-f]{%d}" % (kind.encode(), 2 * WORD_BYTES)), dict[str, set[str]]()
        for place, parts in self._found.items():
            for text in {text for part in parts for text in pattern.findall(part)}:
                found.setdefault(text.decode(), set()).add(place)
        return found

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by place."""
        return {place: sum(map(len, parts)) for place, parts in sorted(self._found.items())}


class Client:
    """Sends requests to a relay, and puts all that it sends and gets into a haul.

    Args:
        port: Of the relay.
        haul: Where it goes.
        headers: Of every request.
    """

    def __init__(self, port: int, haul: Haul, headers: Mapping[str, str]) -> None:
        self.port = port
        self.haul = haul
        self.headers = dict(headers)

    def ask(
        self, place: str, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request; ``place`` is where the body goes unless it is an error's. Bytes are sent as they are."""
        sent = {**self.headers, **(JSON if body is not None else {}), **(headers or {})}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.haul.add(SENT, f"{method} {path} {sent} ".encode() + data)
        answer = ask(self.port, method, path, headers=sent, body=data)
        self.haul.add("headers", str(answer.headers))
        self.haul.add("errors" if answer.status >= 400 else place, answer.body)
        return answer

    def talk(self, *messages: dict[str, Any] | str, ticket: str | None = None) -> list[Any]:
        """Send messages over a WebSocket and return all that comes, until a stream ends or the connection does."""
        protocols: list[Any] = [SUBPROTOCOL, *([] if ticket is None else [TICKET_SUBPROTOCOL + ticket])]
        heard: list[Any] = []
        with connect(
            f"ws://127.0.0.1:{self.port}/v1/stream", subprotocols=protocols, proxy=None, compression=None,
            additional_headers={} if ticket is not None else self.headers, close_timeout=1,
        ) as connection:  # fmt: skip
            assert connection.response is not None
            self.haul.add("headers", str(connection.response.headers))
            self.haul.add(SENT, str(protocols))
            try:
                for message in messages:
                    text = message if isinstance(message, str) else json.dumps(message)
                    self.haul.add(SENT, text)
                    connection.send(text)
                while not heard or heard[-1].get("type") not in {"end", "error", "pong"}:
                    received = connection.recv(timeout=10)
                    heard.append(json.loads(received))
                    self.haul.add("errors" if heard[-1]["type"] == "error" else "streams", received)
            except ConnectionClosed as closed:
                self.haul.add("errors", str(closed))
        return heard
