"""SIGHUP: new settings apply to new requests, whoever runs goes on, and a bad file changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.processes import Relay, Simulator
from tests.system.crowd import Crowd, Visitor, answered, leave
from tests.system.reloading import REFUSED, SettingsFile, add_keys, bearer, figures, reload
from tests.system.wire import JSON, ask, chat_body
from tests.waiting import until

from headrace.policy.keys import KeyWish

LIVE = 200
WORDS = [f"w{number} " for number in range(1000)]
ENDLESS = chat_body(simulate={"deltas": WORDS, "tokens": len(WORDS), "itl_ms": 200})
SHORT = chat_body(simulate={"tokens": 10, "usage": "never"}, stream=False)
SILENT = chat_body(simulate={"tokens": 10, "fault": {"kind": "silence", "at": 3}}, max_tokens=50)

OLD = """
[log]
level = "warning"
[timeouts]
idle = "20s"
[owners.search.limits]
concurrent_streams = 1000
[models.sim.price]
input = 0
output = 1000
request = 0
"""
NEW = """
[engine]
slots = 5
[stream]
flush_interval_ms = 40
[timeouts]
idle = "300ms"
[limits]
max_queued_per_owner = 0
[owners.search.limits]
concurrent_streams = 200
max_output_tokens = 50
[owners.poor.budget]
day_usd = "0.05"
[models.sim.price]
input = 0
output = 2000.5
request = 0
[log]
level = "info"
"""


class Place(NamedTuple):
    """A relay and what it goes by."""

    relay: Relay
    settings: SettingsFile
    keys: dict[str, str]
    """Secrets by owner."""

    def post(self, owner: str, body: bytes) -> Any:
        return ask(
            self.relay.port, "POST", "/v1/chat/completions", headers={**JSON, **bearer(self.keys[owner])}, body=body
        )

    def cost_usd(self, owner: str) -> str:
        """Ask for one answer, and return what it cost."""
        answer = self.post(owner, SHORT)
        assert answer.status == 200, answer.body
        path = f"/v1/streams/{answer.headers['headrace-stream-id']}"
        cost: str = ask(self.relay.port, "GET", path, headers=bearer(self.keys[owner])).json["cost"]["usd"]
        return cost


@pytest.fixture
def place(simulator: Simulator, tmp_path: Path) -> Iterator[Place]:
    owners = ["search", "poor"]
    keys = asyncio.run(add_keys(tmp_path / "streams.db", *(KeyWish(owner=owner) for owner in owners)))
    settings = SettingsFile(tmp_path / "headrace.toml", OLD)
    with Relay(simulator.url, tmp_path / "streams.db", *settings.options) as relay:
        yield Place(relay, settings, {owner: secret for owner, (_, secret) in zip(owners, keys, strict=True)})


async def test_a_reload_under_200_streams_drops_none_and_new_requests_go_by_what_it_says(
    simulator: Simulator, place: Place
) -> None:
    relay = place.relay
    assert place.cost_usd("poor") == "0.01"
    async with Crowd(relay.port) as crowd:
        visitors = await crowd.many(LIVE, "live", bearer(place.keys["search"]), ENDLESS)
        await until(lambda: all(visitor.deltas for visitor in visitors))
        marks = [len(visitor.events) for visitor in visitors]

        said = await asyncio.to_thread(place.settings.apply, relay, NEW)

        # The price, and the budget, of which the first answer counts.
        assert place.cost_usd("poor") == "0.020005"
        assert place.cost_usd("poor") == "0.020005"
        spent = place.post("poor", SHORT)
        assert (spent.status, spent.error["code"]) == (429, "insufficient_quota")
        assert "0.05" in spent.error["message"]
        # Limits: 200 run already, and nobody may wait any more.
        refused = place.post("search", SHORT)
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert "concurrent_streams = 200" in refused.error["message"]
        too_long = place.post("search", chat_body(max_tokens=51))
        assert (too_long.status, too_long.error["param"]) == (400, "max_tokens")
        # The time-out, for a stream that begins now.
        await leave(visitors[:1])
        await until(lambda: simulator.summary()["active"] == LIVE - 1)
        stalled = await crowd.one("silent", bearer(place.keys["search"]), SILENT)
        await answered([stalled])
        assert b"idle = 0.3 s" in bytes(stalled.body)

        await check_that_all_go_on(visitors[1:], marks[1:])
        await leave(visitors)
    told = [line.split("headrace.http.reload: ")[1] for line in said.splitlines() if " -> " in line]
    # Such lines are shown because the new level is in force; the old one would not show them.
    figures(f"a reload under {LIVE} streams", told)
    assert sorted(told) == [
        "engine.slots: 4 -> 5 (from the next start on)",
        "limits.max_queued_per_owner: 250 -> 0",
        'log.level: "warning" -> "info"',
        "models.sim.price.output: 1000 -> 2000.5",
        'owners.poor.budget.day_usd: "none" -> 0.05',
        "owners.search.limits.concurrent_streams: 1000 -> 200",
        'owners.search.limits.max_output_tokens: "none" -> 50',
        "stream.flush_interval_ms: 50 -> 40 (from the next start on)",
        'timeouts.idle: "20s" -> "300ms"',
    ]


async def check_that_all_go_on(visitors: list[Visitor], marks: list[int]) -> None:
    """Wait until each stream has brought more than it had then, and make sure that nothing is missing of it."""
    await until(lambda: all(len(one.events) > mark + 3 for one, mark in zip(visitors, marks, strict=True)))
    for visitor in visitors:
        assert not visitor.is_complete
        assert visitor.deltas == WORDS[: len(visitor.deltas)]


async def test_a_limit_that_is_raised_lets_those_in_who_wait_for_it(simulator: Simulator, place: Place) -> None:
    place.settings.apply(place.relay, "[owners.search.limits]\nconcurrent_streams = 1\n[timeouts]\nqueue = '3s'\n")
    async with Crowd(place.relay.port) as crowd:
        holder = await crowd.one("holder", bearer(place.keys["search"]), ENDLESS)
        await until(lambda: bool(holder.deltas))
        waiting = await crowd.many(5, "waiting", bearer(place.keys["search"]), SHORT)
        place.settings.apply(place.relay, "[owners.search.limits]\nconcurrent_streams = 10\n")
        await answered(waiting)
        assert [visitor.status for visitor in waiting] == [200] * 5
        assert max(visitor.waited_s for visitor in waiting) < 3
        await leave([holder])


TEMPTING = """
[owners.search.limits]
max_output_tokens = 5
[models.sim.price]
input = 0
output = 1
request = 0
"""
"""What is right in each of the bad files, and must not be taken over either."""

BAD: dict[str, tuple[bytes, str]] = {
    "no TOML": (b"[limits", "headrace.toml: is not TOML"),
    "no text": (b"\xff\xfe[", "headrace.toml: is not UTF-8"),
    "an unknown key": (b"[limits]\nmax_queue = 5", "limits.max_queue: unknown setting"),
    "a wrong unit": (b"[timeouts]\nidle = '3 fortnights'", "timeouts.idle: "),
    "an impossible limit": (b"[owners.poor.limits]\ntokens_per_minute = 0", "owners.poor.limits.tokens_per_minute: "),
    "negative money": (b"[owners.poor.budget]\nday_usd = '-1'", "owners.poor.budget.day_usd: "),
    "an unknown rule": (b"[models.other]\ncancelled = 'free'", "models.other.cancelled: "),
    "a name that nobody can have": (b"[owners.'a b'.limits]\nconcurrent_streams = 1", 'owners."a b": '),
    "an unknown vendor": (b"[engine]\nprovider = 'no-such-vendor'", "engine.provider: "),
    "a key file that is not there": (
        b"[engine]\nupstream_keys = ['file:/no/such/key']",
        "engine.upstream_keys: file:/no/such/key: ",
    ),
    "a variable that is not set": (
        b"[engine]\nupstream_keys = ['env:NO_SUCH_KEY']",
        "engine.upstream_keys: env:NO_SUCH_KEY: ",
    ),
    "a key in the place of a reference": (b"[engine]\nupstream_keys = ['sk-secret']", "engine.upstream_keys: "),
    "an origin with a path": (b"[server]\ncors_origins = ['https://a.example/']", "server.cors_origins: "),
    "an unknown level": (b"[log]\nlevel = 'loud'", "log.level: "),
}


async def test_each_of_many_bad_files_is_refused_by_its_field_and_changes_nothing(
    simulator: Simulator, place: Place
) -> None:
    relay, path = place.relay, place.settings.path
    lines = []
    async with Crowd(relay.port) as crowd:
        visitors = await crowd.many(20, "live", bearer(place.keys["search"]), ENDLESS)
        await until(lambda: all(visitor.deltas for visitor in visitors))
        marks = [len(visitor.events) for visitor in visitors]
        for what, (text, why) in BAD.items():
            path.write_bytes(TEMPTING.encode() + text)
            lines.append(check_refused(relay, what, why))
            assert place.cost_usd("search") == "0.01"
        path.unlink()
        lines.append(check_refused(relay, "no file", "headrace.toml: cannot be read"))
        assert place.cost_usd("search") == "0.01"
        await check_that_all_go_on(visitors, marks)
        await leave(visitors)
    figures(f"{len(lines)} bad files", lines)
    # What was wrong before is no hindrance to what is right.
    assert "models.sim.price.output: 1000 -> 1\n" in place.settings.apply(relay, TEMPTING + "[log]\nlevel = 'info'\n")
    refused = place.post("search", chat_body(max_tokens=6))
    assert refused.status == 400


def check_refused(relay: Relay, what: str, why: str) -> str:
    said = reload(relay)
    (line,) = said.splitlines()
    assert " ERROR " in line
    assert f"{REFUSED}, nothing has changed: " in line
    assert why in line
    assert "sk-secret" not in line
    return f"{what}: {line.split('nothing has changed: ')[1]}"
