"""One browser for all tests of a module, one context a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.system.browser import CHROMIUM, FLAGS, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

WEB = Path(__file__).parents[2] / "web"


@pytest.fixture(scope="module")
def browser(require: Callable[[object, str], None]) -> Iterator[Browser]:
    """A real Chromium."""
    require(CHROMIUM.exists(), f"there is no {CHROMIUM}")
    with chromium(FLAGS) as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A person's browser, with nothing kept yet."""
    with browser.new_context() as context:
        yield context


@pytest.fixture(scope="session")
def web(require: Callable[[object, str], None]) -> Path:
    """The folder of the npm workspace, installed."""
    require((WEB / "node_modules").exists(), "web/node_modules is missing: run make test, or npm --prefix web ci")
    return WEB
