"""The relay's keys for its engine, and its clients' keys: what a refusal does, and how keys change under 200 streams."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.processes import Relay, Simulator
from tests.system.crowd import Crowd, Visitor, leave
from tests.system.reloading import SettingsFile, add_keys, bearer, figures, keys_command
from tests.system.wire import JSON, Answer, ask, chat, chat_body
from tests.waiting import until

from headrace.policy.keys import KeyWish

LIVE = 200
NOTICED_S = 5.0
"""How long a change of a key file may go unnoticed: seconds."""
REVOKED_S = 1.5
"""How long a key may be good after its end: about a second."""
REST_S = 1.0

WORDS = [f"w{number} " for number in range(1000)]
ENDLESS = {"deltas": WORDS, "tokens": len(WORDS), "itl_ms": 200}
SHORT = chat_body(simulate={"text": "one two three"})
SECRETS = {"first": "sk-first-secret", "second": "sk-second-secret", "third": "sk-third-secret"}
BASE = '[engine]\nforward_headers = ["x-client"]\nupstream_keys = [{}]\n'


def tell(simulator: Simulator, *keys: dict[str, Any]) -> None:
    """Have the engine know these keys and no others; each is named as in ``SECRETS``."""
    body = msgspec.json.encode({"keys": [{"key": SECRETS[key["name"]], **key} for key in keys]})
    request = urllib.request.Request(f"{simulator.origin}/simulator/keys", data=body, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    simulator.forget()


def uses(simulator: Simulator) -> list[tuple[str, int]]:
    """Return key and status of every request that the engine saw."""
    return [(record["key"], record["status"]) for record in simulator.requests()]


def relay_with(simulator: Simulator, folder: Path, *references: str, environ: Mapping[str, str] | None = None) -> Relay:
    listed = ", ".join(f'"{reference}"' for reference in references)
    settings = SettingsFile(folder / "headrace.toml", BASE.format(listed))
    secrets = {f"ENGINE_{name.upper()}": secret for name, secret in SECRETS.items()}
    return Relay(simulator.url, folder / "streams.db", *settings.options, environ={**secrets, **(environ or {})})


@pytest.fixture
def two_keys(simulator: Simulator, tmp_path: Path) -> Iterator[Relay]:
    """A relay that has just started, with the keys ``first`` and ``second``."""
    with relay_with(simulator, tmp_path, "env:ENGINE_FIRST", "env:ENGINE_SECOND") as relay:
        yield relay
    assert not [secret for secret in SECRETS.values() if secret in relay.output]


def asked(relay: Relay, body: bytes) -> Answer:
    return ask(relay.port, "POST", "/v1/chat/completions", headers=JSON, body=body)


def answer_of(relay: Relay) -> str:
    """Ask for one answer, and return its text."""
    answer = asked(relay, chat_body(simulate={"text": "one two"}, stream=False))
    assert answer.status == 200, answer.body
    text: str = answer.json["choices"][0]["message"]["content"]
    return text


# What a refusal does


def test_a_key_that_is_limited_hands_the_request_on_and_rests_as_long_as_it_was_told(
    simulator: Simulator, two_keys: Relay
) -> None:
    tell(simulator, {"name": "first", "status": 429, "retry_after": REST_S}, {"name": "second"})
    with chat(two_keys.port, simulate={"text": "one two"}) as exchange:
        assert exchange.status == 200
        assert exchange.read().endswith(b"data: [DONE]\n\n")
    assert uses(simulator) == [("first", 429), ("second", 200)]
    refused_s = simulator.requests()[0]["accepted_at"]
    # The engine would take it again at once; it must not be asked to.
    tell(simulator, {"name": "first"}, {"name": "second"})
    others = 0
    while not (back := [one for one in simulator.requests() if one["key"] == "first"]):
        assert answer_of(two_keys) == "one two"
        others += 1
        assert time.monotonic() < refused_s + REST_S + 5, "the key never came back"
    rested_s = back[0]["accepted_at"] - refused_s
    figures(
        "Retry-After: 1 of one of two keys", [f"rested {rested_s:.3f} s, {others} answers with the other meanwhile"]
    )
    assert rested_s >= REST_S
    assert two_keys.output.count("rests for 1 s") == 1


def test_while_all_keys_rest_clients_are_told_when_to_come_back(simulator: Simulator, two_keys: Relay) -> None:
    tell(
        simulator,
        {"name": "first", "status": 429, "retry_after": 30.0},
        {"name": "second", "status": 429, "retry_after": 20.0},
    )
    for stream in (True, False):
        answer = asked(two_keys, chat_body(stream=stream))
        assert (answer.status, answer.error["type"]) == (429, "rate_limit_error")
        assert 1 <= int(answer.headers["retry-after"]) <= 20
    # The second request reached no key.
    assert uses(simulator) == [("first", 429), ("second", 429)]


def test_a_key_that_the_engine_does_not_accept_retires_with_one_loud_line(
    simulator: Simulator, two_keys: Relay
) -> None:
    tell(simulator, {"name": "first", "status": 401}, {"name": "second"})
    exchanges = [chat(two_keys.port, simulate={"text": "one two"}) for _ in range(20)]
    assert {exchange.status for exchange in exchanges} == {200}
    for exchange in exchanges:
        assert exchange.read().endswith(b"data: [DONE]\n\n")
        exchange.reset()
    assert uses(simulator).count(("second", 200)) == 20
    tell(simulator, {"name": "first"}, {"name": "second"})
    for _ in range(10):
        answer_of(two_keys)
    assert uses(simulator) == [("second", 200)] * 10
    loud = [line for line in two_keys.output.splitlines() if " ERROR " in line]
    assert len(loud) == 1
    assert "env:ENGINE_FIRST" in loud[0]


# Changes under 200 streams


async def live(crowd: Crowd, headers: dict[str, str]) -> list[Visitor]:
    """Return 200 streams that have begun."""
    visitors = await crowd.many(LIVE, "live", headers, chat_body(simulate=ENDLESS))
    await until(lambda: all(visitor.deltas for visitor in visitors))
    return visitors


async def check_that_all_go_on(visitors: list[Visitor]) -> None:
    """Wait until each stream has brought more than it has now, and make sure that nothing is missing of it."""
    marks = [len(visitor.events) for visitor in visitors]
    await until(lambda: all(len(one.events) > mark + 1 for one, mark in zip(visitors, marks, strict=True)))
    for visitor in visitors:
        assert visitor.status == 200
        assert not visitor.is_complete
        assert visitor.deltas == WORDS[: len(visitor.deltas)]


async def test_keys_of_the_engine_change_under_200_streams_by_a_file_and_by_a_signal(
    simulator: Simulator, tmp_path: Path
) -> None:
    tell(simulator, *({"name": name} for name in SECRETS))
    key_file = tmp_path / "key"
    key_file.write_text(SECRETS["first"] + "\n")
    with relay_with(simulator, tmp_path, f"file:{key_file}") as relay:
        async with Crowd(relay.port) as crowd:
            visitors = await live(crowd, {})
            assert Counter(uses(simulator)) == {("first", 200): LIVE}

            key_file.write_text(SECRETS["second"] + "\n")
            file_s = await until_served_with(crowd, simulator, "second")
            await check_that_all_go_on(visitors)

            SettingsFile(tmp_path / "headrace.toml", BASE.format('"env:ENGINE_THIRD"'))
            os.kill(relay.pid, signal.SIGHUP)
            signal_s = await until_served_with(crowd, simulator, "third")
            await check_that_all_go_on(visitors)

            assert simulator.summary()["active"] == LIVE
            await leave(visitors)
        said = relay.output
    figures(
        f"a change of the engine's keys under {LIVE} streams",
        [f"by the key's file: used after {file_s:.2f} s", f"by SIGHUP with another list: used after {signal_s:.2f} s"],
    )
    assert file_s < NOTICED_S
    assert signal_s < NOTICED_S
    assert " ERROR " not in said
    assert " WARNING " not in said
    assert not [secret for secret in SECRETS.values() if secret in said]
    assert "engine.upstream_keys: " in said


async def until_served_with(crowd: Crowd, simulator: Simulator, name: str) -> float:
    """Ask until the engine sees a key; returns how long that took, in seconds."""
    began_s = time.monotonic()
    number = 0
    while True:
        visitor = await crowd.one(f"probe-{name}-{number}", {}, SHORT)
        await until(lambda visitor=visitor: visitor.is_complete)  # type: ignore[misc]
        assert visitor.status == 200
        record = next(one for one in simulator.requests() if one["headers"]["x-client"] == visitor.name)
        if record["key"] == name:
            return time.monotonic() - began_s
        number += 1
        assert time.monotonic() - began_s < NOTICED_S, f"{name} is never used"


async def test_a_clients_key_is_rotated_and_revoked_by_the_command_under_200_streams_of_its_own(
    simulator: Simulator, tmp_path: Path
) -> None:
    tell(simulator, {"name": "first"})
    store = tmp_path / "streams.db"
    [(key_id, secret)] = await add_keys(store, KeyWish(owner="search"))
    with relay_with(simulator, tmp_path, "env:ENGINE_FIRST") as relay:
        async with Crowd(relay.port) as crowd:
            visitors = await live(crowd, bearer(secret))

            both = await asyncio.to_thread(keys_command, store, "rotate", key_id, "--keep-old-for", "1h")
            assert [await status_of(crowd, one) for one in (secret, both)] == [200, 200]
            await check_that_all_go_on(visitors)

            only = await asyncio.to_thread(keys_command, store, "rotate", key_id, "--keep-old-for", "0s")
            rotated_s = await until_refused(crowd, secret, both)
            assert await status_of(crowd, only) == 200
            await check_that_all_go_on(visitors)

            await asyncio.to_thread(keys_command, store, "revoke", key_id)
            revoked_s = await until_refused(crowd, only)
            await check_that_all_go_on(visitors)

            assert simulator.summary()["active"] == LIVE
            await leave(visitors)
        said = relay.output
    figures(
        f"a client's key under {LIVE} streams of its own, after the command had ended",
        [f"rotated: the old secret was refused after {rotated_s:.2f} s", f"revoked: after {revoked_s:.2f} s"],
    )
    assert max(rotated_s, revoked_s) < REVOKED_S
    assert not [one for one in (secret, both, only) if one in said]


async def test_a_request_whose_key_is_revoked_while_it_waits_does_not_begin(
    simulator: Simulator, tmp_path: Path
) -> None:
    tell(simulator, {"name": "first"})
    store = tmp_path / "streams.db"
    [(_, holding), (key_id, secret)] = await add_keys(store, KeyWish(owner="search"), KeyWish(owner="search"))
    environ = {"HEADRACE_ENGINE__LIMITS__CONCURRENT_STREAMS": "1"}
    with relay_with(simulator, tmp_path, "env:ENGINE_FIRST", environ=environ) as relay:
        async with Crowd(relay.port) as crowd:
            holder = await crowd.one("holder", bearer(holding), chat_body(simulate=ENDLESS))
            await until(lambda: bool(holder.deltas))
            waiting = await crowd.one("waiting", bearer(secret), SHORT)
            await asyncio.to_thread(keys_command, store, "revoke", key_id)
            # Not by a chat request, which would wait as well.
            await until(lambda: ask(relay.port, "GET", "/v1/me", headers=bearer(secret)).status == 401)
            assert waiting.status is None
            await leave([holder])
            await until(lambda: waiting.is_complete)
            assert waiting.status == 401
            assert waiting.error["code"] == "invalid_api_key"
            assert [record["headers"]["x-client"] for record in simulator.requests()] == ["holder"]


async def status_of(crowd: Crowd, secret: str) -> int | None:
    """Return what a request with a key gets."""
    visitor = await crowd.one("probe", bearer(secret), SHORT)
    await until(lambda: visitor.is_complete)
    if visitor.status == 401:
        assert visitor.error["code"] == "invalid_api_key"
    return visitor.status


async def until_refused(crowd: Crowd, *secrets: str) -> float:
    """Wait until none of these keys is good any more; returns how long that took, in seconds."""
    began_s = time.monotonic()
    async with asyncio.timeout(20):
        for secret in secrets:
            while await status_of(crowd, secret) != 401:
                pass
    return time.monotonic() - began_s
