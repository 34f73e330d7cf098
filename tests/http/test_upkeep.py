"""The engine's keys, read again when their files change, and both kinds of keys looked at every second."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.waiting import until

from headrace.engines.openai.keys import KeyRing, UpstreamKey
from headrace.engines.openai.references import read_keys
from headrace.errors import SettingsError
from headrace.http import upkeep
from headrace.http.identity import Gate
from headrace.http.upkeep import UpstreamKeys, look_after
from headrace.policy.keys import KeyWish, new_key
from headrace.stores.memory import MemoryKeys

SECRET = "sk-secret"


class Place:
    """Keys in files and variables, and the ring that uses them."""

    def __init__(self, folder: Path) -> None:
        self.ring = KeyRing(clock=lambda: 0.0)
        self.environ = {"A": "sk-a", "B": "sk-b"}
        self.keys = UpstreamKeys(self.ring, self.environ)
        self.file = folder / "key"
        self.reference = f"file:{self.file}"

    async def use(self, *references: str) -> None:
        (await self.keys.prepare(references))()

    def secrets(self) -> list[str]:
        """What requests go out with, one for each key."""
        leases = [self.ring.take() for _ in range(max(1, len(self.ring)))]
        secrets = [lease.secret for lease in leases if lease is not None and lease.secret is not None]
        for lease in leases:
            if lease is not None:
                lease.release()
        return sorted(secrets)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_prepared_keys_are_used_when_they_are_adopted_and_not_before(place: Place) -> None:
    await place.use("env:A")
    use = await place.keys.prepare(["env:A", "env:B"])
    assert place.secrets() == ["sk-a"]
    use()
    assert place.secrets() == ["sk-a", "sk-b"]


async def test_no_references_mean_no_authorization(place: Place) -> None:
    await place.use()
    assert place.secrets() == []
    lease = place.ring.take()
    assert lease is not None
    assert not lease.is_keyed


async def test_a_reference_that_cannot_be_read_is_named_and_changes_nothing(place: Place) -> None:
    await place.use("env:A")
    with pytest.raises(SettingsError, match=r"^env:C: the variable is not set"):
        await place.keys.prepare(["env:B", "env:C"])
    assert place.secrets() == ["sk-a"]


async def test_a_file_that_changes_is_read_again_and_one_that_does_not_is_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.file.write_text("sk-1\n")
    await place.use(place.reference, "env:A")
    reads: list[Sequence[str]] = []

    def counted(references: Sequence[str], environ: dict[str, str]) -> list[UpstreamKey]:
        reads.append(references)
        return read_keys(references, environ)

    monkeypatch.setattr(upkeep, "read_keys", counted)
    await place.keys.look()
    assert reads == []
    place.file.write_text(" sk-22 \n")
    await place.keys.look()
    await place.keys.look()
    assert len(reads) == 1
    assert place.secrets() == ["sk-22", "sk-a"]


async def test_a_file_that_cannot_be_read_leaves_the_keys_as_they_are_and_is_told_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.file.write_text(SECRET)
    await place.use(place.reference)
    place.file.unlink()
    for _ in range(3):
        await place.keys.look()
    assert place.secrets() == [SECRET]
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert place.reference in line.getMessage()
    assert SECRET not in caplog.text
    place.file.write_text("sk-mended")
    await place.keys.look()
    assert place.secrets() == ["sk-mended"]


async def test_a_look_that_is_under_way_does_not_undo_a_reload(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.file.write_text("sk-1")
    await place.use(place.reference)
    place.file.write_text("sk-22")
    may_go_on = threading.Event()
    is_reading = threading.Event()

    def slow(references: Sequence[str], environ: dict[str, str]) -> list[UpstreamKey]:
        keys = read_keys(references, environ)
        is_reading.set()
        may_go_on.wait(10)
        return keys

    monkeypatch.setattr(upkeep, "read_keys", slow)
    look = asyncio.create_task(place.keys.look())
    await until(is_reading.is_set)
    monkeypatch.setattr(upkeep, "read_keys", read_keys)
    await place.use("env:A")
    may_go_on.set()
    await look
    assert place.secrets() == ["sk-a"]
    place.file.write_text("sk-333")
    await place.keys.look()
    assert place.secrets() == ["sk-a"]


async def test_both_kinds_of_keys_are_looked_at_again_and_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "ROUND_S", 0.001)
    place.file.write_text("sk-1")
    await place.use(place.reference)
    async with MemoryKeys() as keys:
        gate = await Gate.opened(keys, wall_time=lambda: 0.0, monotonic_s=lambda: 0.0)
        task = asyncio.create_task(look_after(gate, {"openai": place.keys}))
        assert not gate.is_shut
        await keys.insert(new_key(KeyWish(owner="search"), now=0.0)[0])
        await until(lambda: gate.is_shut)
        place.file.write_text("sk-22")
        await until(lambda: place.secrets() == ["sk-22"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_engine_without_keys_needs_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "ROUND_S", 0.001)
    async with MemoryKeys() as keys:
        gate = await Gate.opened(keys, wall_time=lambda: 0.0, monotonic_s=lambda: 0.0)
        task = asyncio.create_task(look_after(gate, {}))
        await keys.insert(new_key(KeyWish(owner="search"), now=0.0)[0])
        await until(lambda: gate.is_shut)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
