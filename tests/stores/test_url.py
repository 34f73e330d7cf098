from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.stores.kit import claim, key, opening, record
from tests.stores.old_versions import write_old

from headrace.errors import SettingsError, StoreError
from headrace.stores.url import open_keys, open_stores
from headrace.stream.store import Batch
from headrace.types.ids import RequestId, StreamId


async def test_memory_needs_nothing() -> None:
    async with open_stores("memory:") as (store, records, keys, claims, cache):
        await store.commit(Batch([opening("s")]))
        await records.save([record("r")])
        assert store.is_bounded_by_readers
        assert await store.find(StreamId("s")) is not None
        assert await records.get(RequestId("r")) is not None
        assert await keys.all() == []
        assert await claims.claim(claim("k")) == claim("k")
        assert await cache.count() == (0, 0)


async def test_four_slashes_are_an_absolute_path(tmp_path: Path) -> None:
    async with open_stores(f"sqlite:///{tmp_path}/x.db") as (store, *_):
        await store.commit(Batch([opening("s")]))
        assert not store.is_bounded_by_readers
    assert (tmp_path / "x.db").exists()


async def test_three_slashes_are_a_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    async with open_stores("sqlite:///tmp/x.db"):
        assert (tmp_path / "tmp/x.db").exists()


async def test_a_command_beside_the_server_makes_no_file(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(StoreError, match="No such file"):
            async with open_stores(f"sqlite:///{tmp_path}/x.db", exclusive=False):
                pass


@pytest.mark.parametrize(
    "url",
    ["", "memory", "memory://", "x.db", "sqlite:", "sqlite://", "sqlite:///", "sqlite:////", "sqlite://x.db",
     "sqlite:///dir/", "sqlite:///:memory:", "sqlite:///x.db?mode=ro", "mysql://host/db"],
)  # fmt: skip
def test_any_other_url_is_refused_with_both_forms_named(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_stores(url)
    text = str(caught.value)
    assert text.startswith("store: ")
    assert repr(url) in text
    assert "memory:" in text
    assert "sqlite:///" in text


def test_a_password_in_a_refused_url_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        open_stores("postgresql://ann:hunter2@host/db")
    assert "hunter2" not in str(caught.value)
    assert "host/db" in str(caught.value)


async def test_missing_folders_of_a_served_file_are_made_for_its_user_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "headrace" / "headrace.db"
    async with open_stores(f"sqlite:///{path}"):
        assert path.exists()
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_folder_that_cannot_be_made_is_said_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot make the folder of .*headrace\.db"):
        async with open_stores(f"sqlite:///{tmp_path}/file/headrace.db"):
            pass


class TestKeysForCommands:
    async def test_a_missing_file_is_made_with_its_folder_and_can_be_served_meanwhile(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/new/headrace.db"
        async with open_keys(url) as keys:
            await keys.insert(key("a"))
            async with open_stores(url) as served:
                assert await served.keys.all() == [key("a")]
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "new" / "headrace.db").stat().st_mode & 0o777 == 0o600

    async def test_a_relay_that_serves_the_file_sees_what_a_command_changes(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/x.db"
        async with open_stores(url) as served:
            before = await served.keys.version()
            async with open_keys(url) as keys:
                await keys.insert(key("a"))
            assert await served.keys.version() > before
            assert await served.keys.all() == [key("a")]

    async def test_an_older_file_that_nobody_serves_is_brought_up_to_date(self, tmp_path: Path) -> None:
        write_old(tmp_path / "x.db", 2, {"s": [b"{}"]}, ended=[])
        async with open_keys(f"sqlite:///{tmp_path}/x.db") as keys:
            assert await keys.all() == []

    async def test_an_older_file_that_is_served_is_left_to_its_server(self, tmp_path: Path) -> None:
        path = tmp_path / "x.db"
        async with open_stores(f"sqlite:///{path}"):
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA user_version = 2")  # as if an older version had made it and served it now
            with pytest.raises(StoreError, match=r"older Headrace \(schema 2\).*headrace serve"):
                async with open_keys(f"sqlite:///{path}"):
                    pass

    async def test_what_is_no_database_of_ours_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE bookmarks (url)")
        with pytest.raises(StoreError, match="not a Headrace database"):
            async with open_keys(f"sqlite:///{path}"):
                pass

    def test_memory_is_refused_with_the_reason(self) -> None:
        with pytest.raises(SettingsError, match=r"store: 'memory:' is the memory of the relay's own process.*sqlite"):
            open_keys("memory:")

    def test_any_other_url_is_refused_as_for_a_relay(self) -> None:
        with pytest.raises(SettingsError, match="not a store URL"):
            open_keys("mysql://host/db")
