from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.engines.openai.references import MAX_KEY_BYTES, KeyFiles, read_keys
from headrace.errors import SettingsError

SECRET = "hunter2-secret"


def test_keys_come_from_variables_and_files_without_white_space(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"\n {SECRET}-b \r\n")
    keys = read_keys(["env:KEY_A", f"file:{path}"], {"KEY_A": f" {SECRET}-a\n"})
    assert [(key.name, key.secret) for key in keys] == [("env:KEY_A", f"{SECRET}-a"), (f"file:{path}", f"{SECRET}-b")]


def test_no_references_are_no_keys() -> None:
    assert read_keys([], {}) == []


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "not set"),
        ("", "empty"),
        (" \n", "empty"),
        (f"{SECRET} and more", "printable ASCII"),
        (f"{SECRET}\nX: y", "printable ASCII"),
        (f"{SECRET}é", "printable ASCII"),
    ],
)
def test_a_variable_that_holds_no_key_is_named_and_not_shown(value: str | None, fault: str) -> None:
    with pytest.raises(SettingsError, match=rf"^env:KEY: .*{fault}") as caught:
        read_keys(["env:KEY"], {} if value is None else {"KEY": value})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (SECRET.encode() + b"\0", "printable ASCII"),
        (SECRET.encode() + b"\xff", "printable ASCII"),
        (SECRET.encode() + b"\nsecond line", "printable ASCII"),
        (SECRET.encode() * MAX_KEY_BYTES, "longer than"),
    ],
    ids=["empty", "blank", "NUL", "not ASCII", "two lines", "long"],
)
def test_a_file_that_holds_no_key_is_named_and_not_shown(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"^file:{path}: .*{fault}") as caught:
        read_keys([f"file:{path}"], {})
    assert "hunter2" not in str(caught.value)


def a_missing_one(_path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "fault"),
    [(a_missing_one, "No such file"), (Path.mkdir, "is not a file"), (os.mkfifo, "is not a file")],
    ids=["missing", "folder", "pipe"],
)
def test_what_is_no_file_is_named(tmp_path: Path, make: Callable[[Path], None], fault: str) -> None:
    path = tmp_path / "key"
    make(path)
    with pytest.raises(SettingsError, match=rf"^file:{path}: .*{fault}"):
        read_keys([f"file:{path}"], {})


def test_a_file_that_must_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text(SECRET)

    def refuse(_path: Path, _mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SettingsError, match=rf"^file:{path}: .*Permission denied"):
        read_keys([f"file:{path}"], {})


@pytest.mark.parametrize("reference", [SECRET, f"env:{SECRET}", "", "env:", "file:", f"ENV:{SECRET}", f"env: {SECRET}"])
def test_a_key_in_the_place_of_a_reference_is_not_shown(reference: str) -> None:
    with pytest.raises(SettingsError, match=r"^key 2 of the list: ") as caught:
        read_keys(["env:KEY", reference], {"KEY": "good"})
    assert "hunter2" not in str(caught.value)


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="is no path"):
        read_keys(["file:/a\0b"], {})


def test_a_reference_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^env:KEY: is listed twice"):
        read_keys(["env:KEY", "env:KEY"], {"KEY": SECRET})


# Watching files.


def test_only_files_are_watched(tmp_path: Path) -> None:
    assert len(KeyFiles(["env:KEY", f"file:{tmp_path}/a"])) == 1
    assert not KeyFiles(["env:KEY"]).changed()


def write(path: Path, text: str) -> None:
    path.write_text(text)


def swap(path: Path, text: str) -> None:
    """Put another file in its place, with the same size and time."""
    other = path.with_suffix(".new")
    other.write_text(text)
    found = path.stat()
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(path)


def test_a_change_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("one")
    files = KeyFiles([f"file:{path}", f"file:{tmp_path}/other"])
    assert not files.changed()
    for change, text in ((write, "three"), (swap, "seven")):
        change(path, text)
        assert files.changed(), change
        assert not files.changed()


def test_a_mounted_secret_that_is_swapped_is_a_change(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "key").write_text(f"key-{version}")
    (tmp_path / "data").symlink_to("1")
    reference = f"file:{tmp_path}/data/key"
    files = KeyFiles([reference])
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").replace(tmp_path / "data")
    assert files.changed()
    assert read_keys([reference], {})[0].secret == "key-2"


def test_coming_and_going_are_changes(tmp_path: Path) -> None:
    path = tmp_path / "key"
    files = KeyFiles([f"file:{path}", "file:/a\0b"])
    assert not files.changed()
    path.write_text("one")
    assert files.changed()
    path.unlink()
    assert files.changed()
    assert not files.changed()
