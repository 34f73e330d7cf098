"""What tests of bills and budgets share: a relay with keys and prices, and clients that know all they were given.

A client here leaves by closing its own half of the connection and reading on to the end, so that what the relay wrote to it
is known to the last token, and can be held against what the relay says that it delivered.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, Self, cast

import msgspec
from tests.processes import Relay, Simulator
from tests.system.wire import Answer, ask
from tests.wire_client import WireClient
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import CLOSING, OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from headrace.protocol.sse import SSEEvent

OWNER = "search"
CASE_HEADER = "x-case"
"""Passed on to the engine, so that the simulator's record of a request can be found."""

DOLLARS_PER_TOKEN = Decimal("0.001")
"""Of an answer, where a budget is to be a round number of tokens."""

SETTINGS = """
[engine]
upstream = "{upstream}"
forward_headers = ["{case_header}"]
[timeouts]
first_token = "3s"
commit_wait = "10s"
[limits]
max_queued_per_owner = 0
[retry]
attempts = 1
continuations = 0
"""


class Till:
    """A relay that asks for keys, and an admin's key to it. Leaving the block ends it.

    Args:
        simulator: Its engine.
        folder: For its settings and its store.
        settings: More of them, in TOML.
        environ: More of them, as ``HEADRACE_SECTION__KEY``.
    """

    def __init__(
        self, simulator: Simulator, folder: Path, settings: str = "", *, environ: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "headrace.toml"
        path.write_text(SETTINGS.format(upstream=simulator.url, case_header=CASE_HEADER) + settings)
        store = folder / "money.db"
        self.relay = Relay(None, store, "--config", str(path), environ=environ)
        self._admin = first_key(store)

    def __enter__(self) -> Self:
        self.relay.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.relay.__exit__()

    @property
    def port(self) -> int:
        return self.relay.port

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask as the admin."""
        data = b"" if body is None else msgspec.json.encode(body)
        headers = {**bearer(self._admin), **({"content-type": "application/json"} if data else {})}
        return ask(self.port, method, path, headers=headers, body=data)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.json

    def new_key(self, owner: str = OWNER, **wish: Any) -> dict[str, Any]:
        """Make a key; the text that clients show is its ``key``."""
        answer = self.ask("POST", "/v1/keys", {"owner": owner, **wish})
        assert answer.status == 201, answer.body
        made: dict[str, Any] = answer.json
        return made

    def stream(self, stream_id: str) -> dict[str, Any] | None:
        """Return a stream's view; None when there is no such stream."""
        answer = self.ask("GET", f"/v1/streams/{stream_id}")
        if answer.status == 404:
            return None
        assert answer.status == 200, answer.body
        view: dict[str, Any] = answer.json
        return view

    def streams(self) -> list[dict[str, Any]]:
        """Return the views of all streams, newest first."""
        found: list[dict[str, Any]] = []
        page = self.get("/v1/streams?limit=100")
        while True:
            found += page["data"]
            if not page["has_more"]:
                return found
            page = self.get(f"/v1/streams?limit=100&after={page['last_id']}")

    def usage(self, by: str = "") -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/v1/usage?by={by}")
        return found

    def spent_of(self, key: Mapping[str, Any]) -> Decimal:
        """Return what a key has spent today, in dollars, as the relay's budgets see it."""
        return Decimal(self.get(f"/v1/keys/{key['id']}")["spent"]["day_usd"])

    def metric(self, name: str) -> float:
        """Return the sum of all samples of one metric; 0 when it has none."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        samples = [line for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples)

    def has_settled(self, streams: int) -> bool:
        """Whether nothing runs, and so many streams have their last bill since the relay was started."""
        return self.metric("headrace_streams_active") == 0 and self.metric("headrace_owner_streams_total") >= streams

    def agrees(self) -> bool:
        """Whether the usage says what the metrics say, of a relay that began with an empty store.

        The last word of a vendor is counted a moment before the store has it.
        """
        total = self.usage()["total"]
        tokens: int = total["generated_tokens"] + total["delivered_tokens"]
        is_counted = self.metric("headrace_owner_streams_total") == total["requests"]
        return is_counted and self.metric("headrace_owner_tokens_total") == tokens

    def kill_and_start(self) -> None:
        self.relay.kill()
        self.relay.start()


def first_key(store: Path) -> str:
    """Make an admin's key as the command that users run does."""
    command = ["keys", "create", "--owner", "ops", "--admin", "--store", f"sqlite:///{store}"]
    made = subprocess.run([sys.executable, "-m", "headrace", *command], check=True, capture_output=True, text=True)
    return made.stdout.splitlines()[-1]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


# What clients count


def tokens_of_chunk(chunk: Mapping[str, Any]) -> int:
    """Count the deltas of a chunk that bear text."""
    found = (choice.get("delta", {}).get("content") or choice.get("text") for choice in chunk.get("choices", []))
    return sum(1 for text in found if text)


def tokens_of_event(event: SSEEvent) -> int:
    """Count those of one event of any route."""
    if event.event not in {"message", ""} or event.data in {"", "[DONE]"}:
        return 0
    value = msgspec.json.decode(event.data)
    return 1 if value.get("token") else tokens_of_chunk(value)


def tokens_of_answer(body: Mapping[str, Any]) -> int:
    """Count the words of a blocking answer, or of what an error says had come: the simulator sends a word a delta."""
    if "error" in body:
        return len(body["error"].get("partial_text", "").split())
    texts = [choice["message"]["content"] if "message" in choice else choice["text"] for choice in body["choices"]]
    return sum(len((text or "").split()) for text in texts)


class Client(Protocol):
    """A client of one stream, whatever its door."""

    @property
    def tokens(self) -> int:
        """Tokens that came so far."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""

    async def some(self, tokens: int) -> None:
        """Wait for so many tokens, or for the end."""

    async def end(self) -> None:
        """Wait for the end of the answer, and close."""

    async def leave(self) -> None:
        """Say that nothing more is wanted, read what is still there, and close."""


class Reader(WireClient):
    """A client over HTTP/1.1."""

    def __init__(self) -> None:
        super().__init__()
        self._counted_events = 0
        self._event_tokens = 0

    @property
    def is_over(self) -> bool:
        return self.is_complete or self.is_closed

    @property
    def kind(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]

    @property
    def tokens(self) -> int:
        if self.kind == "text/event-stream":
            fresh, self._counted_events = self.events[self._counted_events :], len(self.events)
            self._event_tokens += sum(map(tokens_of_event, fresh))
            return self._event_tokens
        if self.kind == "application/x-ndjson":
            return sum(map(tokens_of_chunk, self.lines()))
        return tokens_of_answer(self.json()) if self.is_complete and self.body else 0

    def lines(self) -> list[dict[str, Any]]:
        """Return the whole lines of an NDJSON body."""
        return [msgspec.json.decode(line) for line in self.body.split(b"\n")[:-1] if line]

    @property
    def chunks(self) -> int:
        """Entries of the log that came, by a route for chats."""
        if self.kind == "application/x-ndjson":
            return sum("choices" in line for line in self.lines())
        return sum('"choices":' in event.data for event in self.events)

    @property
    def stream_id(self) -> str:
        return self.headers["headrace-stream-id"]

    @property
    def error(self) -> dict[str, Any]:
        """The error that a stream ended with, or that the request was answered with; lines end with the end itself."""
        if self.kind == "text/event-stream":
            value = next(found for event in self.events if "error" in (found := _object(event.data)))
        elif self.kind == "application/x-ndjson":
            value = next(line for line in self.lines() if "error" in line or "end" in line)
        else:
            value = self.json()
        error: dict[str, Any] = value["error"] if "error" in value else value["end"]
        return error

    async def some(self, tokens: int) -> None:
        await self.until(lambda: self.tokens >= tokens or self.is_over)

    async def end(self) -> None:
        await self.until(lambda: self.is_over)
        super().leave()
        await self.closed()

    async def leave(self) -> None:  # type: ignore[override] # (this one waits for what is on its way)
        if self._transport is not None:
            self._transport.write_eof()
        await self.closed()


def _object(data: str) -> dict[str, Any]:
    return cast("dict[str, Any]", msgspec.json.decode(data)) if data.startswith("{") else {}


async def request(
    port: int, path: str, *, headers: Mapping[str, str], body: Any = None, method: str = "POST"
) -> Reader:
    """Send one request, and return without waiting for the answer."""
    _, reader = await asyncio.get_running_loop().create_connection(Reader, "127.0.0.1", port)
    reader.send(method, path, headers, b"" if body is None else msgspec.json.encode(body))
    return reader


ADDED_TOKENS = 16
"""What the relay adds to a request for the engine, as a prompt is estimated."""


def chat_body(script: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "sim", "messages": [{"role": "user", "content": "Go on."}], "simulate": dict(script), **fields}


class SocketReader:
    """A client over a WebSocket, of one stream. Made by ``open_socket``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: ClientProtocol) -> None:
        self.messages: list[dict[str, Any]] = []
        self.is_closed = False
        self._reader, self._writer, self._protocol = reader, writer, protocol
        self._changed = asyncio.Event()
        self._counted = self._tokens = 0
        self._opened = False
        self._listening = asyncio.ensure_future(self._listen())

    @property
    def tokens(self) -> int:
        fresh, self._counted = self.messages[self._counted :], len(self.messages)
        self._tokens += sum(tokens_of_chunk(message["chunk"]) for message in fresh if message["type"] == "entry")
        return self._tokens

    @property
    def chunks(self) -> int:
        return sum(message["type"] == "entry" for message in self.messages)

    @property
    def final(self) -> dict[str, Any] | None:
        """The message ``end`` or ``error``, once it came."""
        return next((message for message in self.messages if message["type"] in {"end", "error"}), None)

    @property
    def is_over(self) -> bool:
        return self.final is not None or self.is_closed

    async def say(self, **message: Any) -> None:
        await self._until(lambda: self._opened)
        self._protocol.send_text(msgspec.json.encode(message))
        self._flush()

    async def some(self, tokens: int) -> None:
        await self._until(lambda: self.tokens >= tokens or self.is_over)

    async def end(self) -> None:
        await self._until(lambda: self.is_over)
        await self.leave()

    async def leave(self, *, politely: bool = True) -> None:
        """Leave by the closing handshake, or by closing this half of the connection without a word."""
        if not self.is_closed:
            if politely and self._protocol.state is OPEN:
                self._protocol.send_close(1000)
                self._flush()
            elif not politely:
                self._writer.write_eof()
        await self._listening

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            elif self._writer.can_write_eof():
                self._writer.write_eof()

    async def _until(self, is_reached: Any) -> None:
        async with asyncio.timeout(30):
            while not is_reached():
                assert not self.is_closed, f"the connection closed: {self.messages[-2:]}"
                self._changed.clear()
                await self._changed.wait()

    async def _listen(self) -> None:
        try:
            while data := await self._reader.read(65536):
                self._protocol.receive_data(data)
                self._take_events()
                if self._protocol.state in {OPEN, CLOSING}:
                    self._flush()
        except ConnectionError:
            pass  # its relay was killed
        finally:
            self.is_closed = True
            self._changed.set()
            self._writer.close()

    def _take_events(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                assert event.status_code == 101, event
                self._opened = True
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self.messages.append(msgspec.json.decode(event.data))
        self._changed.set()


async def open_socket(port: int, headers: Mapping[str, str]) -> SocketReader:
    uri = parse_uri(f"ws://127.0.0.1:{port}/v1/stream")
    protocol = ClientProtocol(uri, subprotocols=[Subprotocol("headrace.v1")], max_size=None)
    handshake = protocol.connect()
    handshake.headers.update(headers)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    protocol.send_request(handshake)
    for data in protocol.data_to_send():
        writer.write(data)
    return SocketReader(reader, writer, protocol)


def cases_of(simulator: Simulator) -> dict[str, dict[str, Any]]:
    """Return what the simulator remembers of its requests, by their case.

    None was asked twice, but for those that lost a connection which had been used before, without a byte of an answer.
    """
    cases: dict[str, dict[str, Any]] = {}
    for seen in simulator.requests():
        name = seen["headers"].get(CASE_HEADER)
        if name is not None:
            before = cases.get(name)
            assert before is None or before["outcome"] == "fault:close_before_head", f"{name} was asked twice"
            cases[name] = seen
    return cases


def money(text: str | None) -> Decimal:
    assert text is not None
    assert re.fullmatch(r"-?\d+(\.\d+)?", text), text
    return Decimal(text)


@contextmanager
def written(title: str) -> Iterator[list[str]]:
    """Gather lines, and write them when the block ends, however it ends."""
    lines: list[str] = []
    try:
        yield lines
    finally:
        sys.stdout.write("\n".join([f"\n{title}", *(f"  {line}" for line in lines), ""]))
