"""A plain HTTP client that sees what SDKs hide: every header, every byte, and when they came."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

JSON = {"content-type": "application/json"}
TIMEOUT_S = 20.0
"""No test waits longer for anything; a fault that hangs fails here and not at the runner's limit."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole response."""

    status: int
    headers: dict[str, str]
    """Lower-case names."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of OpenAI's shape, which has exactly these fields at least."""
        error: dict[str, Any] = self.json["error"]
        assert {"message", "type", "param", "code"} <= error.keys()
        return error


class Exchange:
    """One request whose answer is read piece by piece. Leaving the block closes the connection."""

    def __init__(self, port: int, method: str, path: str, *, headers: Mapping[str, str], body: bytes) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        named = {name.lower() for name in headers}
        self._connection.putrequest(method, path, skip_host="host" in named, skip_accept_encoding=True)
        if (body or method == "POST") and not named & {"content-length", "transfer-encoding"}:
            self._connection.putheader("content-length", str(len(body)))
        for name, value in headers.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(body or None)
        self._response: http.client.HTTPResponse | None = None
        self.received = b""
        """The body so far, without framing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close()
        self._connection.close()

    @property
    def response(self) -> http.client.HTTPResponse:
        """The response; waits for its head."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.response.getheaders()}

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes, until its end."""
        while piece := self.response.read1(65536):
            self.received += piece
            yield piece

    def read_until(self, wanted: bytes) -> bytes:
        """Return the body up to the piece that completes ``wanted``.

        Raises:
            AssertionError: The body ended before.
        """
        while wanted not in self.received:
            piece = self.response.read1(65536)
            assert piece, f"{wanted!r} never came: {self.received!r}"
            self.received += piece
        return self.received

    def read_events(self, count: int) -> list[bytes]:
        """Return the data of the events of a chat stream that came whole, once there are ``count``."""
        while self.received.count(b"\n\ndata: ") < count:
            piece = self.response.read1(65536)
            assert piece, f"the body ended: {self.received!r}"
            self.received += piece
        return chat_events(self.received[: self.received.rindex(b"\n\n") + 2])

    def read(self) -> bytes:
        """Return the whole body."""
        for _ in self.pieces():
            pass
        return self.received

    def reset(self) -> None:
        """End the connection with RST."""
        sock = self._connection.sock
        assert sock is not None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.__exit__()


def begin(
    port: int, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Exchange:
    """Send a request; its answer is read piece by piece."""
    return Exchange(port, method, path, headers=headers or {}, body=body)


def ask(port: int, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    """Send a request and return its whole answer."""
    with begin(port, method, path, headers=headers, body=body) as exchange:
        return Answer(status=exchange.status, headers=exchange.headers, body=exchange.read())


def chat(port: int, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Exchange:
    """Begin a chat request; ``fields`` are those of ``chat_body``."""
    return begin(port, "POST", "/v1/chat/completions", headers={**JSON, **(headers or {})}, body=chat_body(**fields))


def chat_body(
    *, simulate: Mapping[str, Any] | None = None, content: str = "one two", stream: bool = True, **fields: Any
) -> bytes:
    """Return a chat request; ``simulate`` is the simulator's script."""
    body: dict[str, Any] = {"model": "sim", "messages": [{"role": "user", "content": content}], "stream": stream}
    if simulate is not None:
        body["simulate"] = simulate
    return json.dumps({**body, **fields}).encode()


@dataclass(kw_only=True)
class Log:
    """What ``/events`` says of a stream."""

    offsets: list[int] = field(default_factory=list)
    """Of every entry, the end not counted."""
    chunks: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    end_offset: int | None = None

    @property
    def text(self) -> str:
        return text_of(self.chunks)


def read_log(port: int, stream_id: str, *, after: int | None = None, accept: str = "application/x-ndjson") -> Log:
    """Follow a stream to its end.

    Raises:
        AssertionError: It does not exist.
    """
    query = "" if after is None else f"?after={after}"
    answer = ask(port, "GET", f"/v1/streams/{stream_id}/events{query}", headers={"accept": accept})
    assert answer.status == 200, answer.body
    return log_of_lines(answer.body) if "ndjson" in answer.headers["content-type"] else log_of_events(answer.body)


def log_of_lines(body: bytes) -> Log:
    """Parse NDJSON."""
    log = Log()
    for line in body.splitlines():
        if not line:
            continue
        value = json.loads(line)
        assert log.end is None, "something follows the end"
        if "end" in value:
            log.end, log.end_offset = value["end"], value["offset"]
        else:
            log.offsets.append(value["offset"])
            log.chunks.append(value["chunk"])
    return log


def log_of_events(body: bytes) -> Log:
    """Parse server-sent events that carry offsets as ids."""
    log = Log()
    for block in body.split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if line and not line.startswith(b":"))
        if not fields:
            continue
        assert log.end is None, "something follows the end"
        if fields.get(b"event") == b"end":
            log.end, log.end_offset = json.loads(fields[b"data"]), int(fields[b"id"])
        else:
            log.offsets.append(int(fields[b"id"]))
            log.chunks.append(json.loads(fields[b"data"]))
    return log


def chat_events(body: bytes) -> list[bytes]:
    """Return the data of every event of a chat stream; comments are left out."""
    blocks = body.split(b"\n\n")
    assert blocks[-1] == b"", "the body ends inside an event"
    return [block.removeprefix(b"data: ") for block in blocks[:-1] if not block.startswith(b":")]


def text_of(chunks: list[dict[str, Any]], index: int = 0) -> str:
    """Return the text of one choice."""
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk.get("choices", [])
        if choice["index"] == index
    )


def wait_for(condition: Any, *, within_s: float = 10.0, what: str = "it") -> Any:
    """Call ``condition`` until it returns something true, and return that.

    Raises:
        AssertionError: It did not in time.
    """
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come within {within_s} s")
