"""The commands for keys work on the store that ``headrace serve`` would open."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.cli.keys.place import store_url
from headrace.errors import SettingsError
from headrace.settings import load_settings

HOME = {"HOME": "/home/ana"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "headrace.toml"
    file.write_text('[store]\nurl = "sqlite:///file.db"\n')
    return file


def test_the_option_wins_then_the_environment_then_the_file_then_the_default(config: Path) -> None:
    environ = {**HOME, "HEADRACE_STORE__URL": "sqlite:///environ.db"}
    assert store_url("sqlite:///option.db", config, environ) == "sqlite:///option.db"
    assert store_url(None, config, environ) == "sqlite:///environ.db"
    assert store_url(None, config, HOME) == "sqlite:///file.db"
    assert store_url(None, None, HOME) == "sqlite:////home/ana/.local/state/headrace/headrace.db"


@pytest.mark.parametrize("environ", [HOME, {**HOME, "HEADRACE_STORE__URL": "sqlite:///environ.db"}])
def test_it_is_the_store_that_is_served(environ: dict[str, str], config: Path) -> None:
    for file in (None, config):
        assert store_url(None, file, environ) == load_settings(environ=environ, file=file).store.url


def test_other_settings_need_not_be_right_yet(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text('[server]\nhost = "0.0.0.0"\n[store]\nurl = 5\n')
    assert store_url(None, file, HOME).endswith("/headrace.db")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        store_url(None, tmp_path / "none.toml", HOME)
    with pytest.raises(SettingsError, match=r"store\.url: must be set"):
        store_url(None, None, {})
