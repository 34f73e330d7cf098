"""What tests of the cache share: relays whose models keep answers, and every door through which one asks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tests.processes import Relay, Simulator
from tests.system.wire import JSON, Answer, ask, wait_for
from websockets.sync.client import connect
from websockets.typing import Subprotocol

MODELS = """
[engine]
upstream = "{upstream}"
forward_headers = ["traceparent", "x-dialect"]
[timeouts]
commit_wait = "10s"
[models.kept]
cache = "owner"
engines.default.model = "sim"
[models.other]
cache = "owner"
engines.default.model = "sim"
[models.brief]
cache = "owner"
cache_for = "1s"
engines.default.model = "sim"
[models.sampled]
cache = "owner"
caches_sampled = true
engines.default.model = "sim"
[models.paced]
cache = "owner"
cache_pace = "natural"
engines.default.model = "sim"
[models.common]
cache = "shared"
engines.default.model = "sim"
[models.plain]
engines.default.model = "sim"
"""
"""What their names say."""

SCRIPT = {"tokens": 12}

TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}

_numbers = itertools.count()


def relay_of(simulator: Simulator, folder: Path, *, store: str = "", settings: str = "") -> Relay:
    """Return a relay with these models that asks for no key.

    Args:
        simulator: Its engine.
        folder: For its settings, and its store.
        store: Store URL; empty for a SQLite file.
        settings: More of them, in TOML.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "headrace.toml"
    path.write_text(MODELS.format(upstream=simulator.url) + settings)
    return Relay(None, store or folder / "cache.db", "--config", str(path))


def body_of(
    content: str = "Go on.", *, model: str = "kept", simulate: Mapping[str, Any] = SCRIPT, **fields: Any
) -> dict[str, Any]:
    """Return a request without chance in it; a field that is None is left out."""
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": 256,
        "stream": True,
        "simulate": dict(simulate),
        **fields,
    }
    return {name: value for name, value in asked.items() if value is not None}


def question() -> str:
    """Return a question that nobody has asked before."""
    return f"What is {next(_numbers)}?"


def name() -> str:
    """Return a name for a stream that nobody has used before."""
    return f"named-{next(_numbers)}"


class Generations:
    """Counts what the simulator generated since it was made."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        simulator.forget()

    def __call__(self) -> int:
        return len(self._simulator.requests())


@dataclass(frozen=True, kw_only=True)
class Got:
    """What came through a door."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    text: str

    @property
    def cache_status(self) -> str:
        return self.headers.get("cache-status", "")

    @property
    def is_hit(self) -> bool:
        return self.cache_status.startswith("headrace; hit; ttl=")

    @property
    def stream_id(self) -> str:
        return self.headers["headrace-stream-id"]

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


def chat(port: int, body: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None) -> Got:
    """Ask for server-sent events."""
    return _got(_post(port, "/v1/chat/completions", body, headers), _text_of_events)


def lines(port: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Got:
    return _got(_post(port, "/api/v1/chat/stream", body, headers), _text_of_lines)


def blocking(port: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Got:
    whole = {**body, "stream": False}
    return _got(_post(port, "/v1/chat/completions", whole, headers), _text_of_object)


def eventsource(port: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Got:
    asked = {name: value for name, value in body.items() if name not in {"messages", "stream"}}
    prompt = {**asked, "prompt": body["messages"][0]["content"]}
    return _got(_post(port, "/v1/completions/stream", prompt, headers), _text_of_tokens)


def websocket(port: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Got:
    messages: list[dict[str, Any]] = []
    url, protocol = f"ws://127.0.0.1:{port}/v1/stream", Subprotocol("headrace.v1")
    with connect(url, subprotocols=[protocol], additional_headers=headers, proxy=None) as socket:
        name = f"ws-{socket.local_address[1]}"
        socket.send(json.dumps({"type": "start", "stream": name, "request": dict(body)}))
        while not messages or messages[-1]["type"] not in {"end", "error"}:
            messages.append(json.loads(socket.recv(timeout=20)))
    assert messages[-1]["type"] == "end", messages[-1]
    text = "".join(_text_of(message["chunk"]) for message in messages if message["type"] == "entry")
    return Got(status=200, headers={"headrace-stream-id": name}, body=b"", text=text)


DOORS: dict[str, Callable[..., Got]] = {
    "chat": chat,
    "lines": lines,
    "blocking": blocking,
    "eventsource": eventsource,
    "websocket": websocket,
}


def until_kept(port: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Got:
    """Wait until an answer can be given again, a moment after its end, and return it."""
    only = {**(headers or {}), "cache-control": "only-if-cached"}

    def kept() -> Got | None:
        got = chat(port, body, only)
        assert got.status in {200, 504}, got.body
        return got if got.status == 200 else None

    found: Got = wait_for(kept, what="an answer in the cache")
    return found


def is_kept(port: int, body: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None) -> bool:
    """Return whether there is an answer to be given again; nothing is generated."""
    got = chat(port, body, {**(headers or {}), "cache-control": "only-if-cached"})
    assert got.status in {200, 504}, got.body
    assert got.status == 200 or got.error["code"] == "not_cached"
    return got.status == 200


def canary(relay: Relay, headers: Mapping[str, str] | None = None) -> None:
    """Have an answer kept: what ended before is kept then, or never will be."""
    asked = body_of(question())
    chat(relay.port, asked, headers)
    until_kept(relay.port, asked, headers)


def _post(port: int, path: str, body: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None) -> Answer:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return ask(port, "POST", path, headers={**JSON, **(headers or {})}, body=data)


def _got(answer: Answer, text_of: Callable[[bytes], str]) -> Got:
    text = text_of(answer.body) if answer.status == 200 else ""
    return Got(status=answer.status, headers=answer.headers, body=answer.body, text=text)


def _text_of(chunk: Mapping[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", []))


def _events(body: bytes) -> list[dict[str, Any]]:
    data = (line[6:] for line in body.split(b"\n") if line.startswith(b"data: "))
    return [json.loads(event) for event in data if event.startswith(b"{")]


def _text_of_events(body: bytes) -> str:
    return "".join(map(_text_of, _events(body)))


def _text_of_tokens(body: bytes) -> str:
    return "".join(event.get("token") or "" for event in _events(body))


def _text_of_lines(body: bytes) -> str:
    return "".join(_text_of(json.loads(line)) for line in body.splitlines() if line)


def _text_of_object(body: bytes) -> str:
    text: str = json.loads(body)["choices"][0]["message"]["content"]
    return text
