from __future__ import annotations

import inspect
import subprocess
import sys

import headrace
import headrace.client


def test_everything_that_is_exported_is_there() -> None:
    for module in (headrace, headrace.client):
        assert module.__all__ == sorted(module.__all__)
        for name in module.__all__:
            assert getattr(module, name) is not None
    assert not hasattr(headrace, "nothing")


def test_importing_the_package_imports_neither_the_client_nor_the_stock_sdk() -> None:
    code = (
        "import headrace, sys; print([name for name in ('httpx2', 'openai', 'headrace.client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_importing_the_client_does_not_import_the_stock_sdk() -> None:
    code = "import headrace, sys; headrace.Client; print('openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "False"


def test_both_clients_and_both_streams_have_the_same_calls() -> None:
    for ours, theirs in ((headrace.Client, headrace.AsyncClient), (headrace.Stream, headrace.AsyncStream)):
        calls = {name for name in vars(ours) if not name.startswith("_")}
        async_calls = {name.replace("aclose", "close") for name in vars(theirs) if not name.startswith("_")}
        assert calls == async_calls
    for name in ("chat", "attach", "streams", "show", "cancel", "erase", "usage", "models"):
        parameters = [
            inspect.signature(getattr(client, name)).parameters for client in (headrace.Client, headrace.AsyncClient)
        ]
        assert parameters[0] == parameters[1]
