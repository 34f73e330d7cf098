"""Reloading: all of the new settings or nothing of them, and every change told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import msgspec
import pytest

from headrace.errors import SettingsError
from headrace.http.reload import Prepare, Reloader
from headrace.settings import Settings, StoreSettings
from headrace.settings.tree import EngineSettings, LogSettings, StreamSettings

OLD = Settings(store=StoreSettings(url="memory:"))
LOUD = msgspec.structs.replace(OLD, log=LogSettings(level="debug"))


class Part:
    """Somebody who goes by the settings.

    Args:
        refusal: What is wrong with whatever comes, if anything.
    """

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal
        self.prepared: list[Settings] = []
        self.adopted: list[Settings] = []

    async def prepare(self, settings: Settings) -> Callable[[], None]:
        self.prepared.append(settings)
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        return lambda: self.adopted.append(settings)


def reloader(news: list[Settings | Exception], *parts: Part | Prepare) -> Reloader:
    """Return a reloader that finds one of ``news`` after the other."""
    coming = iter(news)

    def load() -> Settings:
        found = next(coming)
        if isinstance(found, Exception):
            raise found
        return found

    return Reloader(OLD, load, [part.prepare if isinstance(part, Part) else part for part in parts])


@pytest.fixture(autouse=True)
def shown(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Shows what the root logger shows, whose level a reload may change."""
    with caplog.at_level(logging.INFO):
        yield


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def test_all_parts_adopt_what_all_of_them_have_prepared(caplog: pytest.LogCaptureFixture) -> None:
    parts = [Part(), Part()]
    assert await reloader([LOUD], *parts).reload() is True
    assert [part.adopted for part in parts] == [[LOUD], [LOUD]]
    assert told(caplog) == ["the settings were reloaded, 1 changed", 'log.level: "info" -> "debug"']


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_part_that_refuses_leaves_the_others_untouched(place: int, caplog: pytest.LogCaptureFixture) -> None:
    parts = [Part(), Part(), Part()]
    parts[place].refusal = SettingsError("engine.provider: no such vendor")
    loader = reloader([LOUD, LOUD], *parts)
    assert await loader.reload() is False
    assert [part.adopted for part in parts] == [[], [], []]
    assert told(caplog) == ["the settings were not reloaded, nothing has changed: engine.provider: no such vendor"]
    caplog.clear()
    parts[place].refusal = None
    assert await loader.reload() is True
    assert told(caplog)[1:] == ['log.level: "info" -> "debug"']


async def test_what_cannot_be_loaded_reaches_no_part(caplog: pytest.LogCaptureFixture) -> None:
    part = Part()
    assert await reloader([SettingsError("log.level: expected one of debug")], part).reload() is False
    assert part.prepared == []
    (line,) = caplog.records
    assert (line.levelno, line.exc_info) == (logging.ERROR, None)


async def test_a_fault_of_ours_ends_no_stream_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    parts = [Part(), Part(ZeroDivisionError("a bug"))]
    loader = reloader([RuntimeError("another bug"), LOUD, LOUD], *parts)
    assert await loader.reload() is False
    assert await loader.reload() is False
    assert [part.adopted for part in parts] == [[], []]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    parts[1].refusal = None
    assert await loader.reload() is True


async def test_keys_that_are_read_at_the_start_stay_and_are_named_as_such(caplog: pytest.LogCaptureFixture) -> None:
    new = msgspec.structs.replace(LOUD, stream=StreamSettings(flush_interval_ms=10), engine=EngineSettings(model="m"))
    part = Part()
    assert await reloader([new], part).reload() is True
    assert part.adopted == [LOUD]
    assert told(caplog)[1:] == [
        'engine.model: "none" -> "m" (from the next start on)',
        "stream.flush_interval_ms: 50 -> 10 (from the next start on)",
        'log.level: "info" -> "debug"',
    ]


async def test_the_next_reload_tells_what_changed_since(caplog: pytest.LogCaptureFixture) -> None:
    loader = reloader([LOUD, LOUD, OLD])
    assert [await loader.reload() for _ in range(3)] == [True, True, True]
    assert told(caplog) == [
        "the settings were reloaded, 1 changed",
        'log.level: "info" -> "debug"',
        "the settings were reloaded, 0 changed",
        "the settings were reloaded, 1 changed",
        'log.level: "debug" -> "info"',
    ]


@pytest.mark.parametrize(("before", "after"), [("info", "error"), ("error", "info")])
async def test_a_change_of_the_level_hides_no_change(before: str, after: str, caplog: pytest.LogCaptureFixture) -> None:
    async def level(settings: Settings) -> Callable[[], None]:
        return lambda: logging.getLogger().setLevel(after.upper())

    logging.getLogger().setLevel(before.upper())
    assert await reloader([LOUD], level).reload() is True
    assert told(caplog) == ["the settings were reloaded, 1 changed", 'log.level: "info" -> "debug"']


async def test_two_reloads_at_once_come_one_after_the_other() -> None:
    inside = most = 0

    async def slow(_: Settings) -> Callable[[], None]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.01)
        inside -= 1
        return lambda: None

    loader = reloader([LOUD, OLD], slow)
    assert all(await asyncio.gather(loader.reload(), loader.reload()))
    assert most == 1
