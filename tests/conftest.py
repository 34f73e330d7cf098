"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def require() -> Callable[[object, str], None]:
    """Return ``require(condition, reason)``, for what a machine may lack: Node, a browser, nginx, the model.

    A person without it gets a skipped test. Where ``CI=true`` everything must be there, so the test fails: a check that
    quietly stopped running would otherwise look like one that passes.
    """

    def check(condition: object, reason: str) -> None:
        if condition:
            return
        if os.environ.get("CI") == "true":
            pytest.fail(f"needed here: {reason}")
        pytest.skip(reason)

    return check
