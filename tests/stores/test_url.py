from __future__ import annotations

from pathlib import Path

import pytest
from tests.stores.kit import opening, record

from headrace.errors import SettingsError, StoreError
from headrace.stores.url import open_stores
from headrace.stream.store import Batch
from headrace.types.ids import RequestId, StreamId


async def test_memory_needs_nothing() -> None:
    async with open_stores("memory:") as (store, records):
        await store.commit(Batch([opening("s")]))
        await records.save([record("r")])
        assert store.is_bounded_by_readers
        assert await store.find(StreamId("s")) is not None
        assert await records.get(RequestId("r")) is not None


async def test_four_slashes_are_an_absolute_path(tmp_path: Path) -> None:
    async with open_stores(f"sqlite:///{tmp_path}/x.db") as (store, _):
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
