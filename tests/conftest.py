"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from tests.processes import Relay, Simulator

if os.environ.get("CI") == "true":
    # A person's run tries the usual hundred examples of each property; CI has fifteen minutes for everything.
    settings.register_profile("slice", settings.get_profile("ci"), max_examples=20)
    settings.load_profile("slice")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look last at what was begun in the background and takes long, so that nobody waits for it."""
    items.sort(key=lambda item: item.get_closest_marker("begun_before") is not None)


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


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """An engine of this module's own, as a process."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def relay(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay in front of it, as a process."""
    with Relay(simulator.url, tmp_path_factory.mktemp("relay") / "streams.db") as relay:
        relay.get("/readyz")
        yield relay
